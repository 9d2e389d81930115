"""The rows of CSV, TSV, Parquet and Arrow files.

What must stay true: a cell is what the file holds, never a guess: no cell is invented, and a stray quote is an error
and does not swallow the rows below it; of a Parquet or Arrow file a few hundred rows are in memory at once.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twinctl.data.file_io import SAVE_UTF8, LocatedRow, OnBadRow, open_unpacked, refuse_row
from twinctl.errors import ConfigError
from twinctl.wording import first_line

if TYPE_CHECKING:
    import pyarrow

BATCH = 256
LARGEST_CELL = 2**27
"""Characters: beyond every text, and a bound for what an open quote can swallow."""


def csv_rows(path: Path, label: str, bad: OnBadRow | None) -> Iterator[LocatedRow]:
    """The rows of a CSV file below the line of column names, each at the line where it begins."""
    return _table(path, label, bad, ",")


def tsv_rows(path: Path, label: str, bad: OnBadRow | None) -> Iterator[LocatedRow]:
    """The rows of a file with tabs between the cells, below the line of column names."""
    return _table(path, label, bad, "\t")


def _table(path: Path, label: str, bad: OnBadRow | None, delimiter: str) -> Iterator[LocatedRow]:
    csv.field_size_limit(LARGEST_CELL)
    with open_unpacked(path) as stream:
        lines = _Lines(stream)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        # Nobody takes a bad first line: it names the columns.
        _, columns = next(_records(reader, lines, label, None), ("", []))
        if not columns:
            raise ConfigError(f"{label} is empty", "its first line must name the columns")
        _check_columns(columns, label)
        width = len(columns)
        for place, cells in _records(reader, lines, label, bad):
            if len(cells) == width:
                yield place, dict(zip(columns, cells, strict=True))
            else:
                what = f"has not one cell for each column (cells: {len(cells)}, columns: {width})"
                refuse_row(place, what, "put a cell that holds a separator or a line end into double quotes", bad)


def _records(
    reader: Iterator[list[str]], lines: _Lines, label: str, bad: OnBadRow | None
) -> Iterator[tuple[str, list[str]]]:
    """The rows' cells and the places where they begin."""
    while True:
        lines.row.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hint = "put the cell into double quotes, and write a quote in it twice"
            refuse_row(f"{label}:{lines.start}", f"cannot be read: {error}", hint, bad, error)
            lines.go_back()
        except UnicodeDecodeError as error:
            refuse_row(f"{label}:{lines.number}", f"is not UTF-8: {error.reason}", SAVE_UTF8, bad, error)
        else:
            if cells:  # an empty line has none
                yield f"{label}:{lines.start}", cells


class _Lines:
    """A file's lines, and those of the row that is being read.

    A quote that nothing closes makes one row of all that follows; `go_back` lets reading restart below its line.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self.row: list[bytes] = []
        self.number = 0
        self._stream, self._again = stream, deque[bytes]()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._stream)
        self.number += 1
        self.row.append(line)
        return line.removeprefix(codecs.BOM_UTF8).decode() if self.number == 1 else line.decode()

    @property
    def start(self) -> int:
        """The number of the row's first line."""
        return self.number - len(self.row) + 1

    def go_back(self) -> None:
        """Give all but the row's first line once more."""
        again = self.row[1:]
        self._again.extendleft(reversed(again))
        self.number -= len(again)


def _check_columns(names: Sequence[str], label: str) -> None:
    twice = [f"“{name}”" for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{label} has more than one column {', '.join(twice)}", "give each column its own name")


def parquet_rows(path: Path, label: str, bad: OnBadRow | None) -> Iterator[LocatedRow]:
    """The rows of a Parquet file by number; nested columns are lists and dicts."""
    return _rows(_parquet_batches(_source(path), label), label)


def arrow_rows(path: Path, label: str, bad: OnBadRow | None) -> Iterator[LocatedRow]:
    """The rows of an Arrow file, in its file or its stream format, by number."""
    return _rows(_arrow_batches(_source(path), label), label)


def _parquet_batches(source: pyarrow.NativeFile, label: str) -> Iterator[pyarrow.RecordBatch]:
    from pyarrow.parquet import ParquetFile

    # A row group may be the whole file: it is read piece by piece.
    with source, ParquetFile(source, pre_buffer=False, buffer_size=2**20) as file:
        _check_columns(file.schema_arrow.names, label)
        yield from file.iter_batches(batch_size=BATCH)


def _arrow_batches(source: pyarrow.NativeFile, label: str) -> Iterator[pyarrow.RecordBatch]:
    from pyarrow import ipc

    with source:
        in_file_format = source.read(6) == b"ARROW1"
        source.seek(0)
        reader = ipc.open_file(source) if in_file_format else ipc.open_stream(source)
        _check_columns(reader.schema.names, label)
        if in_file_format:
            yield from map(reader.get_batch, range(reader.num_record_batches))
        else:
            yield from reader


def _source(path: Path) -> pyarrow.NativeFile:
    """No memory map: a file that is cut short while it is mapped ends the process."""
    import pyarrow

    if path.suffix.lower() != ".gz":
        return pyarrow.OSFile(str(path))
    with open_unpacked(path) as stream:
        return pyarrow.BufferReader(stream.read())


def _rows(batches: Iterator[pyarrow.RecordBatch], label: str) -> Iterator[LocatedRow]:
    number = 0
    try:
        for batch in batches:
            batch.validate(full=True)  # offsets out of place would read memory that is not the file's
            for start in range(0, batch.num_rows, BATCH):
                for row in batch.slice(start, BATCH).to_pylist():
                    number += 1
                    yield f"{label} row {number}", row
    except ConfigError:
        raise
    except Exception as error:  # a damaged file raises many kinds, OverflowError for a date among them
        what = f"{label} is damaged after row {number}: {first_line(error)}"
        raise ConfigError(what, "copy the file again, or rebuild it") from error
