"""A data file's bytes, and errors that name what is wrong with them.

What must stay true: a row that cannot be read is named and may be skipped, a file that cannot be read never is; a
file is read from its first row to its last as the one that was resolved.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from twinctl.errors import ConfigError
from twinctl.workspace.memo import file_sha256

LocatedRow = tuple[str, dict[str, Any]]
OnBadRow = Callable[[str, ConfigError], None]

SAVE_UTF8 = "save the file as UTF-8"
_AGAIN = "once nothing writes to it any more, type the same command again"
_COPY = "copy it again, or compress it again"


def without_surrogates(text: str) -> str:
    """The text with “?” for each half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def open_unpacked(path: Path) -> io.BufferedReader:
    """The file's bytes, unpacked."""
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(cast("io.RawIOBase", gzip.open(path)), 2**17)
    return open(path, "rb")


def refuse_row(place: str, what: str, hint: str, bad: OnBadRow | None, cause: Exception | None = None) -> None:
    """Hand a bad row to `bad`; without one, raise it as ConfigError."""
    error = ConfigError(f"{place} {what}", hint)
    if bad is None:
        raise error from cause
    bad(place, error)


@contextmanager
def damage_reported(label: str) -> Iterator[None]:
    """Raise ConfigError for what a missing, shut or damaged file raises inside."""
    try:
        yield
    except EOFError as error:
        raise ConfigError(f"{label} is cut short: its gzip data has no end", _COPY) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{label} is not whole gzip data: {error}", _COPY) from error
    except OSError as error:
        hint = "see that it is there and may be read"
        raise ConfigError(f"{label} cannot be read: {error.strerror or error}", hint) from error


@contextmanager
def require_unchanged(path: Path, digest: str, label: str) -> Iterator[None]:
    """Raise ConfigError when the file is not the one with this digest, or changes while the block reads it."""
    before = _state(path)
    with damage_reported(label):
        if file_sha256(path) != digest:
            raise ConfigError(f"{label} changed since twinctl looked at it", _AGAIN)
    try:
        yield
    except ConfigError:  # rows that are half written follow from the change: name the cause
        if _state(path) == before:
            raise
    if _state(path) != before:
        raise ConfigError(f"{label} changed while it was read", _AGAIN)


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
