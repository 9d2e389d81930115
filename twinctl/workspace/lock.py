"""The lock of one artifact: an flock that the operating system frees when its last holder dies.

What must stay true: what writes into an artifact's folder holds its lock, and the locked file is the one that is
there, not one that was removed meanwhile; the descriptor is inherited by a worker, so the lock lasts until the last
worker is gone, whatever became of the command that started it. owner.json is for messages only.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from twinctl.errors import BusyError, UpstreamError
from twinctl.workspace.files import read_json, write_json

# `is_locked` takes the lock for a moment to look; `acquire` tries for longer than that.
PATIENCE_SECONDS = 0.3


class Lock:
    """The exclusive right to work in `folder`. `argv`: the command to name to others, free of secrets."""

    def __init__(self, folder: Path, argv: Sequence[str] = ()) -> None:
        self.folder = folder
        self.argv = list(argv)
        self.descriptor: int | None = None

    def acquire(self, *, wait: bool) -> None:
        """Take the lock; with `wait`, as soon as it is free. Raises BusyError, naming who holds it."""
        until = time.monotonic() + PATIENCE_SECONDS
        while (descriptor := _taken(self.folder)) is None:
            if not wait and time.monotonic() > until:
                raise BusyError(
                    f"{self.folder.name} is being worked on by {owner_text(self.folder)}", "wait for it with --wait"
                )
            time.sleep(0.02)
        self.descriptor = descriptor
        try:
            write_owner(self.folder, os.getpid(), self.argv)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Close this process's hold; a worker that inherited the descriptor still holds the lock."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _taken(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None while another process does, or took the folder away just now."""
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except (FileNotFoundError, FileExistsError):
        if folder.is_file() or folder.is_symlink():  # there to stay: a folder cannot be made here
            raise
        return None
    with suppress(FileNotFoundError):
        # `clean` may have removed the file between the opening and the locking: that lock would exclude nobody.
        if _try(descriptor, fcntl.LOCK_EX) and os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return descriptor
    os.close(descriptor)
    return None


def _try(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(folder: Path) -> bool:
    """Whether some living process works in the folder."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def write_owner(folder: Path, pid: int, argv: Sequence[str]) -> None:
    """Say who works here, for messages."""
    owner = {"pid": pid, "host": socket.gethostname(), "argv": list(argv), "since": time.time()}
    write_json(folder / "owner.json", owner)


def read_owner(folder: Path) -> dict[str, Any] | None:
    """Who said last that they work here; None when that cannot be read."""
    try:
        owner = read_json(folder / "owner.json")
    except (FileNotFoundError, UpstreamError):
        return None
    return owner if isinstance(owner, dict) else None


def owner_text(folder: Path) -> str:
    """Who works here, in words."""
    owner = read_owner(folder)
    if owner is None:
        return "another process"
    since = time.strftime("%H:%M:%S", time.localtime(owner["since"]))
    return f"process {owner['pid']} on {owner['host']} (twinctl {' '.join(owner['argv'])}) since {since}"
