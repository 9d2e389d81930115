"""Which files make up the run's twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twinctl.errors import UpstreamError
from twinctl.phases.prepare import TEMPLATE_FILE, base_of
from twinctl.phases.upstream import need
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


def twin_files(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Where the twin's parts are, as engine.generation's `LocalModel.load` takes them.

    Raises UpstreamError when nothing is trained or the adapter belongs to another base than the run's.
    """
    trained = run.slots.get("train")
    record = workspace.artifact(trained).record() if trained else None
    kind = record.produces if record else "adapter"
    _, artifact, record = need(workspace, run, kind)
    base = base_of(run)
    if record.inputs["base"] != base.digest:
        raise UpstreamError(
            f"the adapter of run “{run.name}” was trained on another base model than the run now has",
            f"train again: twinctl train --run {run.name}",
        )
    base.check(workspace.memo, run.name)
    return {
        "adapter": artifact.out if kind == "adapter" else None,
        "model": artifact.out if kind == "model" else None,
        "base": base.folder(weights=True),
        **_shared(workspace, run),
    }


def base_files(workspace: Workspace, run: Run) -> dict[str, Any]:
    """The same for the base alone, which needs no training."""
    return {"adapter": None, "model": None, "base": base_of(run).folder(weights=True), **_shared(workspace, run)}


def _shared(workspace: Workspace, run: Run) -> dict[str, Any]:
    _, tokens, record = need(workspace, run, "tokens")
    template = (tokens.out / TEMPLATE_FILE).read_text(encoding="utf-8")
    return {
        "template": template,
        "max_length": record.recipe["max_length"],
        "log": Path(workspace.root, "chat.log").resolve(),
    }
