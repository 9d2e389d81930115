"""The display of a training in a terminal: a screen of its own while it runs, a summary in the scrollback behind it.

What must stay true: a frame has exactly the terminal's size, whatever that is now; the parts that matter most are
dropped last; drawing costs the same after a thousand events as after one, and nothing while nothing is shown.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twinctl.cli.curve import LINE_STYLE, MARK, MARK_STYLE, PLAIN_MARK, bar, draw_curve
from twinctl.cli.output import size
from twinctl.cli.training_progress import Sample, Training
from twinctl.pipeline.event import Event

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.text import Text

TICK_SECONDS = 0.33
SPINNER, PLAIN_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
# A cell of the table of figures; on a terminal this wide there are four.
CELL, LABEL = 20, 9
NONE = "–"
# The fewest lines that a curve is worth, and those that it has in the summary.
CURVE, SUMMARY_CURVE, SUMMARY_WIDTH = 4, 10, 100


class Dashboard:
    """Shows a training until it is closed. The screen is taken a moment after the start, so that a history which is
    already over is not shown; only a thread draws, never the code that reports events.
    """

    def __init__(self, console: Console, name: str, training: Training, hint: str = "") -> None:
        self._console, self._training = console, training
        self._frame = Frame(name, training, hint)
        self._lock, self._done = threading.Lock(), threading.Event()
        self._live: Live | None = None
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def start(self, before: Callable[[], None]) -> None:
        """Begin to draw; `before` is called just before the screen is taken, or at the end if it never is."""
        self._before: Callable[[], None] | None = before
        self._thread.start()

    def handle(self, event: Event) -> None:
        """One event."""
        with self._lock:
            self._training.handle(event, time.time())

    def close(self) -> None:
        """Give the screen back and leave the summary."""
        try:
            self._done.set()
            self._thread.join()
            self._leave_line()
        finally:
            if self._live:
                self._live.stop()
        for line in self._frame.summary(self._console):
            self._console.print(line, soft_wrap=True)

    def _leave_line(self) -> None:
        if self._before:
            before, self._before = self._before, None
            before()

    def _tick(self) -> None:
        while not self._done.wait(TICK_SECONDS):
            if self._live is None:
                self._take_screen()
            elif self._live.is_started:
                self._live.refresh()

    def _take_screen(self) -> None:
        from rich.live import Live

        self._leave_line()
        self._live = Live(self, console=self._console, screen=True, auto_refresh=False)
        self._live.start(refresh=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.console import Group

        with self._lock:
            lines = self._frame.lines(*console.size, plain=is_plain(console), now=time.time())
        yield Group(*lines)


def is_plain(console: Console) -> bool:
    """Whether the terminal can be taken to have no more than ASCII's characters."""
    return console.options.ascii_only or os.environ.get("TERM") == "linux"


