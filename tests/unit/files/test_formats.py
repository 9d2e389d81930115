"""Every format gives the same rows, each with its place."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.row_files import (
    ROWS,
    WRITERS,
    Rows,
    as_arrow,
    as_arrow_stream,
    as_json,
    as_jsonl,
    as_parquet,
    passed_over,
    read,
    rows_of,
)
from twinctl.data import json_files
from twinctl.data.files import READERS, document_title, format_of
from twinctl.errors import ConfigError


def test_every_format_has_a_reader_and_a_test() -> None:
    assert set(WRITERS) == set(READERS)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_format_gives_its_rows_in_order(tmp_path: Path, kind: str, packed: bool) -> None:
    content = WRITERS[kind](ROWS)
    found = read(tmp_path, f"x.{kind}" + ".gz" * packed, gzip.compress(content, mtime=0) if packed else content)
    assert [row for _, row in found] == ROWS
    assert len({place for place, _ in found}) == len(ROWS)


def test_the_arrow_stream_format_is_read_too(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "x.arrow", as_arrow_stream(ROWS)) == ROWS


@pytest.mark.parametrize(
    ("name", "kind", "title"),
    [
        ("a.JSONL", "jsonl", ""),
        ("a.b.csv.gz", "csv", ""),
        ("my-post.v2.md", "md", "my-post.v2"),
        ("page.htm.GZ", "html", "page"),
        ("notes.txt", "txt", "notes"),
        ("a.docx", None, ""),
        ("a.gz", None, ""),
        ("md", None, ""),
    ],
)
def test_a_name_tells_format_and_title(name: str, kind: str | None, title: str) -> None:
    assert (format_of(Path(name)), document_title(Path(name))) == (kind, title)


def test_nested_columns_come_as_they_are(tmp_path: Path) -> None:
    rows: Rows = [{"messages": [{"role": "user", "content": "a"}], "meta": {"tags": ["x", None], "n": 1}}]
    for kind in ("jsonl", "json", "parquet", "arrow"):
        assert rows_of(tmp_path, f"x.{kind}", WRITERS[kind](rows)) == rows, kind


def test_a_name_that_does_not_tell_is_read_as_json(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "posts", as_jsonl(ROWS)) == rows_of(tmp_path, "more", as_json(ROWS)) == ROWS


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TABLES = st.lists(st.text("abc de", min_size=1, max_size=4), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, CELLS)), min_size=1, max_size=8)
)


@given(TABLES)
def test_all_formats_agree(rows: Rows) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for kind, write in WRITERS.items():
            assert rows_of(Path(folder), f"x.{kind}", write(rows)) == rows, kind


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(VALUES, max_size=6), st.integers(1, 40), st.sampled_from([None, 2]), st.booleans())
def test_an_array_is_the_same_through_any_window(values: Any, window: int, indent: int | None, ascii_: bool) -> None:
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_files, "WINDOW", window)
        assert list(json_files._Window(io.StringIO(f" {text}\n")).values()) == values


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("x.jsonl", b'{"a": 1}\n\n{"a": 2}\n', ["x.jsonl:1", "x.jsonl:3"]),
        ("x.jsonl.gz", gzip.compress(b'{"a": 1}\n', mtime=0), ["x.jsonl.gz:1"]),
        ("x.csv", b'a,b\n"1\n1",2\n\n3,4\n', ["x.csv:2", "x.csv:5"]),
        ("x.json", b'[{"a": 1},\n{"a": 2}]', ["x.json row 1", "x.json row 2"]),
        ("x.parquet", as_parquet([{"a": 1}, {"a": 2}]), ["x.parquet row 1", "x.parquet row 2"]),
        ("x.arrow", as_arrow([{"a": 1}]), ["x.arrow row 1"]),
        ("x.md", b"# A\n\nb\n", ["x.md"]),
    ],
)
def test_a_place_can_be_found_in_the_file(tmp_path: Path, name: str, content: bytes, places: list[str]) -> None:
    assert [place for place, _ in read(tmp_path, name, content)] == places


@pytest.mark.parametrize(
    ("name", "kind"), [("x.md", "md"), ("x.txt", "txt"), ("x.html", "html"), ("x.htm", "html"), ("x.MD.gz", "md")]
)
def test_a_document_is_one_row(tmp_path: Path, name: str, kind: str) -> None:
    content = "\ufeff# Été\r\n\r\na\rb\x00\n".encode()
    found = read(
        tmp_path, name, gzip.compress(content, mtime=0) if name.endswith("gz") else content, title="my-first_post"
    )
    assert found == [(name, {"text": "# Été\n\na\nb\x00\n", "title": "my first post", "format": kind})]


def test_a_document_that_is_not_utf_8_is_a_bad_row(tmp_path: Path) -> None:
    content = "ab é".encode("latin-1")
    with pytest.raises(ConfigError, match=r"^x\.txt is not UTF-8: .* at byte 4") as caught:
        read(tmp_path, "x.txt", content)
    assert caught.value.hint == "save the file as UTF-8"
    assert passed_over(tmp_path, "x.txt", content)[0] == []
