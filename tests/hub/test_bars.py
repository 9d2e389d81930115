"""What is said while the client draws its bars stays on the screen, above them."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable

import pytest

from twinctl.hub.progress_bars import said_above_bars

UP = "\x1b[2A"


def screen(written: str) -> list[str]:
    """The lines of a terminal after this was written to it: as much of one as the client needs."""
    lines, row = [""], 0
    for piece in re.findall(r"\x1b\[\d*[AJK]|\r|\n|[^\x1b\r\n]+", written):
        if piece.endswith("A") and piece[0] == "\x1b":
            row -= int(piece[2:-1])
        elif piece == "\x1b[J":
            del lines[row:]
        elif piece == "\n":
            row += 1
        elif piece == "\x1b[K":
            lines[row] = ""
        elif piece != "\r":
            lines[row] = piece + lines[row][len(piece) :]
        lines += [""] * (row + 1 - len(lines))
    return [line for line in lines if line]


def bar(name: str, done: int) -> None:
    """Draw one as the client does."""
    sys.stderr.write(f"\r\x1b[K{name} {done}\n")


def say(text: str) -> None:
    """Say something as rich does, the line's end apart."""
    sys.stderr.write(text)
    sys.stderr.write("\n")


@pytest.mark.parametrize("where", range(4), ids=["before", "between", "after the way up", "behind one bar"])
def test_a_line_that_is_said_stays_above_the_bars(monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    steps: list[Callable[[], object]] = [lambda: sys.stderr.write(UP), lambda: bar("sent", 2), lambda: bar("kept", 2)]
    if where:
        steps.insert(where - 1, lambda: say("the Hub answered 503"))
    with said_above_bars():
        if not where:
            say("the Hub answered 503")
        bar("sent", 1)
        bar("kept", 1)
        for step in steps:
            step()
    assert screen(stream.getvalue()) == ["the Hub answered 503", "sent 2", "kept 2"]
    assert sys.stderr is stream
