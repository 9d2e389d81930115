"""Every format gives the same rows, each with its place; what is wrong with a file or a row is said by name."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinctl.data import json_files
from twinctl.data.files import READERS, file_rows, format_of, title_of
from twinctl.errors import ConfigError

Rows = list[dict[str, Any]]
ROWS: Rows = [{"instruction": f"é {number}", "output": 'a, "b"\nc\td'} for number in range(600)]


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_json(rows: Rows) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def as_csv(rows: Rows, delimiter: str = ",") -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def as_tsv(rows: Rows) -> bytes:
    return as_csv(rows, "\t")


def as_parquet(rows: Rows) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def as_arrow(rows: Rows) -> bytes:
    table, stream = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def as_arrow_stream(rows: Rows) -> bytes:
    table, stream = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "jsonl": as_jsonl,
    "json": as_json,
    "csv": as_csv,
    "tsv": as_tsv,
    "parquet": as_parquet,
    "arrow": as_arrow,
}


def read(folder: Path, name: str, content: bytes, **options: Any) -> list[tuple[str, dict[str, Any]]]:
    path = folder / name
    path.write_bytes(content)
    return list(file_rows(path, name, options.pop("bad", None), **options))


def rows_of(folder: Path, name: str, content: bytes) -> Rows:
    return [row for _, row in read(folder, name, content)]


def passed_over(folder: Path, name: str, content: bytes) -> tuple[list[tuple[str, Any]], dict[str, str]]:
    """What is read when bad rows are passed over, and what they are."""
    bad: dict[str, str] = {}
    rows = read(folder, name, content, bad=lambda place, error: bad.__setitem__(place, error.message))
    return rows, bad


# Formats


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
    assert (format_of(Path(name)), title_of(Path(name))) == (kind, title)


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


# Places


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


# JSON Lines


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


# JSON


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


# Tables


@pytest.mark.parametrize(
    "content",
    [b"a,b\n1,2\n", b"a,b\r\n1,2\r\n", b"\xef\xbb\xbfa,b\n1,2", b"\n\na,b\n\n1,2\n\n", b'"a","b"\n"1","2"\n'],
    ids=["plain", "CRLF", "BOM", "empty lines", "quoted"],
)
def test_csv_of_all_makes(tmp_path: Path, content: bytes) -> None:
    assert rows_of(tmp_path, "x.csv", content) == [{"a": "1", "b": "2"}]
    assert rows_of(tmp_path, "x.tsv", content.replace(b",", b"\t")) == [{"a": "1", "b": "2"}]


def test_null_bytes_in_a_cell_are_kept(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "x.csv", b"a,b\n1\x002,\n") == [{"a": "1\x002", "b": ""}]
    assert rows_of(tmp_path, "x.jsonl", b'{"a": "\\u0000"}') == [{"a": "\x00"}]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"1,2,3", r"has not one cell for each column \(cells: 3, columns: 2\)"),
        (b"1", "has not one cell"),
        (b'"1"2,3', "cannot be read"),
        (b'1,"2', "cannot be read"),
        ("é,1".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_bad_csv_row_takes_no_other_row_with_it(tmp_path: Path, line: bytes, what: str) -> None:
    content = b'a,b\n"0\n0",0\n' + line + b"\n4,5\n6,7\n"
    with pytest.raises(ConfigError, match=rf"^x\.csv:4 {what}") as caught:
        read(tmp_path, "x.csv", content)
    assert caught.value.hint
    rows, bad = passed_over(tmp_path, "x.csv", content)
    assert [place for place, _ in rows] == ["x.csv:2", "x.csv:5", "x.csv:6"]
    assert list(bad) == ["x.csv:4"]


def test_many_open_quotes_cost_only_their_rows(tmp_path: Path) -> None:
    rows, bad = passed_over(tmp_path, "x.csv", b'a,b\n1,"2\n3,4\n' * 300)
    assert len(rows) + len(bad) == 899  # the first line names the columns
    assert [place for place in bad if int(place.partition(":")[2]) % 3 != 2] == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "x.csv is empty"),
        (b"\n\n", "x.csv is empty"),
        (b"a,b,a,b,c\n1,2,3,4,5\n", "x.csv has more than one column “a”, “b”"),
        (b'a,"b\n1,2\n', "x.csv:1 cannot be read"),
        ("é,b\n1,2\n".encode("latin-1"), "x.csv:1 is not UTF-8"),
    ],
)
def test_columns_without_good_names_are_never_passed_over(tmp_path: Path, content: bytes, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        passed_over(tmp_path, "x.csv", content)
    assert caught.value.message.startswith(what) and caught.value.hint


def test_duplicate_columns_of_arrow_tables(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "x.parquet")
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as writer:
        writer.write_table(table)
    for name in ("x.parquet", "x.arrow"):
        with pytest.raises(ConfigError, match="more than one column “a”"):
            list(file_rows(tmp_path / name, name, None))


# Damage


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.99], ids=["empty", "head", "half", "all but the end"])
def test_a_damaged_arrow_file_is_never_passed_over(tmp_path: Path, kind: str, keep: float) -> None:
    content = WRITERS[kind](ROWS)
    cut = content[: int(keep if keep > 1 else len(content) * keep)]
    with pytest.raises(ConfigError, match=rf"^x\.{kind} is damaged after row \d+") as caught:
        passed_over(tmp_path, f"x.{kind}", cut)
    assert caught.value.hint


@pytest.mark.parametrize("kind", [*WRITERS, "md"])
def test_gzip_that_is_cut_short_is_never_passed_over(tmp_path: Path, kind: str) -> None:
    content = gzip.compress(WRITERS.get(kind, as_jsonl)(ROWS))
    with pytest.raises(ConfigError, match=rf"^x\.{kind}\.gz is cut short") as caught:
        passed_over(tmp_path, f"x.{kind}.gz", content[:-200])
    assert caught.value.hint


@pytest.mark.parametrize("kind", [*WRITERS, "md"])
def test_gzip_that_is_none_or_damaged(tmp_path: Path, kind: str) -> None:
    content = WRITERS.get(kind, as_jsonl)(ROWS)
    packed = bytearray(gzip.compress(content, mtime=0))
    packed[-6] ^= 255  # in the checksum
    for wrong in (content, bytes(packed)):
        with pytest.raises(ConfigError, match=rf"^x\.{kind}\.gz is not whole gzip data"):
            passed_over(tmp_path, f"x.{kind}.gz", wrong)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.md", "x.csv.gz"):
        with pytest.raises(ConfigError, match=f"^{name} cannot be read: No such file"):
            list(file_rows(tmp_path / name, name, None))


# Documents


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
