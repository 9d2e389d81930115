"""Where a conversation is shown.

What must stay true: an answer is shown as text, never as markup or a command to the terminal; colour and moving parts
appear on a terminal only; redirecting what libraries print while a model loads does not redirect this stream.
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
# All control characters, and those that turn the direction of the text that follows, the model's or not.
_UNSAFE = (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_DROPPED = dict.fromkeys(code for code in _UNSAFE if chr(code) not in "\n\t")
COLUMN = 36  # characters that an answer needs next to another one; with fewer, answers are one below the other


def printable(text: str) -> str:
    """The text without what a terminal would execute; line ends and tabs stay."""
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
        """Write text as it is, and flush."""
        self.stream.write(text)
        self.stream.flush()

    def line(self, text: str = "") -> None:
        """A line that the person asked for, not broken: a command in it can be copied."""
        self.write(printable(redact(text)) + "\n")

    def text(self, text: str) -> None:
        """A text that the person asked for, broken between words."""
        self.write(self._wrapped(printable(redact(text))) + "\n")

    def note(self, text: str) -> None:
        """A remark about the conversation; nothing if `quiet`."""
        if not self.quiet:
            self.write(self.dim(self._wrapped(printable(redact(text)))) + "\n")

    def error(self, error: TwinctlError) -> None:
        """An error and its hint."""
        message = self._wrapped(printable(redact(f"error: {error.message}")))
        self.write(f"{self._in(RED, message[:6])}{message[6:]}\n")
        if error.hint:
            self.text(f"  → {error.hint}")

    def heading(self, text: str) -> None:
        """The name of the model that answers next, if there are several."""
        self.write(self._in(BOLD, f"── {printable(text)} ──") + "\n")

    def dim(self, text: str) -> str:
        """The text in a dim colour."""
        return self._in(DIM, text)

    def _wrapped(self, text: str) -> str:
        """The text in lines that break between words, each part of a line as far to the right as its beginning."""
        lines = text.split("\n") if self.is_terminal else []
        indents = [line[: len(line) - len(line.lstrip())] for line in lines]
        how: dict[str, Any] = {"width": self.width, "break_long_words": False, "break_on_hyphens": False}
        filled = [fill(line, subsequent_indent=indent, **how) for line, indent in zip(lines, indents, strict=True)]
        return "\n".join(filled) or text

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{OFF}" if self._colour else text

    def wait(self, done: threading.Event, label: Callable[[], str]) -> None:
        """Show the label until `done` is set, on a line that is then removed; without a terminal, show it once."""
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
        """Inside, typed keys are not echoed among the output; what was typed can be read afterwards."""
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
        """Where the answers of these models are shown, which come one after the other."""
        has_room = self.width >= COLUMN * len(names)
        return Columns(self, names) if len(names) > 1 and self.is_terminal and has_room else Panes(self, names)


class Panes:
    """Answers one below the other, each under its model's name if there are several; use it in a `with` block."""

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
        """The answer of this model comes next."""
        if len(self._names) > 1:
            self._screen.heading(name)
        if self._screen.is_terminal:
            self._waits, self._wrapping = True, Wrapping(self._screen.width)
            self._screen.write(self._screen.dim("…"))

    def show(self, piece: str) -> None:
        """Show a piece of the answer."""
        self._stop_waiting()
        self._shows = True
        self._screen.write(self._wrapping.add(printable(piece)) if self._screen.is_terminal else printable(piece))

    def end(self, stats: str) -> None:
        """The answer is complete."""
        self._stop_waiting()
        self._shows = False
        self._screen.write("\n")
        self._screen.note(stats)

    def _stop_waiting(self) -> None:
        if self._waits:
            self._screen.write("\r\x1b[K")
        self._waits = False


class Columns(Panes):
    """Answers side by side."""

    def __init__(self, screen: Screen, names: Sequence[str]) -> None:
        super().__init__(screen, names)
        from rich.console import Console
        from rich.live import Live

        self._texts = ["" for _ in names]
        self._stats = ["" for _ in names]
        self._at = -1
        self._over = False
        console = Console(file=screen.stream, highlight=False, markup=False, emoji=False, width=screen.width)
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
        """Go to the next column."""
        self._at += 1

    def show(self, piece: str) -> None:
        """Show a piece of the column's answer."""
        self._texts[self._at] += printable(piece)

    def end(self, stats: str) -> None:
        """The column's answer is complete."""
        self._stats[self._at] = "" if self._screen.quiet else stats

    def _table(self, console: Console) -> Any:
        """The answers; while they come, only the end of long ones, since what has left the window cannot be redrawn."""
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
        table.add_row(*(Text(stats, "dim") for stats in self._stats))
        return table


def _own_stdout() -> TextIO:
    """Standard output with a descriptor of its own; as it is, if it has no descriptor."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return open(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors="replace")
    return sys.stdout