class Frame:
    """A training's picture, as lines of text."""

    def __init__(self, name: str, training: Training, hint: str = "") -> None:
        self._name, self._training, self._hint = name, training, hint
        self._drawn: tuple[object, list[Text]] = (None, [])

    def lines(self, width: int, height: int, *, plain: bool, now: float) -> list[Text]:
        """Exactly `height` lines of at most `width` cells: what matters most, and the more the larger it is."""
        bar, status = self._bar(width, plain=plain, now=now), self._status(plain=plain, now=now)
        room = height - len(bar) - len(status)
        if room < 0:
            return [_fit(line, width) for line in [*bar, *status][:height]]
        figures = self._figures(width)
        usual = 5 if height >= 30 else 3 if width < 4 * CELL else 2
        figures = figures[: usual if room - usual >= CURVE else room]
        room -= len(figures)
        title = [self._title()] if room > CURVE + 2 else []
        notices = self._notices(min(1 if height < 20 else 3, max(room - len(title) - CURVE, 0)))
        middle = self._middle(width, room - len(title) - len(notices), plain=plain)
        filler = [_text("")] * (room - len(title) - len(middle) - len(notices))
        lines = [*title, *bar, *figures, *middle, *filler, *notices, *status]
        return [_fit(line, width) for line in lines]

    def summary(self, console: Console) -> list[Text]:
        """What stays when the training is over or no longer watched; no more than fits a screen, but for notices."""
        training, plain = self._training, is_plain(console)
        width, height = min(console.width, SUMMARY_WIDTH), console.height
        rows = min(SUMMARY_CURVE, height - 6)
        lines = [*self._curve(width, rows, plain=plain)] if rows >= CURVE and len(training.points) > 1 else []
        if len(training.samples) and height >= 20:
            lines += self._samples(width, 1 + 3 * min(len(training.samples), 3), plain=plain)
        end = [self._end()] if training.points else []
        return [*(_fit(line, width) for line in lines), *end, *self._notices(len(training.notices))]

    def _end(self) -> Text:
        figures = dict(self._values())
        words = [f"{what} {figures[what]}" for what in ("loss", "eval") if figures[what] != NONE]
        training = f"{self._name}: step {self._training.step}/{self._training.steps or '?'}"
        return _text("  ".join([training, *words, f"{figures['overall']} tokens/s"]))

    def _title(self) -> Text:
        facts = self._training.facts
        about = [words for key in ("device_name", "dtype", "optimizer") if (words := facts.words(key))]
        if (micro_batch := facts.whole("micro_batch")) and (accumulation := facts.whole("accumulation")):
            about.append(f"{micro_batch} × {accumulation} rows a step")
        if self._training.attempt > 1:
            about.insert(0, f"attempt {self._training.attempt}")
        return _text((self._name, "bold"), ("  " + " · ".join(about), "dim"))

    def _bar(self, width: int, *, plain: bool, now: float) -> list[Text]:
        """How far it is: on one line, or in a narrow terminal on two."""
        training = self._training
        epoch, left = training.latest.number("epoch"), training.left(now)
        parts = [f"{training.step}/{training.steps or '?'}"]
        parts += [f"epoch {epoch:.2f}"] if epoch is not None else []
        parts += [f"{span(left)} left"] if left is not None and training.is_settled else []
        words = "  ".join(parts)
        part = training.step / training.steps if training.steps else 0.0
        if width < 60:
            return [bar(part, width, plain=plain), _text((words, "bold"))]
        drawn = bar(part, width - len(words) - 2, plain=plain)
        return [drawn.append(f"  {words}", style="bold")]

    def _figures(self, width: int) -> list[Text]:
        """The figures in columns, the most wanted first."""
        figures = self._values()
        columns = max(width // CELL, 1)
        wide = width // columns
        rows = [figures[start : start + columns] for start in range(0, len(figures), columns)]
        return [
            _text(
                *(
                    part
                    for each in row
                    for part in ((f"{each[0]:<{LABEL}}", "dim"), f"{each[1]:<{max(wide - LABEL, 0)}}")
                )
            )
            for row in rows
        ]

    def _values(self) -> list[tuple[str, str]]:
        training, latest = self._training, self._training.latest
        pace, overall = training.pace(), training.overall()
        held_out = [loss for _, loss in sorted(training.evaluations.items())]
        trend = ""
        if len(held_out) > 1 and held_out[-1] != held_out[-2]:
            trend = " ↓" if held_out[-1] < held_out[-2] else " ↑"
        memory, gpu = latest.number("memory_gib"), latest.number("gpu_use")
        seconds, norm = latest.number("seconds"), latest.number("grad_norm")
        return [
            ("loss", _form(latest.number("loss"), ".4f")),
            ("eval", _form(held_out[-1] if held_out else None, ".4f") + trend),
            ("tokens/s", _form(pace[1] if pace else None, ",.0f")),
            ("memory", _form(memory, ".1f", " GiB")),
            ("rate", _form(latest.number("learning_rate"), ".2e")),
            ("saved", NONE if training.checkpoint is None else f"step {training.checkpoint}"),
            ("overall", _form(overall, ",.0f")),
            ("GPU", _form(gpu, ".0f", "%")),
            ("gradient", _form(norm, ".3f")),
            ("trained", span(seconds) if seconds is not None else NONE),
        ]

    def _middle(self, width: int, room: int, *, plain: bool) -> list[Text]:
        """The curve and, where there is room for both, the samples."""
        if room < CURVE:
            return []
        samples = self._training.samples
        for_samples = min(max(room * 2 // 5, 4), 1 + 4 * len(samples)) if samples and room >= 10 else 0
        below = self._samples(width, for_samples, plain=plain) if for_samples else []
        return [*self._curve(width, room - len(below), plain=plain), *below]

    def _curve(self, width: int, rows: int, *, plain: bool) -> list[Text]:
        """The plot under its legend; redrawn only when there is something new."""
        training = self._training
        key = (training.points[-1:], len(training.evaluations), width, rows, plain)
        if self._drawn[0] != key:
            self._drawn = (key, self._draw(width, rows, plain=plain))
        return self._drawn[1]

    def _draw(self, width: int, rows: int, *, plain: bool) -> list[Text]:
        losses = [(point.step, point.loss) for point in self._training.points]
        line, mark = (".", PLAIN_MARK) if plain else ("⠤⠤", MARK)
        legend = [("loss ", ""), (line, LINE_STYLE)]
        legend += [("  eval loss ", ""), (mark, MARK_STYLE)] if self._training.evaluations else []
        head = _rule(legend, width, plain=plain)
        if not losses and not self._training.evaluations:
            return [head, _text(("the first step is being done", "dim"))]
        return [head, *draw_curve(losses, self._training.evaluations, width, rows - 1, plain=plain)]

    def _samples(self, width: int, rows: int, *, plain: bool) -> list[Text]:
        """A heading and some of the answers: a line of prompt each, and what fits of the text."""
        samples = self._training.samples
        count = max(min(len(samples), (rows - 1) // 2), 1)
        high = [(rows - 1) // count + (index < (rows - 1) % count) for index in range(count)]
        lines = [_rule([(f"samples at step {self._training.samples_step}", "")], width, plain=plain)]
        for sample, each in zip(samples, high, strict=False):
            lines += _sample(sample, width, each)
        return lines

    def _notices(self, most: int) -> list[Text]:
        return [_text(("! ", "bold yellow"), (each, "yellow")) for each in self._training.notices[-most:] if most]

    def _status(self, *, plain: bool, now: float) -> list[Text]:
        training = self._training
        frames = PLAIN_SPINNER if plain else SPINNER
        spinner = (frames[int(now / TICK_SECONDS) % len(frames)] + " ", "green")
        if training.stage:
            return [_text(spinner, (training.stage, "bold yellow" if training.is_stopping else ""))]
        return [_text(spinner, (self._hint or "training", "dim"))]


def progress_words(event: Event) -> tuple[float, str] | None:
    """How much of a whole a `progress` event tells, and in words; None for one that knows no whole."""
    done, whole, checked = event.number("bytes"), event.number("of"), event.number("checked")
    if checked is not None and whole:
        return checked / whole, f"{checked / whole:.0%} checked"
    if done is None or not whole:
        return None
    return done / whole, f"{done / whole:.0%}  {size(done)} of {size(whole)}"


def span(seconds: float) -> str:
    """A span of time, to be read while it passes: 1 h 05 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _sample(sample: Sample, width: int, rows: int) -> list[Text]:
    """Exactly that many lines, if there is enough text."""
    from rich import get_console

    prompt = _fit(_text(("› ", "bold magenta"), (sample.prompt, "dim")), width)
    # What is wrapped is cut first: an answer may be long, and a frame must cost nothing.
    wide = max(width - 2, 1)
    wrapped = list(_text(sample.text[: 2 * rows * wide]).wrap(get_console(), wide, overflow="fold", no_wrap=False))
    lines, rest = wrapped[: rows - 1], wrapped[rows - 1 :]
    if rest and lines:
        lines[-1] = _fit(_text(f"{lines[-1].plain.rstrip()} {rest[0].plain}".ljust(wide + 1)), wide)
    return [prompt, *(_text("  ", line) for line in lines)]


def _rule(title: Sequence[tuple[str, str]], width: int, *, plain: bool) -> Text:
    dash = "-" if plain else "─"
    line = _text((f"{dash * 2} ", "bright_black"), *title, " ")
    return line.append(dash * max(width - line.cell_len, 0), style="bright_black")


def _form(value: float | None, form: str, unit: str = "") -> str:
    return NONE if value is None else f"{value:{form}}{unit}"


def _text(*parts: Any) -> Text:
    """Text that is never read as markup and never broken."""
    from rich.text import Text

    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis", end="\n")


def _fit(line: Text, width: int) -> Text:
    line.truncate(max(width, 1), overflow="ellipsis")
    return line
