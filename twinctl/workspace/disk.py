"""Room on the disk: how much there is, and the one error for a disk that is full.

What must stay true: a full disk is a ConfigError, exit code 3, wherever it is noticed: before the work
(`require_room`), by the system during the work (`errors.explained`), or after a library failed for want of room
(`full_disk`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from twinctl.errors import MAKE_ROOM, ConfigError
from twinctl.wording import MIB, size_text


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk where the folder is, or where it would be made."""
    return shutil.disk_usage(nearest_existing(folder)).free


def require_room(folder: Path, needed: int, what: str, hint: str = MAKE_ROOM) -> None:
    """Raise ConfigError unless `needed` bytes fit on the folder's disk. `what`: what needs them, as in “the file”."""
    free = free_bytes(folder)
    if free < needed:
        raise ConfigError(f"{folder} has {size_text(free)} free, and {what} needs {size_text(needed)}", hint)


def full_disk(folder: Path) -> ConfigError | None:
    """The error to report when the folder's disk has no room left, whatever error a library raised for it."""
    if shutil.disk_usage(folder).free >= MIB:
        return None
    return ConfigError(f"{folder}: no space left on the disk", f"{MAKE_ROOM}; then the same command resumes")
