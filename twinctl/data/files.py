"""The rows of one file, whatever its format, each with its place ("posts.jsonl:7").

What must stay true: a file's name says how it is read, so that the same bytes under the same kind of name give the
same rows; rows are streamed, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from twinctl.data.file_io import SAVE_UTF8, LocatedRow, OnBadRow, damage_reported, open_unpacked, refuse_row
from twinctl.data.json_files import json_lines, json_rows
from twinctl.data.table_files import arrow_rows, csv_rows, parquet_rows, tsv_rows

FileReader = Callable[[Path, str, OnBadRow | None], Iterator[LocatedRow]]

READERS: dict[str, FileReader] = {
    "jsonl": json_lines,
    "json": json_rows,
    "csv": csv_rows,
    "tsv": tsv_rows,
    "parquet": parquet_rows,
    "arrow": arrow_rows,
}
DOCUMENTS = {"txt": "txt", "md": "md", "html": "html", "htm": "html"}
SUFFIXES = ", ".join(f".{name}" for name in (*READERS, *DOCUMENTS)) + ", or one of these with .gz"


def format_of(path: Path) -> str | None:
    """How a file of this name is read; None when the name does not tell."""
    suffix = _unpacked(path).suffix.lower().removeprefix(".")
    return suffix if suffix in READERS else DOCUMENTS.get(suffix)


def document_title(path: Path) -> str:
    """What a document's name says of it; "" for rows."""
    return _unpacked(path).stem if format_of(path) in DOCUMENTS.values() else ""


def _unpacked(path: Path) -> Path:
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def file_rows(path: Path, label: str, bad: OnBadRow | None, title: str = "") -> Iterator[LocatedRow]:
    """The file's rows with their places, which begin with `label`. A document is one row; a name that does not tell
    is read as JSON.

    Raises ConfigError for a file that cannot be read, and for a row that cannot when there is no `bad` to take it.
    """
    name = format_of(path) or "json"
    with damage_reported(label):
        if name in READERS:
            yield from READERS[name](path, label, bad)
            return
        with open_unpacked(path) as stream:
            data = stream.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse_row(label, f"is not UTF-8: {error.reason} at byte {error.start + 1}", SAVE_UTF8, bad, error)
    else:
        text, spaced = text.replace("\r\n", "\n").replace("\r", "\n"), title.replace("-", " ").replace("_", " ")
        yield label, {"text": text, "title": spaced, "format": name}
