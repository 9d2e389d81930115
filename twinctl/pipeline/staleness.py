"""How the settings of a finished result differ from what the same command would use now. Never touches the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinctl.config.resolve import Values, values_of
from twinctl.pipeline.phase import AnyPhase
from twinctl.workspace.artifact import Record
from twinctl.workspace.fingerprint import differences
from twinctl.workspace.run import Run


def settings_now(declared: AnyPhase, run: Run) -> Values:
    """What twinctl.toml, the environment and the run's preset say now."""
    return values_of(declared.section or "", (declared.recipe, declared.options), run.pins["preset"], {})


def changed_values(record: Record, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The differences of settings, but for those that were given as flags: they stand."""
    unflagged = [name for name in now if record.origins.get(name) != "flag"]
    return differences(
        {name: before.get(name) for name in unflagged}, {name: now[name] for name in unflagged}, record.phase
    )


def changed_settings(declared: AnyPhase, run: Run, record: Record) -> list[str]:
    """What the settings say now of the fields that both versions know; a phase whose work has changed since says so by
    its version.
    """
    version = differences(record.version, declared.version, f"twinctl's {record.phase}")
    if not declared.section:
        return version
    now = settings_now(declared, run).build(declared.recipe).model_dump(mode="json")
    known = {name: value for name, value in now.items() if name in record.recipe}
    return [*version, *changed_values(record, record.recipe, known)]
