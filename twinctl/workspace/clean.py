"""Remove what no run leads to, and what crashes left.

What must stay true: whatever a run points to, whatever is being worked on, and all that those were made from, stays;
an artifact goes in one step (renamed, then deleted), so that nobody ever sees half of one under its own name; when a
run, or the record of something that stays, cannot be read, nothing goes; links are removed, never followed. Killed at
any moment, it leaves the rest to the next call.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex

from twinctl.errors import BusyError, UpstreamError
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.files import fsync_path
from twinctl.workspace.layout import SPOOL
from twinctl.workspace.lock import Lock, is_locked, owner_text
from twinctl.workspace.workspace import Workspace

# As Workspace.artifact_path names them; a folder of another name is somebody's own.
ARTIFACT = re.compile(r".*-[0-9a-f]{8}([0-9a-f]{56})?")
UNREACHED = "no run points to it"
CRASHED = "left by a crash"
UNWRITTEN = "left by an interrupted write"
TRASH = "left by an interrupted clean"
UNPREPARED = "was piped in, and no run is prepared from it"
SOON = 3600.0  # seconds in which what was piped in may still be about to be prepared
# Trash is last: should it resist, the rest is gone by then.
OUTSIDE = {
    ".probe-*": CRASHED,
    "*.json.*.partial": UNWRITTEN,
    "current.*.partial": UNWRITTEN,
    "runs/*.partial": UNWRITTEN,
    "artifacts/*/.trash-*": TRASH,
}


@dataclass(frozen=True)
class Leftover:
    """A file or folder (relative to the workspace) and why it goes, or why it stays.

    `artifact`: the one that it is in or is itself, relative to artifacts/; "" for what is outside.
    """

    path: str
    reason: str
    bytes: int = 0
    artifact: str = ""


@dataclass(frozen=True)
class Sweep:
    """What goes or went, and what stays because somebody works there."""

    gone: list[Leftover]
    kept: list[Leftover]

    @property
    def bytes(self) -> int:
        """The size of all that goes."""
        return sum(item.bytes for item in self.gone)


def survey(workspace: Workspace) -> Sweep:
    """What `clean` would do now. Changes nothing. Raises UpstreamError when it cannot be known what stays."""
    if not (workspace.root / "workspace.json").exists():
        return Sweep([], [])  # not a workspace: nothing in it is ours
    reached = _reached(workspace)
    gone: list[Leftover] = []
    kept: list[Leftover] = []
    for path in _artifacts(workspace):
        artifact = workspace.artifact(path)
        if is_locked(artifact.path):
            location = artifact.path.relative_to(workspace.root).as_posix()
            kept.append(Leftover(location, f"in use by {owner_text(artifact.path)}", artifact=path))
        elif path not in reached:
            gone.append(_leftover(workspace, artifact.path, UNREACHED, path))
        else:
            if artifact.work.exists() and artifact.record() is not None:  # an unfinished one resumes from its work/
                gone.append(_leftover(workspace, artifact.work, CRASHED, path))
            for partial in sorted(artifact.path.glob("*.partial")):
                gone.append(_leftover(workspace, partial, UNWRITTEN, path))
    gone += _left_outside(workspace, in_use=bool(kept))
    return Sweep(gone, kept)


def clean(workspace: Workspace) -> Sweep:
    """Remove what `survey` finds, but for what is used again by then. Raises OSError, naming what cannot be removed."""
    sweep = survey(workspace)
    gone = [item for item in sweep.gone if _remove(workspace, item)]
    used = [replace(item, reason="used again meanwhile", bytes=0) for item in sweep.gone if item not in gone]
    return Sweep(gone, [*sweep.kept, *used])


def _reached(workspace: Workspace, ours: str = "") -> set[str]:
    """The artifacts that runs point to or somebody works on, and all that those were made from.

    `ours`: one whose lock this process holds, which is no sign of work.
    """
    todo = [path for name in workspace.runs.names() for path in workspace.runs.get(name).artifacts()]
    todo += [path for path in _artifacts(workspace) if path != ours and is_locked(workspace.artifact(path).path)]
    reached: set[str] = set()
    while todo:
        path = todo.pop()
        if path not in reached:
            reached.add(path)
            todo += _parents(workspace, workspace.artifact(path))
    return reached


def _parents(workspace: Workspace, artifact: Artifact) -> list[str]:
    """What it was made from; as long as there is no record, whatever has the digest of one of its inputs."""
    if record := artifact.record():
        return list(record.parents.values())
    inputs = list((artifact.request() or {}).get("inputs", {}).values())
    parents = []
    for path in _artifacts(workspace):
        with suppress(UpstreamError):  # a damaged one matters only where it stays: see `_reached`
            record = workspace.artifact(path).record()
            if record is not None and record.digest in inputs:
                parents.append(path)
    return parents


def _artifacts(workspace: Workspace) -> list[str]:
    """All artifacts, relative to artifacts/."""
    folders = (workspace.root / "artifacts").glob("*/*")
    return sorted(f"{it.parent.name}/{it.name}" for it in folders if ARTIFACT.fullmatch(it.name) and it.is_dir())


def _left_outside(workspace: Workspace, *, in_use: bool) -> Iterator[Leftover]:
    """What was left outside of artifacts, and what was piped in once, unless a run's pins name it or somebody is at
    work, who may be preparing a run from it.
    """
    for pattern, reason in OUTSIDE.items():
        for path in sorted(workspace.root.glob(pattern)):
            yield _leftover(workspace, path, reason)
    if in_use:
        return
    pins = "".join(json.dumps(workspace.runs.get(name).pins) for name in workspace.runs.names())
    for path in sorted((workspace.root / SPOOL).glob("*")):
        if path.name not in pins and time.time() - path.lstat().st_mtime > SOON:
            yield _leftover(workspace, path, UNPREPARED)


def _leftover(workspace: Workspace, path: Path, reason: str, artifact: str = "") -> Leftover:
    return Leftover(path.relative_to(workspace.root).as_posix(), reason, _bytes(path), artifact)


def _bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; of a link its own."""
    with suppress(FileNotFoundError):  # gone meanwhile
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(_bytes(child) for child in path.iterdir())
    return 0


