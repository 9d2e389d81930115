"""CSV and Arrow tables of all makes, and rows that are none."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.row_files import passed_over, read, rows_of
from twinctl.data.files import file_rows
from twinctl.errors import ConfigError


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
