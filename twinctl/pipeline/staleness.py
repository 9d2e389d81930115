"""Why a finished result is not what the same command would make now. Never touches the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinctl.config.resolve import Values, values_of
from twinctl.errors import UpstreamError
from twinctl.pipeline.phase import Phase
from twinctl.workspace.artifact import Record
from twinctl.workspace.fingerprint import differences
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace


def stale_reasons(workspace: Workspace, run: Run, record: Record, declared: Phase | None) -> list[str]:
    """Field by field, what has changed since: the settings, the data, or what it was made from; empty when nothing
    has. `declared`: the phase that made it, None for one that this twinctl does not know.
    """
    return [
        *(_changed_settings(declared, run, record) if declared else []),
        *(declared.changed(workspace, run, record) if declared else []),
        *changed_parents(workspace, run, record),
    ]


def settings_now(declared: Phase, run: Run) -> Values:
    """What twinctl.toml, the environment and the run's preset say now."""
    return values_of(declared.section or "", (declared.recipe, declared.options), run.pins["preset"], {})


def changed_values(record: Record, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences of settings, but for those that were given as flags: they stand."""
    kept = [name for name in now if record.origins.get(name) != "flag"]
    return differences({name: before.get(name) for name in kept}, {name: now[name] for name in kept}, record.phase)


def _changed_settings(declared: Phase, run: Run, record: Record) -> list[str]:
    """Only the fields that both versions know; a phase whose work has changed since says so by its version."""
    version = differences(record.version, declared.version, f"twinctl's {record.phase}")
    if not declared.section:
        return version
    now = settings_now(declared, run).build(declared.recipe).model_dump(mode="json")
    known = {name: value for name, value in now.items() if name in record.recipe}
    return [*version, *changed_values(record, record.recipe, known)]


def changed_parents(workspace: Workspace, run: Run, record: Record) -> list[str]:
    """What this was made from and has been made anew since, however many steps back."""
    reasons = []
    for path in record.parents.values():
        parent = workspace.artifact(path).record()
        if parent and parent.slot == record.slot:  # it went on from there, wherever that went since
            continue
        current = workspace.artifact(run.slots.get(parent.slot, path)).record() if parent else None
        if parent is None or current is None:
            continue
        if current.digest != parent.digest:
            details = differences(parent.recipe, current.recipe, parent.phase) or ["its data or model changed"]
            reasons.append(f"{parent.slot} was made anew: {', '.join(details)}")
        else:
            reasons += changed_parents(workspace, run, current)  # which may have come to the same by another way
    return reasons


def require_current(workspace: Workspace, run: Run, record: Record) -> None:
    """Raise UpstreamError when something that the result was made from has been made anew since."""
    if reasons := changed_parents(workspace, run, record):
        raise UpstreamError(
            f"the {record.slot} of run “{run.name}” is stale: {'; '.join(reasons)}",
            f"make it anew: twinctl {record.command_in(run.name)}",
        )
