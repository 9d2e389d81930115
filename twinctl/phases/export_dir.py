"""A result's files in a folder of the user's own, and the lines that take them to another machine.

What must stay true: a file appears under its name whole or not at all, whatever kills the process; a file that is not
the one asked for is never overwritten unasked; and what the user does to a file does not reach the cached result.

So a file shares the cache's blocks (a reflink, which is copied on write) where the disk can do that, else it is copied.
Only weights, too large to have twice, become hard links on the same disk. Such a link is the cached file itself, so it
loses the right to be written, under both names: what edits in place is refused, and what replaces the file leaves the
cache alone. A change that is forced all the same is detected by its digest, as with every damaged result.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import os
import re
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shlex import quote

from twinctl.errors import BusyError, ConfigError
from twinctl.workspace.disk import require_room
from twinctl.workspace.files import replace_atomically

FICLONE = 0x40049409  # Linux's ioctl
LINK_FROM = 64 * 2**20  # what is smaller is worth a copy
_CHUNK = 2**20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ELSEWHERE = "choose another folder: -o DIR"
_ROOM = f"free space there, or {_ELSEWHERE}"


def require_place(folder: Path) -> None:
    """Raise ConfigError, before any work, for a folder where `export_files` could not put a file."""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise ConfigError(f"{nearest} is there and is no folder", _ELSEWHERE)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{nearest} cannot be written", f"change its permissions, or {_ELSEWHERE}")


def export_files(files: Sequence[Path], folder: Path, *, force: bool = False) -> list[Path]:
    """The files in the folder, under their own names, and where they are; the folder is made, what is there already is
    left. `force` replaces other files of these names.

    Raises ConfigError for a folder that cannot be used, a file there that is another one, and a disk without room, all
    before anything is put there; BusyError while another process puts files there.
    """
    targets = [folder / file.name for file in files]
    if twice := {target.name for target in targets if targets.count(target) > 1}:
        raise ConfigError(f"there are two files of the name {min(twice)}", "take them to two folders: -o DIR")
    with _explained(folder):
        _make(folder)
        with _alone_in(folder):
            wanted = [pair for pair in zip(files, targets, strict=True) if not _is_there(*pair, force=force)]
            _put_all(wanted, folder)
    return targets


def take_away_lines(paths: Sequence[Path], host: str = "", name: str = "twin") -> list[str]:
    """What to type: one `scp` line on the machine that wants the files (with `host`), then what makes them a model of
    Ollama's there, one line for each Modelfile among them. All the paths are in one folder.
    """
    folder = paths[0].parent.resolve()
    lines = [f"scp -r {quote(f'{host}:{folder}')} ."] if host else []
    there = Path(folder.name) if host else folder
    for path in sorted(path for path in paths if path.name.startswith("Modelfile")):
        # Ollama takes letters, digits, dots, hyphens and underscores.
        words = (name, path.name.removeprefix("Modelfile").lstrip("."))
        model, tag = (re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-._") for word in words)
        full_name = f"{model or 'twin'}:{tag}" if tag else model or "twin"
        lines.append(f"ollama create {quote(full_name)} -f {quote(str(there / path.name))}")
    return lines


def host() -> str:
    """This machine as scp names it: user and host. Empty outside of an SSH session."""
    return f"{getpass.getuser()}@{socket.gethostname()}" if os.environ.get("SSH_CONNECTION") else ""


def _make(folder: Path) -> None:
    if folder.is_dir():
        return
    if os.path.lexists(folder):
        raise ConfigError(f"{folder} is there and is no folder", _ELSEWHERE)
    if not folder.parent.is_dir():
        raise ConfigError(f"there is no folder {folder.parent}", f"make it: mkdir -p {quote(str(folder.parent))}")
    folder.mkdir()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Failures of the disk as ConfigError, by the folder's name where the disk is full."""
    try:
        yield
    except OSError as error:
        is_full = error.errno in _FULL
        where, hint = (folder, "free space there") if is_full else (error.filename or folder, "repair that")
        raise ConfigError(f"{where}: {error.strerror}", f"{hint}, or {_ELSEWHERE}") from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """No second process puts files there meanwhile: both would write under the same passing name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BusyError(f"another export writes to {folder}", "wait for it, then type the same again") from error
    finally:
        os.close(descriptor)


def _is_there(file: Path, target: Path, *, force: bool) -> bool:
    """Whether the target is the file already. Raises ConfigError for another one, which only `force` replaces."""
    if not os.path.lexists(target):
        return False
    if target.is_file() and _is_same(file, target):
        return True
    if not force or target.is_dir():
        raise ConfigError(f"{target} is there already and is another file", f"move it away, or {_ELSEWHERE}")
    return False


def _is_same(one: Path, other: Path) -> bool:
    if os.path.samefile(one, other):
        return True
    if one.stat().st_size != other.stat().st_size:
        return False
    with open(one, "rb") as first, open(other, "rb") as second:
        return all(piece == second.read(_CHUNK) for piece in iter(partial(first.read, _CHUNK), b""))


def _put_all(wanted: Sequence[tuple[Path, Path]], folder: Path) -> None:
    clones = bool(wanted) and _try(_clone, wanted[0][0], folder / ".clone.partial", keep=False)
    copied = [] if clones else [file for file, _ in wanted if not _may_link(file, folder)]
    require_room(folder, sum(file.stat().st_size for file in copied), "the export", _ROOM)
    for file, target in wanted:
        passing = folder / f".{target.name}.partial"
        ways = [_clone, _link] if _may_link(file, folder) else [_clone]
        if not any(_try(way, file, passing) for way in ways):
            require_room(folder, file.stat().st_size, file.name, _ROOM)
            _copy(file, passing)
        replace_atomically(passing, target)
        passing.unlink(missing_ok=True)  # a rename onto a hard link of the same file does nothing


def _may_link(file: Path, folder: Path) -> bool:
    status = file.stat()
    return status.st_size >= LINK_FROM and status.st_dev == folder.stat().st_dev


def _try(way: Callable[[Path, Path], None], file: Path, passing: Path, *, keep: bool = True) -> bool:
    """Whether the disk can do it in this way; nothing is left of what it could not."""
    passing.unlink(missing_ok=True)
    done = False
    try:
        way(file, passing)
        done = True
    except OSError as error:
        if error.errno in (*_FULL, errno.EROFS):
            raise
    finally:
        if not (done and keep):
            passing.unlink(missing_ok=True)
    return done


def _clone(file: Path, passing: Path) -> None:
    with open(file, "rb") as source, open(passing, "xb") as target:
        fcntl.ioctl(target.fileno(), FICLONE, source.fileno())


def _link(file: Path, passing: Path) -> None:
    os.link(file, passing)
    writable = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    os.chmod(passing, stat.S_IMODE(passing.stat().st_mode) & ~writable)


def _copy(file: Path, passing: Path) -> None:
    """Raises OSError where the disk is full all the same; nothing is left then."""
    passing.unlink(missing_ok=True)
    try:
        shutil.copyfile(file, passing)
    except BaseException:
        passing.unlink(missing_ok=True)
        raise
