"""The rows of JSON files: JSON Lines, an array, an object that holds the array, or one object.

What must stay true: lines and arrays are streamed; a `.json` file that holds JSON Lines is read as such.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twinctl.data.file_io import SAVE_UTF8, LocatedRow, OnBadRow, open_unpacked, refuse_row
from twinctl.errors import ConfigError

WINDOW = 2**20
_TAIL = 16  # characters: more than what a number, a literal or an escape can lack
_GAP = re.compile(r"[ \t\r\n]*")
_FIX = "fix the file there, or rebuild it"
_NO_ROW = ("is not a JSON object", 'a row looks like {"instruction": …, "output": …}')


def first_byte(stream: io.BufferedIOBase) -> bytes:
    """The first byte that is neither white space nor a byte-order mark; b"" when there is none."""
    while block := stream.read(2**16):
        if text := block.removeprefix(codecs.BOM_UTF8).lstrip():
            return text[:1]
    return b""


def json_lines(path: Path, label: str, bad: OnBadRow | None) -> Iterator[LocatedRow]:
    """One object a line; empty lines are skipped, and counted in the places."""
    with open_unpacked(path) as stream:
        for number, line in enumerate(stream, 1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line or line.isspace():
                continue
            place = f"{label}:{number}"
            try:
                row = json.loads(line.decode())
            except UnicodeDecodeError as error:
                refuse_row(place, f"is not UTF-8: {error.reason}", SAVE_UTF8, bad, error)
                continue
            except (ValueError, RecursionError) as error:
                column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
                hint = "the file must be JSON Lines: one JSON object a line"
                refuse_row(place, f"is not JSON: {_reason(error)}{column}", hint, bad, error)
                continue
            if isinstance(row, dict):
                yield place, row
            else:
                refuse_row(place, *_NO_ROW, bad)


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deep" if isinstance(error, RecursionError) else str(error)


def json_rows(path: Path, label: str, bad: OnBadRow | None) -> Iterator[LocatedRow]:
    """The rows of a `.json` file. Raises ConfigError when it is not JSON as a whole, nor JSON Lines."""
    with open_unpacked(path) as stream:
        is_array = first_byte(stream) == b"["
    if is_array:
        return _rows(_array(path, label), label, bad)
    if _holds_lines(path):
        return json_lines(path, label, bad)
    return _rows(_in_object(path, label), label, bad)


def _rows(values: Iterator[Any], label: str, bad: OnBadRow | None) -> Iterator[LocatedRow]:
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            yield f"{label} row {number}", value
        else:
            refuse_row(f"{label} row {number}", *_NO_ROW, bad)


def _holds_lines(path: Path) -> bool:
    """Whether the first line is an object by itself and more follows."""
    with open_unpacked(path) as stream:
        lines = (line for raw in stream if (line := raw.removeprefix(codecs.BOM_UTF8).strip()))
        try:
            first = json.loads(next(lines, b"").decode())
        except (ValueError, RecursionError):
            return False
        return isinstance(first, dict) and next(lines, None) is not None


def _in_object(path: Path, label: str) -> Iterator[Any]:
    """The only list of objects in the file's object, or the object itself."""
    with open_unpacked(path) as stream:
        data = stream.read()
    if not data.removeprefix(codecs.BOM_UTF8).strip():
        return
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{label} is not UTF-8: {error.reason}", SAVE_UTF8) from error
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigError(f"{label}{line} is not JSON: {_reason(error)}", _FIX) from error
    lists = [item for item in value.values() if _holds_rows(item)] if isinstance(value, dict) else []
    yield from lists[0] if len(lists) == 1 else [value]


def _holds_rows(value: Any) -> bool:
    """Whether it is a list of objects; the turns of a conversation are one row."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return False
    return not any({"role", "content"} <= item.keys() or {"from", "value"} <= item.keys() for item in value)


def _array(path: Path, label: str) -> Iterator[Any]:
    number = 0
    with io.TextIOWrapper(open_unpacked(path), encoding="utf-8-sig") as stream:
        try:
            for value in _Window(stream).values():
                number += 1
                yield value
        except UnicodeDecodeError as error:
            raise ConfigError(f"{label} is not UTF-8 after row {number}: {error.reason}", SAVE_UTF8) from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{label} is not JSON after row {number}: {_reason(error)}", _FIX) from error


class _Window:
    """A piece of a long text that slides over it, no longer than the longest value in it needs."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream, self._text, self._at = stream, "", 0
        self._decode = json.JSONDecoder().raw_decode

    def values(self) -> Iterator[Any]:
        """Those of the array that the text is. Raises ValueError when it is none."""
        self._mark()  # the bracket
        if self._mark() != "]":
            self._at -= 1
            yield self._value()
            while (mark := self._mark()) == ",":
                yield self._value()
            if mark != "]":
                raise ValueError("Expecting ',' or ']'")
        if self._mark():
            raise ValueError("there is more behind the array")

    def _mark(self) -> str:
        """The next character but white space, which is skipped; "" at the end."""
        self._pass_gap()
        while self._at == len(self._text):
            if not self._more():
                return ""
            self._pass_gap()
        self._at += 1
        return self._text[self._at - 1]

    def _value(self) -> Any:
        while True:
            self._pass_gap()
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # The text is wrong, not only cut off by the window: at its end, or in a string up to there.
                is_wrong = error.pos + _TAIL < len(error.doc) and not error.msg.startswith("Unterminated string")
                if is_wrong or not self._more():
                    raise
            else:
                if end + _TAIL < len(self._text) or not self._more():  # 12 may be the first half of 12.5
                    self._at = end
                    return value

    def _pass_gap(self) -> None:
        gap = _GAP.match(self._text, self._at)
        assert gap
        self._at = gap.end()

    def _more(self) -> bool:
        """Read on. The more text is kept, the more is read, or a long value would be decoded many times."""
        more = self._stream.read(max(WINDOW, len(self._text) - self._at))
        if more:
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