def _remove(workspace: Workspace, item: Leftover) -> bool:
    """Remove it; False when it is used by now."""
    if item.artifact:
        return _remove_in_artifact(workspace, item)
    # Who writes a run, or which one is current, holds the runs' lock; deleting trash may take long, and needs none.
    with nullcontext() if item.reason == TRASH else workspace.runs.locked():
        _delete(workspace.root / item.path)
    return True


def _remove_in_artifact(workspace: Workspace, item: Leftover) -> bool:
    artifact, path = workspace.artifact(item.artifact), workspace.root / item.path
    lock = Lock(artifact.path, ["clean"])
    try:
        lock.acquire(wait=False)
    except BusyError:
        return False
    try:
        if item.reason == UNREACHED:
            return _remove_artifact(workspace, item.artifact)
        if item.reason == CRASHED and artifact.record() is None:
            return False
        _delete(path)
        return True
    finally:
        lock.release()


def _remove_artifact(workspace: Workspace, path: str) -> bool:
    """Remove the artifact, whose lock we hold, unless it is reached by now."""
    folder = workspace.artifact(path).path
    # The ending keeps the name from being taken for an artifact's: see ARTIFACT and Workspace.artifact_path.
    trash = folder.with_name(f".trash-{folder.name}.{token_hex(4)}")
    with workspace.runs.locked():  # so that no pointer moves to it between looking and renaming
        if path in _reached(workspace, ours=path):
            return False
        os.rename(folder, trash)
    fsync_path(folder.parent)  # a power cut must not undo the renaming and keep the deletions
    _delete(trash)
    return True


def _delete(path: Path) -> None:
    """The file, the link itself, or the folder with all below; what is gone already is passed over."""
    with suppress(FileNotFoundError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return
        for child in path.iterdir():
            _delete(child)
        path.rmdir()
