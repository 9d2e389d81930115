"""Where a conversation is shown.

What must stay true: what a model says is text, never markup and never a command to the terminal; colour and whatever
moves appear on a terminal only; what libraries print while a model loads, and are made to print elsewhere, does not
take this stream along.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from textwrap import fill
from typing import TYPE_CHECKING, Any, TextIO

from twinctl.chat.wrapping import Wrapping
from twinctl.config.secrets import redact
from twinctl.errors import TwinctlError

if TYPE_CHECKING:
    from rich.console import Console

DIM, BOLD, RED, OFF = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[0m"
# All control characters, and those that turn the direction of what follows, so also of what is not the model's.
_UNSAFE = (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_DROPPED = dict.fromkeys(code for code in _UNSAFE if chr(code) not in "\n\t")
COLUMN = 36  # characters that an answer needs beside another; with fewer they stand one below the other


def printable(text: str) -> str:
    """The text without what a terminal takes for a command; lines and tabs stay."""
    return text.translate(_DROPPED)


class Screen:
    """A terminal, or a stream that stands in for one."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self.stream = stream or _own_stdout()
        self.quiet = quiet
        self.is_terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self.is_terminal and not os.environ.get("NO_COLOR")

    @property
    def width(self) -> int:
        """Its columns."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def write(self, text: str) -> None:
        """Text as it is, at once."""
        self.stream.write(text)
        self.stream.flush()

    def line(self, text: str = "") -> None:
        """A line that was asked for, as it is: a command in it can be copied."""
        self.write(printable(redact(text)) + "\n")

    def text(self, text: str) -> None:
        """The same, broken between words."""
        self.write(self._wrapped(printable(redact(text))) + "\n")

    def note(self, text: str) -> None:
        """A line beside the conversation."""
        if not self.quiet:
            self.write(self.dim(self._wrapped(printable(redact(text)))) + "\n")

    def error(self, error: TwinctlError) -> None:
        """What went wrong, and the mend."""
        message = self._wrapped(printable(redact(f"error: {error.message}")))
        self.write(f"{self._in(RED, message[:6])}{message[6:]}\n")
        if error.hint:
            self.text(f"  → {error.hint}")

    def heading(self, text: str) -> None:
        """Who speaks now, where several do."""
        self.write(self._in(BOLD, f"── {printable(text)} ──") + "\n")

    def dim(self, text: str) -> str:
        """The text for what stands behind."""
        return self._in(DIM, text)

    def _wrapped(self, text: str) -> str:
        """The text in lines that break between words, as a terminal's do not, and stay as far to the right."""
        lines = text.split("\n") if self.is_terminal else []
        indents = [line[: len(line) - len(line.lstrip())] for line in lines]
        how: dict[str, Any] = {"width": self.width, "break_long_words": False, "break_on_hyphens": False}
        filled = [fill(line, subsequent_indent=indent, **how) for line, indent in zip(lines, indents, strict=True)]
        return "\n".join(filled) or text

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{OFF}" if self._colour else text

    def wait(self, done: threading.Event, label: Callable[[], str]) -> None:
        """Until something is done, say so, on a line that goes away; elsewhere than on a terminal, once."""
        if not self.is_terminal:
            self.note(label())
            done.wait()
            return
        try:
            while not done.wait(0.25):
                self.write(f"\r\x1b[K{self.dim(label())}")
        finally:
            self.write("\r\x1b[K")

    @contextmanager
    def echo_off(self) -> Iterator[None]:
        """Inside, keys are not shown among what is written; what was typed is there afterwards."""
        import termios

        try:
            before = termios.tcgetattr(sys.stdin)
        except (termios.error, ValueError, OSError):  # no terminal
            yield
            return
        silent = [*before]
        silent[3] &= ~termios.ECHO
        try:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)

    def panes(self, names: Sequence[str]) -> Panes:
        """Room for the answers of these, which come one after the other."""
        has_room = self.width >= COLUMN * len(names)
        return Columns(self, names) if len(names) > 1 and self.is_terminal and has_room else Panes(self, names)


class Panes:
    """Answers one below the other, each under its speaker's name where there are several; use it in a `with` block."""

    def __init__(self, screen: Screen, names: Sequence[str]) -> None:
        self._screen, self._names = screen, names
        self._wrapping = Wrapping(screen.width)
        self._waits = self._shows = False

    def __enter__(self) -> Panes:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_waiting()
        if self._shows:  # a failure cut it short
            self._screen.write("\n")

    def begin(self, name: str) -> None:
        """The next one's answer is awaited."""
        if len(self._names) > 1:
            self._screen.heading(name)
        if self._screen.is_terminal:
            self._waits, self._wrapping = True, Wrapping(self._screen.width)
            self._screen.write(self._screen.dim("…"))

    def show(self, piece: str) -> None:
        """A piece of it."""
        self._stop_waiting()
        self._shows = True
        self._screen.write(self._wrapping.add(printable(piece)) if self._screen.is_terminal else printable(piece))

    def end(self, figures: str) -> None:
        """It is over."""
        self._stop_waiting()
        self._shows = False
        self._screen.write("\n")
        self._screen.note(figures)

    def _stop_waiting(self) -> None:
        if self._waits:
            self._screen.write("\r\x1b[K")
        self._waits = False


class Columns(Panes):
    """Answers side by side."""

    def __init__(self, screen: Screen, names: Sequence[str]) -> None:
        super().__init__(screen, names)
        from rich.live import Live

        self._texts = ["" for _ in names]
        self._figures = ["" for _ in names]
        self._at = -1
        self._over = False
        console = _console(screen)
        self._live = Live(
            console=console,
            get_renderable=lambda: self._table(console),
            auto_refresh=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="visible",
        )

    def __enter__(self) -> Panes:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._live.stop()

    def begin(self, name: str) -> None:
        """The next column."""
        self._at += 1

    def show(self, piece: str) -> None:
        """A piece for it."""
        self._texts[self._at] += printable(piece)

    def end(self, figures: str) -> None:
        """It is whole."""
        self._figures[self._at] = "" if self._screen.quiet else figures

    def _table(self, console: Console) -> Any:
        """The answers; while they come, of long ones the end, since what has left the window cannot be redrawn."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in self._names:
            table.add_column(Text(printable(name)), ratio=1, overflow="fold")
        width = console.width // len(self._names) - 2
        shown = [Text(text or ("…" if at == self._at else "")) for at, text in enumerate(self._texts)]
        if not self._over:
            room = max(console.height - 4, 1)
            shown = [Text("\n").join(text.wrap(console, width)[-room:]) for text in shown]
        table.add_row(*shown)
        table.add_row(*(Text(figures, "dim") for figures in self._figures))
        return table


def _console(screen: Screen) -> Console:
    from rich.console import Console

    return Console(file=screen.stream, highlight=False, markup=False, emoji=False, width=screen.width)


def _own_stdout() -> TextIO:
    """Standard output by a descriptor of its own; what stands in for it where it has none."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return open(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors="replace")
    return sys.stdout
