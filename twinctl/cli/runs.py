"""`twinctl runs`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from twinctl.cli.output import age
from twinctl.cli.session import DebugOption, JsonOption, QuietOption, Session, WorkspaceOption

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def runs(
    use: Annotated[str | None, typer.Option("--use", metavar="NAME", help="Make this run the current one.")] = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """List the runs; the current one is marked.

    \b
      twinctl runs
      twinctl runs --use my-posts
    """
    session = Session.open(workspace, None, json=json, quiet=quiet)
    all_runs = session.workspace.runs
    if use is not None:
        all_runs.use(all_runs.get(use).name)
    current = all_runs.current()
    found = [all_runs.get(name) for name in all_runs.names()]
    if json:
        rows = [
            {"name": run.name, "current": run.name == current, "pins": run.pins, "slots": run.slots} for run in found
        ]
        session.output.document({"command": "runs", "runs": rows})
        return
    if not found:
        session.output.say(f"no runs in {session.workspace.root}; start one: twinctl prepare")
        return
    session.output.table(
        [
            [
                "*" if run.name == current else "",
                run.name,
                run.pins.get("model", {}).get("locator", ""),
                ", ".join(run.slots),
                f"{age(time.time() - run.created)} ago",
            ]
            for run in found
        ],
        header=["", "run", "model", "done", "begun"],
    )
