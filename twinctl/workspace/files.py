"""Small files that are either whole or not there, and lines that are appended.

What must stay true: `write_json` leaves the old content or the new one, never a mixture, also through a power cut; a
reader of appended lines passes over a last line that a crash cut short; a damaged file is an error that names it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from twinctl.errors import UpstreamError


def fsync_path(path: Path) -> None:
    """Flush a file's or a folder's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Flush every file and folder below, and the folder itself."""
    for parent, _, names in os.walk(folder):
        for name in names:
            fsync_path(Path(parent, name))
        fsync_path(Path(parent))


def write_text(path: Path, text: str) -> None:
    """Replace the file's content in one step."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that finds no room names no file
        raise
    finally:
        partial.unlink(missing_ok=True)
    fsync_path(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace the file's content by this value, in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The file's value. Raises UpstreamError when it is damaged; a missing file raises FileNotFoundError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UpstreamError(
            f"{path} is damaged: {error}",
            f"move it away, then run the phase again: mv {quote(str(path))} {quote(str(path))}.bad",
        ) from error


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line; a line that a crash cut short before is ended first."""
    data = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    with open(path, "ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                data = b"\n" + data
        stream.write(data)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The appended values in order; lines that a crash cut short are left out. A missing file has none."""
    if not path.exists():
        return
    with open(path, "rb") as stream:
        for line in stream:
            try:
                value = json.loads(line)
            except ValueError:  # cut short by a crash: see append_line
                continue
            if isinstance(value, dict):
                yield value
