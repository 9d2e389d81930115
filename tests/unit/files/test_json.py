"""JSON and JSON Lines of all makes, and what is wrong with a row or a file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.support.row_files import WRITERS, Rows, passed_over, read, rows_of
from twinctl.data import json_files
from twinctl.data.files import file_rows
from twinctl.errors import ConfigError


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"a": 2}\n',
        b'{"a": 1}\n{"a": 2}',
        b'{"a": 1}\r\n{"a": 2}\r\n',
        b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n',
        b'\xef\xbb\xbf\n{"a": 1}\n{"a": 2}\n',
        b'{"a": 1}\n\n  \n{"a": 2}\n\n',
    ],
    ids=["plain", "no last line end", "CRLF", "BOM", "only a BOM", "empty lines"],
)
@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_json_lines_of_all_makes(tmp_path: Path, name: str, content: bytes) -> None:
    assert rows_of(tmp_path, name, content) == [{"a": 1}, {"a": 2}]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three"
    assert read(tmp_path, "x.jsonl", f'{{"a": "{text}"}}\n'.encode()) == [("x.jsonl:1", {"a": text})]


BAD_LINES = {
    b'{"a": 1': "is not JSON",
    b"hello": "is not JSON",
    b"{'a': 1}": "is not JSON",
    b'{"a": 1} {"a": 2}': "is not JSON",
    b'{"a": "\x00"}': "is not JSON",
    b"\x00\x00\x00": "is not JSON",
    b"[" * 200_000: "is not JSON: nested too deep",
    b'{"a": ' + b"1" * 5000 + b"}": "is not JSON: Exceeds the limit",
    b"[1, 2]": "is not a JSON object",
    b'"text"': "is not a JSON object",
    b"null": "is not a JSON object",
    '{"a": "é"}'.encode("latin-1"): "is not UTF-8",
}


@pytest.mark.parametrize(("line", "what"), BAD_LINES.items(), ids=range(len(BAD_LINES)))
def test_a_bad_line_is_named_and_may_be_passed_over(tmp_path: Path, line: bytes, what: str) -> None:
    content = b'{"a": 1}\n\n' + line + b'\n{"a": 2}\n'
    with pytest.raises(ConfigError, match=rf"^x\.jsonl:3 {what}") as caught:
        read(tmp_path, "x.jsonl", content)
    assert caught.value.hint
    rows, bad = passed_over(tmp_path, "x.jsonl", content)
    assert rows == [("x.jsonl:1", {"a": 1}), ("x.jsonl:4", {"a": 2})]
    assert list(bad) == ["x.jsonl:3"] and bad["x.jsonl:3"].startswith(f"x.jsonl:3 {what}")


def test_one_broken_line_among_many(tmp_path: Path) -> None:
    lines = [b'{"a": 1}\n'] * 100_000
    lines[77_776] = b'{"a": \n'
    rows, bad = passed_over(tmp_path, "x.jsonl", b"".join(lines))
    assert (len(rows), list(bad)) == (99_999, ["x.jsonl:77777"])


def test_rows_before_a_bad_one_are_given_first(tmp_path: Path) -> None:
    """Rows are streamed: nothing waits for the end of the file."""
    for name, content in {"x.jsonl": b'{"a": 1}\nbad\n', "x.json": b'[{"a": 1}, bad]', "x.csv": b'a\n1\n"\n'}.items():
        (tmp_path / name).write_bytes(content)
        rows = file_rows(tmp_path / name, name, None)
        assert list(next(rows)[1]) == ["a"]
        with pytest.raises(ConfigError):
            next(rows)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_row_of_5_mb(tmp_path: Path, kind: str) -> None:
    rows = [{"a": "x" * 5_000_000, "b": "y"}, {"a": ("é" * 99 + "\n") * 25_000, "b": "z"}]
    assert rows_of(tmp_path, f"x.{kind}", WRITERS[kind](rows)) == rows


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b'{"a": 1}', [{"a": 1}]),
        (b'{\n "a": 1\n}\n', [{"a": 1}]),
        (b'{"version": 1, "data": [{"a": 1}, {"a": 2}]}', [{"a": 1}, {"a": 2}]),
        (b'{"a": [{"x": 1}], "b": [{"y": 1}]}', [{"a": [{"x": 1}], "b": [{"y": 1}]}]),
        (b'{"talk": [{"role": "user", "content": "a"}]}', [{"talk": [{"role": "user", "content": "a"}]}]),
        (b'{"talk": [{"from": "human", "value": "a"}]}', [{"talk": [{"from": "human", "value": "a"}]}]),
        (b'\xef\xbb\xbf [{"a": 1}]', [{"a": 1}]),
        (b"[]", []),
        (b"", []),
        (b" \n", []),
    ],
    ids=["object", "over lines", "holds the list", "two lists", "messages", "turns", "BOM", "no row", "empty", "blank"],
)
def test_json_of_all_makes(tmp_path: Path, content: bytes, rows: Rows) -> None:
    assert rows_of(tmp_path, "x.json", content) == rows


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'[{"a": 1}, {"a": ]', "x.json is not JSON after row 1: Expecting value"),
        (b'[{"a": 1} {"a": 2}]', "x.json is not JSON after row 1: Expecting ',' or ']'"),
        (b'[{"a": 1}', "x.json is not JSON after row 1"),
        (b'[{"a": 1}, ', "x.json is not JSON after row 1"),
        (b'[{"a": 1}] [', "x.json is not JSON after row 1: there is more behind the array"),
        (b"[" * 200_000, "x.json is not JSON after row 0: nested too deep"),
        (b'{"a":\n\n 1,,}', "x.json:3 is not JSON"),
        (b"text", "x.json:1 is not JSON"),
        ('[{"a": 1}, "é"]'.encode("latin-1"), "x.json is not UTF-8"),
        ('{"a": "é"}'.encode("latin-1"), "x.json is not UTF-8"),
    ],
)
def test_json_that_is_broken_is_never_passed_over(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        passed_over(tmp_path, "x.json", content)
    assert caught.value.message.startswith(what) and caught.value.hint


def test_a_value_of_an_array_that_is_no_object_is_a_bad_row(tmp_path: Path) -> None:
    rows, bad = passed_over(tmp_path, "x.json", b'[{"a": 1}, 2, {"a": 3}]')
    assert [place for place, _ in rows] == ["x.json row 1", "x.json row 3"]
    assert bad == {"x.json row 2": "x.json row 2 is not a JSON object"}


def test_a_broken_array_is_not_read_to_its_end() -> None:
    class Stream(io.StringIO):
        asked = 0

        def read(self, size: int | None = -1, /) -> str:
            self.asked += 1
            return super().read(size)

    stream = Stream('[{"a": 1}, {"a": oops}, ' + '{"a": 1}, ' * 1_000_000 + "]")
    with pytest.raises(ValueError, match="Expecting value"):
        list(json_files._Window(stream).values())
    assert stream.asked == 1
