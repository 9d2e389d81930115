"""Why a finished result is not what the same command would make now. Never touches the network."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from twinctl.data.source import Source
from twinctl.errors import UpstreamError
from twinctl.recipes.prepare import PrepareOptions, PrepareRecipe
from twinctl.recipes.train import TrainOptions, TrainRecipe
from twinctl.settings.resolve import values_of
from twinctl.workspace.artifact import Record
from twinctl.workspace.fingerprint import differences
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

MODELS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "prepare": (PrepareRecipe, PrepareOptions),
    "train": (TrainRecipe, TrainOptions),
}


def stale_reasons(workspace: Workspace, run: Run, record: Record) -> list[str]:
    """Field by field, what has changed since: the settings, the data, or what it was made from; empty when nothing
    has.
    """
    return [
        *_changed_recipe(run, record),
        *(_changed_data(workspace, run) if record.phase == "prepare" else []),
        *changed_parents(workspace, run, record),
    ]


def _changed_recipe(run: Run, record: Record) -> list[str]:
    """Fields that twinctl.toml, the environment or the preset now set otherwise. A value given as a flag stands."""
    if record.phase not in MODELS:
        return []
    recipe, options = MODELS[record.phase]
    values = values_of(record.phase, (recipe, options), run.pins["preset"], {})
    before, now = dict(record.recipe), values.build(recipe).model_dump(mode="json")
    if record.phase == "prepare":
        before |= _located(run)
        now |= values.build(options).model_dump(mode="json", include={"model", "data", "general"})
    kept = [name for name in now if record.origins.get(name) != "flag"]
    return differences({name: before.get(name) for name in kept}, {name: now[name] for name in kept}, record.phase)


def _located(run: Run) -> dict[str, Any]:
    """Where prepare found its model and data, as they were named then."""
    by_role: dict[str, list[str]] = {"author": [], "general": []}
    for source in run.pins["sources"]:
        by_role[source["role"]].append(source["locator"])
    return {"model": run.pins["model"]["locator"], "data": by_role["author"], "general": by_role["general"]}


def _changed_data(workspace: Workspace, run: Run) -> list[str]:
    found = []
    for source in (Source(**stored) for stored in run.pins["sources"]):
        if source.file is not None and not source.file.exists():
            found.append(f"{source.locator} is gone")
        elif source.file is not None and workspace.memo.sha256(source.file) != source.digest:
            found.append(f"{source.locator} changed")
    return found


def changed_parents(workspace: Workspace, run: Run, record: Record) -> list[str]:
    """What this was made from and has been made anew since, however many steps back."""
    reasons = []
    for path in record.parents.values():
        parent = workspace.artifact(path).record()
        current = workspace.artifact(run.slots.get(parent.slot, path)).record() if parent else None
        if parent is None or current is None:
            continue
        if current.digest != parent.digest:
            details = differences(parent.recipe, current.recipe, parent.phase) or ["its data or model changed"]
            reasons.append(f"{parent.slot} was made anew: {', '.join(details)}")
        else:
            reasons += changed_parents(workspace, run, parent)
    return reasons


def require_current(workspace: Workspace, run: Run, record: Record) -> None:
    """Raise UpstreamError when something that the result was made from has been made anew since."""
    if reasons := changed_parents(workspace, run, record):
        command = record.about.get("command", record.phase)
        raise UpstreamError(
            f"the {record.slot} of run “{run.name}” is stale: {'; '.join(reasons)}", f"make it anew: twinctl {command}"
        )
