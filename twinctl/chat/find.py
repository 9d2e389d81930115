"""Which files make up the run's twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twinctl.errors import UpstreamError
from twinctl.phases.base_model import base_of
from twinctl.phases.prepare import TEMPLATE_FILE
from twinctl.phases.upstream import need, trained
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


def twin_files(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Where the twin's parts are, as engine.generation's `LocalModel.load` takes them.

    Template and length are those of the tokens it was trained on, which the run may have replaced since. Raises
    UpstreamError when nothing is trained or the adapter belongs to another base than the run's.
    """
    _, artifact, record = trained(workspace, run)
    base = base_of(run)
    base.check(workspace.memo, run.name)
    return {
        "adapter": artifact.out if record.produces == "adapter" else None,
        "model": artifact.out if record.produces == "model" else None,
        "base": base.folder(weights=True),
        **_shared(workspace, workspace.artifact(record.parents["tokens"])),
    }


def base_files(workspace: Workspace, run: Run) -> dict[str, Any]:
    """The same for the base alone, which needs no training."""
    _, tokens, _ = need(workspace, run, "tokens")
    return {"adapter": None, "model": None, "base": base_of(run).folder(weights=True), **_shared(workspace, tokens)}


def _shared(workspace: Workspace, tokens: Artifact) -> dict[str, Any]:
    record = tokens.record()
    if record is None:
        raise UpstreamError(f"{tokens.path} is not there any more", "prepare and train again: twinctl prepare")
    return {
        "template": (tokens.out / TEMPLATE_FILE).read_text(encoding="utf-8"),
        "max_length": record.recipe["max_length"],
        "log": Path(workspace.root, "chat.log").resolve(),
    }
