"""The files that a locator names: a file, a folder's, a glob's, or what standard input held.

What must stay true: the same files come in the same order on every machine, that of their paths; a locator that is
there and names nothing to read is an error; standard input is a file on disk, named by its content, before anything
depends on it.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path

from twinctl.data.file_io import damage_reported, open_unpacked
from twinctl.data.files import SUFFIXES, format_of
from twinctl.data.json_files import first_byte
from twinctl.errors import ConfigError, UpstreamError
from twinctl.wording import near_match
from twinctl.workspace.files import replace_atomically
from twinctl.workspace.memo import DigestMemo, file_sha256

_PIPE = "pipe rows or text into it: twinctl prepare -d - < posts.jsonl"
_READS = f"twinctl reads {SUFFIXES}"
_JSON = {b"{": ".jsonl", b"[": ".json"}


def find_files(locator: str) -> list[Path]:
    """The files as absolute paths; none when nothing of that name is here.

    Raises ConfigError when there is something, and nothing that can be read.
    """
    name = os.path.expanduser(locator)
    with damage_reported(locator):
        if os.path.isdir(name):
            return _usable(locator, _below(name))
        if os.path.isfile(name):
            return [_readable(locator, Path(os.path.abspath(name)))]
        if os.path.exists(name):
            raise ConfigError(f"{locator} is neither a file nor a folder", _PIPE)
        matches = sorted(glob(name, recursive=True)) if has_magic(name) else []
        return _usable(locator, map(Path, matches)) if matches else []


def _readable(locator: str, path: Path) -> Path:
    if format_of(path) is None:
        with open_unpacked(path) as stream:
            if first_byte(stream) not in _JSON:
                raise ConfigError(f"{locator} is of a kind that cannot be read", f"{_READS}: save it as one of these")
    return path


def _usable(locator: str, paths: Iterator[Path]) -> list[Path]:
    others: Counter[str] = Counter()
    usable = []
    for path in paths:
        if path.is_file() and format_of(path):
            usable.append(Path(os.path.abspath(path)))
        else:
            others["folders" if path.is_dir() else path.suffix or path.name] += 1
    if not usable:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(8)) or "no file at all"
        raise ConfigError(f"{locator} holds nothing that can be read; there is: {kinds}", _READS)
    return usable


def _below(folder: str) -> Iterator[Path]:
    """The folder's files by their relative paths, without what is hidden. Each folder is entered once, however many
    links lead to it, so a link to a folder above ends.
    """
    entered = {os.path.realpath(folder)}
    files = []

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        inside = {name: os.path.realpath(os.path.join(parent, name)) for name in sorted(folders) if name[0] != "."}
        folders[:] = [name for name, real in inside.items() if real not in entered]
        entered.update(inside.values())
        files += [Path(parent, name) for name in names if name[0] != "."]
    yield from sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def nearby(locator: str) -> str:
    """A hint for a path with a typing error in its last part; "" when no name there is like it."""
    path = Path(os.path.expanduser(locator))
    folder = path.parent if path.parent.is_dir() else Path()
    near = near_match(path.name, sorted(os.listdir(folder)))
    return f"did you mean {folder / near}?" if near else ""


def digest_of(path: Path, memo: DigestMemo) -> str:
    """The file's sha256. Raises ConfigError when it cannot be read or changes meanwhile."""
    with damage_reported(str(path)):
        try:
            return memo.sha256(path)
        except UpstreamError as error:
            raise ConfigError(error.message, error.hint) from error


def spool_input(folder: Path) -> Path:
    """Keep what standard input holds as a file in the folder, and give its absolute path.

    Raises ConfigError when nothing is piped into it.
    """
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise ConfigError("- is standard input, and nothing is piped into it", _PIPE)
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(os.path.abspath(folder), f"{os.getpid()}.partial")
    try:
        with open(draft, "wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        return _named_by_content(draft)
    finally:
        draft.unlink(missing_ok=True)


def _named_by_content(draft: Path) -> Path:
    """The draft under a name that follows from its content, unless there is such a file already."""
    digest = file_sha256(draft)
    if not draft.stat().st_size:
        raise ConfigError("standard input is empty", _PIPE)
    with open(draft, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    with damage_reported("standard input"), gzip.open(draft) if packed else open(draft, "rb") as stream:
        suffix = _JSON.get(first_byte(stream), ".txt")
    path = draft.with_name(digest[:16] + suffix + ".gz" * packed)
    if not path.exists() or file_sha256(path) != digest:
        replace_atomically(draft, path)
    return path
