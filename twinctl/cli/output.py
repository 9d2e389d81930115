"""The one place that writes for people and for scripts.

What must stay true: data goes to stdout, everything else to stderr; with --json stdout carries documents only; colour
and moving displays appear on a terminal only; no secret is ever shown.
"""

from __future__ import annotations

import json as json_library
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from twinctl.config.secrets import redact
from twinctl.errors import Interrupted, TwinctlError

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1


class Output:
    """Where a command speaks."""

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json, self.quiet = json, quiet

    @cached_property
    def out(self) -> Console:
        """Rich on stdout; NO_COLOR and dumb terminals are rich's own business."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=not sys.stdout.isatty())

    @cached_property
    def err(self) -> Console:
        """Rich on stderr."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())

    @property
    def is_live(self) -> bool:
        """Whether a moving display may be drawn."""
        return sys.stderr.isatty() and not self.json and not self.quiet and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        """Progress and hints, on stderr; not with --json or --quiet."""
        if not self.json and not self.quiet:
            print(redact(text), file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """A warning on stderr, also when quiet. With --json it is in the document."""
        if not self.json:
            self._tell("warning:", "yellow", text)

    def line(self, text: str) -> None:
        """A line of data on stdout."""
        print(redact(text), flush=True)

    def document(self, value: Mapping[str, Any]) -> None:
        """One JSON document on stdout."""
        print(redact(json_library.dumps({"schema": SCHEMA, **value}, ensure_ascii=False, indent=2)), flush=True)

    def json_line(self, value: Mapping[str, Any]) -> None:
        """One JSON line on stdout, for commands that stream."""
        print(redact(json_library.dumps({"schema": SCHEMA, **value}, ensure_ascii=False)), flush=True)

    def event(self, value: Mapping[str, Any]) -> None:
        """One JSON line on stderr."""
        print(redact(json_library.dumps(value, ensure_ascii=False)), file=sys.stderr, flush=True)

    def table(self, rows: Sequence[Sequence[str]], *, header: Sequence[str] = ()) -> None:
        """Columns of text on stdout; in a pipe a row is one line, never cut or padded."""
        if not sys.stdout.isatty():
            for line in _columns([header, *rows] if header else rows):
                self.line(line)
            return
        from rich.table import Table

        table = Table(box=None, show_header=bool(header), pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for name in header or rows[0] if rows else ():
            table.add_column(name if header else "", overflow="fold")
        for row in rows:
            table.add_row(*map(_plain, row))
        self.out.print(table)

    def error(self, error: TwinctlError) -> None:
        """What happened and what to do: on stderr, or as a document with --json."""
        if self.json:
            self.document({"error": error.document})
            return
        self._tell("" if isinstance(error, Interrupted) else "error:", "bold red", error.message)
        if error.hint:  # a command in it is copied whole where the terminal breaks the line, not we
            self._tell("  →", "cyan", error.hint, soft_wrap=True)

    def _tell(self, mark: str, style: str, text: str, *, soft_wrap: bool | None = None) -> None:
        """A marked line on stderr."""
        from rich.text import Text

        self.err.print(Text.assemble((mark, style), " " if mark else "", redact(text)), soft_wrap=soft_wrap)

    def traceback(self, error: BaseException) -> None:
        """Where a failure came from, on stderr."""
        import traceback

        print(redact("".join(traceback.format_exception(error))), file=sys.stderr, end="", flush=True)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows' cells in columns, a row a line."""
    cells = [[" ".join(cell.splitlines()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*cells, fillvalue="")]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(redact(text))


def text_of(value: Any) -> str:
    """A value for people: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_library.dumps(value, ensure_ascii=False)


def size(count: float) -> str:
    """Bytes for people: 1.2 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def age(seconds: float) -> str:
    """A span of time for people: 3 min."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
