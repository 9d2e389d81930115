"""The same rows in every format, and short ways to read them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from twinctl.data.files import file_rows

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
