"""Checkpoints that are known to be complete.

The trainer writes its files in place, one after the other, and takes the highest number for a good one; a missing
optimizer state goes unnoticed there. So a manifest of our own, written and flushed last, is what makes a checkpoint
one to resume from.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from twinctl.errors import UpstreamError
from twinctl.workspace.artifact import manifest
from twinctl.workspace.files import fsync_tree, read_json, write_json

MANIFEST = "twinctl-checkpoint.json"


def step_of(checkpoint: Path) -> int:
    """The optimizer step that a folder checkpoint-N was written after."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def write_manifest(checkpoint: Path) -> None:
    """Declare the checkpoint complete: flush its files, then write their list."""
    fsync_tree(checkpoint)
    files = [entry for entry in manifest(checkpoint) if entry.name != MANIFEST]
    write_json(checkpoint / MANIFEST, {"files": [{"name": entry.name, "sha256": entry.sha256} for entry in files]})


def is_complete(checkpoint: Path) -> bool:
    """Whether its manifest was written and every file is as the manifest says."""
    try:
        expected = read_json(checkpoint / MANIFEST)["files"]
    except (FileNotFoundError, UpstreamError, KeyError, TypeError):
        return False
    present = {entry.name: entry.sha256 for entry in manifest(checkpoint)}
    return all(present.get(entry["name"]) == entry["sha256"] for entry in expected)


def last_complete(folder: Path) -> Path | None:
    """The newest complete checkpoint; later ones, torn by a crash, are removed, so that the trainer cannot use them."""
    found = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)
    for checkpoint in found:
        if is_complete(checkpoint):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def drop_after(folder: Path, step: int) -> None:
    """Remove the checkpoints of later steps."""
    for checkpoint in folder.glob("checkpoint-*"):
        if step_of(checkpoint) > step:
            shutil.rmtree(checkpoint)
