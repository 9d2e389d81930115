"""The client's progress bars, and what is said meanwhile.

What must stay true: a line that is said while bars are drawn stands above them and stays there; the client draws them
again and again over the last lines of the terminal, whatever stands on these.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_UP = re.compile(r"\x1b\[\d+A")
_BAR = "\r\x1b[K"


class _Above:
    """stderr, with all but the bars put above them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.Lock()
        self._bars: list[str] = []
        self._is_drawn = False

    def write(self, text: str) -> int:
        """A bar, the way up to the first one, or what is said."""
        with self._lock:
            if _UP.fullmatch(text):
                self._bars = []
            elif text.startswith(_BAR):
                self._bars.append(text)
                self._is_drawn = True
            elif self._is_drawn:
                if not text.strip():  # the end of a line that came by itself
                    return len(text)
                up = f"\x1b[{len(self._bars)}A" if self._bars else ""
                self._stream.write(f"{up}\r\x1b[J{text.rstrip()}\n{''.join(self._bars)}")
                self._stream.flush()
                return len(text)
            return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def said_above_bars() -> Iterator[None]:
    """Inside the block whatever is written to stderr stands above the client's bars."""
    before = sys.stderr
    sys.stderr = cast("TextIO", _Above(before))
    try:
        yield
    finally:
        sys.stderr = before
