"""`twinctl diff`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from twinctl.cli.command import command
from twinctl.cli.output import text_of
from twinctl.cli.session import Session
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app, run=False)
def diff(
    session: Session,
    one: Annotated[str, typer.Argument(metavar="RUN", help="A run.")],
    other: Annotated[str, typer.Argument(metavar="RUN", help="The run to compare it with.")],
) -> None:
    """Two runs side by side: every recipe field and input that differs, and every metric that does.

    \b
      twinctl diff rank-16 rank-64
      twinctl diff rank-16 rank-64 --json
    """
    runs = [session.workspace.runs.get(name) for name in (one, other)]
    sides = [_facts(session.workspace, run) for run in runs]
    names = dict.fromkeys([*sides[0], *sides[1]])
    both = {name: [facts.get(name) for facts in sides] for name in names}
    differing = {name: values for name, values in both.items() if values[0] != values[1]}
    if session.output.json:
        lines = [{"name": name, "values": values} for name, values in differing.items()]
        session.output.document({"command": "diff", "runs": [one, other], "differences": lines})
    elif not differing:
        session.output.line(f"{one} and {other} are the same")
    else:
        rows = [[name, *map(_shown, values)] for name, values in differing.items()]
        session.output.table(rows, header=["", one, other])


def _facts(workspace: Workspace, run: Run) -> dict[str, Any]:
    """What the run pins and what its finished phases were asked for and came to, flat: "train.recipe.rank" → 64."""
    pins = {name: value for name, value in run.pins.items() if name not in ("model", "sources")}
    facts: dict[str, Any] = {"pins": {**pins, "model": run.pins.get("model", {}).get("locator")}}
    for slot, path in run.slots.items():
        if record := workspace.artifact(path).record():
            parts = {"recipe": record.recipe, "inputs": record.inputs, "metrics": record.metrics}
            facts[slot] = {**parts, "seconds": record.seconds}
    return _flat(facts)


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flat(item, f"{before}{name}.") if isinstance(item, Mapping) else {before + name: item}
    return flat


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value[:12] if isinstance(value, str) and len(value) == 64 else text_of(value)
