"""What a phase builds on, found by its kind (tokens, adapter, model, gguf), whichever phase made it."""

from __future__ import annotations

from twinctl.errors import UpstreamError
from twinctl.phases.base_model import base_of
from twinctl.phases.stale import changed_parents
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

MADE_BY = {"tokens": "prepare", "adapter": "train", "model": "export --merged", "gguf": "export --gguf"}


def find(workspace: Workspace, run: Run, kind: str) -> tuple[str, Artifact, Record] | None:
    """The run's finished artifact of that kind: (path relative to artifacts/, artifact, record).

    Of several, one that was made from what the run now has; among those the newest.
    """
    found = []
    for path in run.slots.values():
        artifact = workspace.artifact(path)
        record = artifact.record()
        if record is not None and record.produces == kind:
            is_current = not changed_parents(workspace, run, record)
            found.append((is_current, record.created, (path, artifact, record)))
    return max(found, key=lambda item: item[:2])[2] if found else None


def trained(workspace: Workspace, run: Run) -> tuple[str, Artifact, Record]:
    """What the run's last training made: an adapter, or a whole model by method full.

    Raises UpstreamError when nothing is trained, or it was trained on another base model than the run now has: an
    adapter fits no other.
    """
    path = run.slots.get("train")
    record = workspace.artifact(path).record() if path else None
    if path is None or record is None:
        return need(workspace, run, "adapter")
    if record.inputs["base"] != base_of(run).digest:
        raise UpstreamError(
            f"the training of run “{run.name}” was on another base model than the run now has",
            f"train again: twinctl train --run {run.name}",
        )
    workspace.artifact(path).check(workspace.memo)
    return path, workspace.artifact(path), record


def need(workspace: Workspace, run: Run, kind: str) -> tuple[str, Artifact, Record]:
    """The same, or UpstreamError with the command that makes it. Its files are checked by size and time."""
    found = find(workspace, run, kind)
    if found is None:
        raise UpstreamError(
            f"run “{run.name}” has no {kind} yet{_under_way(workspace, run)}",
            f"make it: twinctl {MADE_BY[kind]} --run {run.name}",
        )
    found[1].check(workspace.memo)
    return found


def _under_way(workspace: Workspace, run: Run) -> str:
    states = {slot: workspace.artifact(path).state() for slot, path in run.started.items() if slot not in run.slots}
    return f" ({', '.join(f'{slot} is {state}' for slot, state in states.items())})" if states else ""
