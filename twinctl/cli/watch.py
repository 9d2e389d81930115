"""A viewer of a phase's events: a live display in a terminal, plain lines in a pipe, JSON lines with --json.

What must stay true: something is on the screen as soon as there is an event; what is shown of a training is right
from whichever event on one begins to watch; a terminal is left as it was found.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from twinctl.cli.output import Output, age, text_of
from twinctl.cli.training_progress import Training, cut_text, samples_of
from twinctl.config.secrets import redact
from twinctl.pipeline.event import Event

if TYPE_CHECKING:
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    from twinctl.cli.dashboard import Dashboard

PLAIN_SECONDS = 5.0
# Events whose text is out of date with the next one: the line that moves. The others stay, as a history.
MOVING = ("stage", "step", "progress")
# For `twinctl logs` only: here the recipe is known, and the end is told by the command.
LEFT_OUT = ("facts", "stopped")


class Viewer:
    """Shows events as they come; use it in a `with` block. `hint`: what the display of a training says of its keys."""

    def __init__(self, output: Output, name: str, hint: str = "") -> None:
        self._output, self._name, self._hint = output, name, hint
        self._training = Training()
        self._dashboard: Dashboard | None = None
        self._live: Live | None = None
        self._spinner: Spinner | None = None
        self._said = 0.0

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._dashboard:
                self._dashboard.close()
        finally:
            self._leave_line()

    def recall(self, events: Iterable[Event]) -> None:
        """What happened in attempts before: nothing is shown of it but, later, the curve that continues from there."""
        if self._output.is_live:
            for event in events:
                self._training.handle(event, time.time())
            self._training.has_begun = False

    def show(self, event: Event) -> None:
        """One event."""
        if self._output.json:
            self._output.event({"phase": self._name, **event.stored()})
        elif self._dashboard:
            self._dashboard.handle(event)
        else:
            self._training.handle(event, time.time())
            if self._training.has_begun and self._output.is_live:
                self._open()
            else:
                self._tell(event)

    def _open(self) -> None:
        from twinctl.cli.dashboard import Dashboard

        self._dashboard = Dashboard(self._output.err, self._name, self._training, self._hint)
        self._dashboard.start(self._leave_line)

    def _tell(self, event: Event) -> None:
        """A line: one that moves, or one that stays."""
        is_live, kind = self._output.is_live, event.kind
        text = event_text(event, self._output.err.width - len(self._name) - 2 if is_live else None)
        if text is None or kind in LEFT_OUT or event.whole("attempt") == 1:
            return
        line = f"{self._name}: {text}{self._left(event)}"
        if is_live and kind in MOVING:
            self._move(self._moving(event, line))
        elif kind not in ("step", "progress") or self._is_due(event):
            self._output.say(line)

    def _moving(self, event: Event, line: str) -> Text:
        from rich.text import Text

        from twinctl.cli.curve import bar
        from twinctl.cli.dashboard import progress_words

        progress = progress_words(event) if event.kind == "progress" else None
        if progress is None:
            return Text(redact(line))
        return Text.assemble(f"{self._name}: ", bar(progress[0], 20), f"  {progress[1]}")

    def _move(self, text: Text) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        if self._spinner:
            self._spinner.update(text=text)
            return
        self._spinner = Spinner("dots", text, style="status.spinner")
        self._live = Live(self._spinner, console=self._output.err, refresh_per_second=12.5, transient=True)
        self._live.start(refresh=True)  # at once: what comes next may come before the first tick

    def _leave_line(self) -> None:
        if self._live:
            self._live.stop()
            self._live = self._spinner = None

    def _left(self, event: Event) -> str:
        """For a step before the last: how long the others will take."""
        if event.kind != "step" or self._training.step >= self._training.steps:
            return ""
        left = self._training.left(event.time or 0.0)
        return "" if left is None else f"  {age(left)} left"

    def _is_due(self, event: Event) -> bool:
        """In a pipe: the first and the last step, and one every few seconds between."""
        now = time.monotonic()
        at_an_end = event.kind == "step" and event.whole("step") in (1, event.whole("steps"))
        if at_an_end or now - self._said >= PLAIN_SECONDS:
            self._said = now
            return True
        return False


def event_text(event: Event, width: int | None = None) -> str | None:
    """One event in words; None for one that says nothing which another does not.

    Lines after the first are shortened to `width`, if there is one.
    """
    kind = event.kind
    if kind in ("stage", "attached", "plan", "retry"):
        return event.text or None
    if kind == "warning":
        return f"warning: {event.text}"
    if kind == "step":
        return _step(event)
    if kind == "evaluation":
        loss = event.number("eval_loss")
        return None if loss is None else f"eval loss at step {event.whole('step')}: {loss:.4f}"
    if kind == "samples":
        return _samples(event, width)
    if kind == "progress":
        return _progress(event)
    if kind == "checkpoint":
        return f"checkpoint of step {event.whole('step')}"
    if kind == "tracking":
        return event.words("warning") or f"tracked at {event.words('where')}"
    if kind == "cut":
        return cut_text(event)
    if kind == "failed":
        return f"failed: {event.words('message')}"
    if kind == "attempt":
        return f"attempt {event.whole('attempt')}"
    return None if kind == "begin" else _other(event)


def _step(event: Event) -> str:
    loss, tokens, seconds = (event.number(key) for key in ("loss", "tokens", "seconds"))
    speed = f"  {tokens / seconds:,.0f} tokens/s" if seconds and tokens is not None else ""
    return f"step {event.whole('step')}/{event.whole('steps')}" + ("" if loss is None else f"  loss {loss:.4f}") + speed


def _samples(event: Event, width: int | None) -> str:
    """A line for each, as many as there are, so that one can follow a prompt's answers down a history."""
    lines = [f"    {sample.prompt} → {sample.text}" for sample in samples_of(event)]
    short = [line if width is None else _short(line, width) for line in lines]
    return "\n".join([f"samples at step {event.whole('step')}:", *short])


def _short(line: str, width: int) -> str:
    from rich.text import Text

    text = Text(line)
    text.truncate(max(width, 20), overflow="ellipsis")
    return text.plain


def _progress(event: Event) -> str:
    rows, seconds = event.number("rows"), event.number("seconds")
    if rows is not None:
        return f"{rows:,} rows" + (f"  {rows / seconds:,.0f} rows/s" if seconds else "")
    done, whole, checked = event.number("bytes"), event.number("of"), event.number("checked")
    if checked is not None and whole:
        return f"{checked / whole:.0%} checked"
    return f"{done / whole:.0%} written" if done is not None and whole else _other(event)


def _other(event: Event) -> str:
    """An event without a wording of its own: its name, and what it carries."""
    facts = [f"{name} {text_of(value)}" for name, value in event.values.items()]
    return f"{event.kind}: {', '.join(facts)}" if facts else event.kind
