"""Files that are damaged, cut short or missing are said by name."""

from __future__ import annotations

import gzip
import random
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from tests.support.row_files import ROWS, WRITERS, as_jsonl, passed_over, rows_of
from twinctl.data.files import file_rows
from twinctl.errors import ConfigError


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.99], ids=["empty", "head", "half", "all but the end"])
def test_a_damaged_arrow_file_is_never_passed_over(tmp_path: Path, kind: str, keep: float) -> None:
    content = WRITERS[kind](ROWS)
    cut = content[: int(keep if keep > 1 else len(content) * keep)]
    with pytest.raises(ConfigError, match=rf"^x\.{kind} is damaged after row \d+") as caught:
        passed_over(tmp_path, f"x.{kind}", cut)
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_flipped_bytes_are_rows_or_damage(tmp_path: Path, kind: str) -> None:
    """Never a crash: offsets that lead out of the file's data once ended the process."""
    content, chance = WRITERS[kind](ROWS * 20), random.Random(0)
    damaged = 0
    for _ in range(300):
        flipped = bytearray(content)
        for _ in range(4):
            flipped[chance.randrange(len(flipped))] = chance.randrange(256)
        try:
            rows_of(tmp_path, f"x.{kind}", bytes(flipped))
        except ConfigError as error:
            damaged += 1
            assert error.message.startswith(f"x.{kind} ")
    assert damaged


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_date_that_no_calendar_has_is_damage(tmp_path: Path, kind: str) -> None:
    moments = [datetime(2024, 3, 1)] * 300, [2**60]
    columns = [pa.array(values, pa.timestamp("us")) for values in moments]
    table = pa.table({"day": pa.chunked_array(columns)})
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        parquet.write_table(table, path)
    else:
        with ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(ConfigError, match=rf"^x\.{kind} is damaged after row \d+: date value out of range"):
        list(file_rows(path, path.name, None))


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
