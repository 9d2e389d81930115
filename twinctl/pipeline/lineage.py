"""What a phase builds on, found by its kind (tokens, adapter, model, gguf), whichever phase made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from twinctl.data.tokens import TokensInfo
from twinctl.errors import UpstreamError
from twinctl.pipeline.base_checkpoint import base_of
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.staleness import changed_parents
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

Found = tuple[str, Artifact, Record]


def find(workspace: Workspace, run: Run, kind: str, *, before: str | None = None) -> Found | None:
    """The run's finished result of that kind: (path relative to artifacts/, artifact, record). See `_choose`.

    `before`: the slot of a phase that makes the kind that it builds on; its own results do not count, nor what was
    made from them.
    """
    return _choose(workspace, run, lambda record: record.produces == kind and not _is_from(workspace, record, before))


def trained(workspace: Workspace, run: Run) -> Found:
    """What the run's training made: an adapter, or a whole model by method full.

    Raises UpstreamError when nothing is trained, or it was trained on another base model than the run now has: an
    adapter fits no other.
    """
    found = _choose(workspace, run, _is_trained)
    if found is None:
        return need(workspace, run, "adapter")
    path, artifact, record = found
    if base_digest(workspace, record) != base_of(run).digest:
        raise UpstreamError(
            f"the training of run “{run.name}” was on another base model than the run now has",
            f"train again: twinctl train --run {run.name}",
        )
    artifact.check(workspace.memo.sha256, run.name)
    return path, artifact, record


def need(workspace: Workspace, run: Run, kind: str, *, before: str | None = None) -> Found:
    """The same as `find`, its files checked, or UpstreamError with the command that makes it."""
    found = find(workspace, run, kind, before=before)
    if found is None:
        raise UpstreamError(
            f"run “{run.name}” has no {kind} yet{_under_way(workspace, run)}",
            f"make it: twinctl {Kind(kind).command} --run {run.name}",
        )
    found[1].check(workspace.memo.sha256, run.name)
    return found


def made_from(workspace: Workspace, record: Record, kind: str) -> Found:
    """The nearest result of that kind among all that this one was made from. Raises UpstreamError when it is gone."""
    for found in ancestors(workspace, record):
        if found[2].produces == kind:
            return found
    raise UpstreamError(
        f"the {kind} that the {record.slot} was made from are not there any more",
        f"make them again: twinctl {Kind(kind).command}",
    )


def ancestors(workspace: Workspace, record: Record) -> Iterator[Found]:
    """Everything that a result was made from, its parents first."""
    for path in record.parents.values():
        artifact = workspace.artifact(path)
        if (parent := artifact.record()) is not None:
            yield path, artifact, parent
            yield from ancestors(workspace, parent)


def base_digest(workspace: Workspace, record: Record) -> str | None:
    """The identity of the base model that a training began from."""
    line = [record, *(parent for _, _, parent in ancestors(workspace, record))]
    return next((each.inputs["base"] for each in line if "base" in each.inputs), None)


def tokens_info(workspace: Workspace, tokens: Artifact, record: Record) -> dict[str, Any]:
    """Template, longest sample and stop token of tokens. The first prepare wrote the longest into its recipe alone."""
    line = (record, *(parent for _, _, parent in ancestors(workspace, record)))
    longest = next((each.recipe["max_length"] for each in line if "max_length" in each.recipe), 0)
    return asdict(TokensInfo.read(tokens.out, longest))


def _is_from(workspace: Workspace, record: Record, slot: str | None) -> bool:
    line = [record, *(parent for _, _, parent in ancestors(workspace, record))] if slot else []
    return any(each.slot == slot for each in line)


def _is_trained(record: Record) -> bool:
    return record.produces == "adapter" or (record.produces == "model" and "adapter" not in record.parents)


def _choose(workspace: Workspace, run: Run, wanted: Callable[[Record], bool]) -> Found | None:
    """Of several such results: one made from what the run now has, before one of which another was made, else the
    one that was made or asked for last.
    """
    found: list[Found] = []
    for path in run.slots.values():
        artifact = workspace.artifact(path)
        if (record := artifact.record()) is not None and wanted(record):
            found.append((path, artifact, record))
    current = [each for each in found if not changed_parents(workspace, run, each[2])]
    passed = {(parent.slot, parent.digest) for each in current for _, _, parent in ancestors(workspace, each[2])}
    ahead = [each for each in current if (each[2].slot, each[2].digest) not in passed]
    best = ahead or found
    return best[-1] if best else None


def _under_way(workspace: Workspace, run: Run) -> str:
    states = {slot: workspace.artifact(path).state() for slot, path in run.started.items() if slot not in run.slots}
    return f" ({', '.join(f'{slot} is {state}' for slot, state in states.items())})" if states else ""
