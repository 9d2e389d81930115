"""Digests of files, remembered, because reading 16 GB takes seconds.

What must stay true: the memo is never identity; losing it costs time only. An entry counts when path, size, mtime,
inode and ctime are unchanged (nobody can set a file's ctime back) *and* the file was at rest when it was read: a file
written within the clock's grain of the reading could change again unnoticed (git calls such entries racy), so it is
read anew. A clock that was set back makes ctimes of the future, which are racy too.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twinctl.errors import UpstreamError
from twinctl.workspace.files import read_json, write_json

RACY_NS = 2_000_000_000
# A smaller file is read faster than the memo, one file for all of them, is written.
WORTH_REMEMBERING = 2**20
WORTH_THREADS = 2**26  # bytes of all of them


def file_sha256(path: Path) -> str:
    """The sha256 of the file's bytes, read now."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_all(paths: Sequence[Path], digest: Callable[[Path], str]) -> list[str]:
    """The digests of files that are read side by side: a core alone takes 13 s for the shards of an 8B.

    Raises what `digest` raises.
    """
    if len(paths) < 2 or sum(path.stat().st_size for path in paths) < WORTH_THREADS:
        return [digest(path) for path in paths]
    from concurrent.futures import Future

    results: list[Future[str]] = [Future() for _ in paths]
    waiting = deque(zip(paths, results, strict=True))

    def work() -> None:
        with suppress(IndexError):
            while True:
                path, result = waiting.popleft()
                try:
                    result.set_result(digest(path))
                except Exception as error:
                    result.set_exception(error)

    try:
        for _ in range(min(len(paths), os.cpu_count() or 1)):
            threading.Thread(target=work, daemon=True).start()  # an interruption does not wait for a shard's end
        return [result.result() for result in results]
    finally:
        waiting.clear()


def _key(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]


class DigestMemo:
    """Digests by path in one JSON file. `sha256` reads a file only when the memo does not vouch for it."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        try:
            self._entries: dict[str, Any] = dict(read_json(path)["digests"])
        except (OSError, UpstreamError, KeyError, TypeError, ValueError):  # missing or damaged: only slower
            self._entries = {}

    def sha256(self, path: Path) -> str:
        """The file's sha256. Raises OSError when it cannot be read, UpstreamError when it changes meanwhile."""
        resolved = path.resolve()
        key = _key(resolved)
        entry = self._entries.get(str(resolved))
        if isinstance(entry, list) and entry[:-1] == key:
            return str(entry[-1])
        digest = file_sha256(resolved)
        if _key(resolved) != key:
            raise UpstreamError(f"{path} changed while it was read", "wait until nothing writes it, then try again")
        if key[0] >= WORTH_REMEMBERING and time.time_ns() - key[-1] > RACY_NS:
            with self._lock:
                self._entries[str(resolved)] = [*key, digest]
                self.save()
        return digest

    def save(self) -> None:
        """Write down what is known. Where there is no workspace yet, `Workspace.create` does it later."""
        try:
            if self._entries and self._path.parent.is_dir():
                write_json(self._path, {"digests": self._entries})
        except OSError:  # a read-only workspace only forgets
            return
