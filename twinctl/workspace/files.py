"""Files that are either whole or not there, and lines that are appended.

What must stay true: `atomic_write`, and so `write_json`, leaves the old content or the new one, never a mixture, also
through a power cut; a reader of appended lines passes over a last line that a crash cut short; a damaged file is an
error that names it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
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


def replace_atomically(partial: Path, target: Path) -> None:
    """Give a finished file or folder its final name: flush the content, rename it, flush the folder that it is in."""
    fsync_tree(partial) if partial.is_dir() else fsync_path(partial)
    os.replace(partial, target)
    fsync_path(target.parent)


@contextmanager
def atomic_write(target: Path, *, single_writer: bool = False) -> Iterator[Path]:
    """The path of a partial file next to `target`, for the block to write. When the block ends, the file becomes
    `target` in one step; when the block raises, the file is removed and `target` is as it was.

    `single_writer`: no other process writes this target at the same time. The partial file then has a fixed name, so
    that the next attempt overwrites what a killed process left; this matters for large files.
    """
    partial = target.with_name(f".{target.name}.partial" if single_writer else f"{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        replace_atomically(partial, target)
    except OSError as error:
        error.filename = error.filename or str(target)  # a write to a full disk names no file
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace the file's content in one step."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace the file's content by this value, in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, hint: str = "") -> Any:
    """The file's value. Raises UpstreamError, with the hint, when it is damaged; a missing file raises
    FileNotFoundError. Without `hint` the file is one of the workspace's, which its phase writes again.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UpstreamError(
            f"{path} is damaged: {error}",
            hint or f"move it away, then run the phase again: mv {quote(str(path))} {quote(str(path))}.bad",
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
