"""Which files make up the run's twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twinctl.phases.base_model import base_of
from twinctl.phases.upstream import made_from, need, tokens_info, trained
from twinctl.workspace.artifact import Artifact, Record
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
        # A whole model needs no base, which may not be on this machine.
        "base": base.folder(weights=True) if record.produces == "adapter" else artifact.out,
        **_shared(workspace, *made_from(workspace, record, "tokens")[1:]),
    }


def base_files(workspace: Workspace, run: Run) -> dict[str, Any]:
    """The same for the base alone, which needs no training."""
    _, tokens, record = need(workspace, run, "tokens")
    shared = _shared(workspace, tokens, record)
    return {"adapter": None, "model": None, "base": base_of(run).folder(weights=True), **shared}


def _shared(workspace: Workspace, tokens: Artifact, record: Record) -> dict[str, Any]:
    return {
        **tokens_info(workspace, tokens, record),
        "log": Path(workspace.root, "chat.log").resolve(),
    }
