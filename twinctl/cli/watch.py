"""A viewer of a phase's events: a live line in a terminal, plain lines in a pipe, JSON lines with --json."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from twinctl.cli.output import Output, age, text_of
from twinctl.settings.secrets import redact

if TYPE_CHECKING:
    from rich.live import Live
    from rich.spinner import Spinner

PLAIN_SECONDS = 5.0
# Events whose text is out of date with the next one: the line that moves. The others stay, as a history.
MOVING = ("stage", "step", "progress")
# For `twinctl logs` only: here the recipe is known, and the end is told by the command.
LEFT_OUT = ("facts", "stopped")


class Viewer:
    """Shows events as they come; use it in a `with` block."""

    def __init__(self, output: Output, name: str) -> None:
        self._output, self._name = output, name
        self._live: Live | None = None
        self._spinner: Spinner | None = None
        self._said = 0.0

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, event: dict[str, Any]) -> None:
        """One event."""
        if self._output.json:
            self._output.event({"phase": self._name, **event})
            return
        text = event_text(event)
        if text is None or event["event"] in LEFT_OUT or event.get("attempt") == 1:
            return
        line = f"{self._name}: {text}{_left(event)}"
        if self._output.is_live and event["event"] in MOVING:
            self._move(line)
        elif event["event"] not in ("step", "progress") or self._is_due(event):
            self._output.say(line)

    def _move(self, line: str) -> None:
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        text = Text(redact(line))
        if self._spinner:
            self._spinner.update(text=text)
            return
        self._spinner = Spinner("dots", text, style="status.spinner")
        self._live = Live(self._spinner, console=self._output.err, refresh_per_second=12.5, transient=True)
        self._live.start(refresh=True)  # at once: what comes next may come before the first tick

    def _is_due(self, event: dict[str, Any]) -> bool:
        """In a pipe: the first and the last step, and one every few seconds between."""
        now = time.monotonic()
        at_an_end = event["event"] == "step" and event["step"] in (1, event["steps"])
        if at_an_end or now - self._said >= PLAIN_SECONDS:
            self._said = now
            return True
        return False


def event_text(event: dict[str, Any]) -> str | None:
    """One event in words; None for one that says nothing which another does not."""
    kind = event["event"]
    if kind in ("stage", "attached"):
        return str(event["text"])
    if kind == "step":
        return _step(event)
    if kind == "evaluation":
        return None if event["eval_loss"] is None else f"eval loss at step {event['step']}: {event['eval_loss']:.4f}"
    seconds = event.get("seconds")
    if kind == "progress":
        if "rows" not in event:
            return f"{event['bytes'] / event['of']:.0%} written"
        return f"{event['rows']:,} rows" + (f"  {event['rows'] / seconds:,.0f} rows/s" if seconds else "")
    if kind == "checkpoint":
        return f"checkpoint of step {event['step']}"
    if kind == "tracking":
        return str(event["warning"] or f"tracked at {event['where']}")
    if kind == "failed":
        return f"failed: {event['message']}"
    if kind == "attempt":
        return f"attempt {event['attempt']}"
    return None if kind == "begin" else _other(event)


def _step(event: dict[str, Any]) -> str:
    speed = f"  {event['tokens'] / event['seconds']:,.0f} tokens/s" if event["seconds"] else ""
    return f"step {event['step']}/{event['steps']}  loss {event['loss']:.4f}{speed}"


def _left(event: dict[str, Any]) -> str:
    """For a step before the last: how long the others will take."""
    if event["event"] != "step" or event["step"] >= event["steps"]:
        return ""
    return f"  {age(event['seconds'] / event['step'] * (event['steps'] - event['step']))} left"


def _other(event: dict[str, Any]) -> str:
    """An event without a wording of its own: its name, and what it carries."""
    facts = [f"{name} {text_of(value)}" for name, value in event.items() if name not in ("event", "time")]
    return f"{event['event']}: {', '.join(facts)}" if facts else str(event["event"])
