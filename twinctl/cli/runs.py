"""`twinctl runs` and what it does to them: `use`, `rename`, `rm`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from twinctl.cli.command import DebugOption, JsonOption, QuietOption, WorkspaceOption, command
from twinctl.cli.output import age
from twinctl.cli.session import Session
from twinctl.config.secrets import refuse_secret
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False, subcommand_metavar="[COMMAND [ARGS]...]")
NONE_CURRENT = "no run is current; choose one: twinctl runs use NAME"


@app.callback(invoke_without_command=True)
def runs(
    ctx: typer.Context,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """List the runs; the current one is marked.

    \b
      twinctl runs
      twinctl runs use my-posts
    """
    if ctx.invoked_subcommand is not None:
        # What is typed before the subcommand's name counts for it.
        ctx.default_map = {ctx.invoked_subcommand: {"workspace": workspace, "json": json, "quiet": quiet}}
        return
    session = Session.open(workspace, None, json=json, quiet=quiet)
    all_runs = session.workspace.runs
    listed, current = [all_runs.get(name) for name in all_runs.names()], all_runs.current()
    if json:
        rows = [
            {"name": run.name, "current": run.name == current, "pins": run.pins, "slots": run.slots} for run in listed
        ]
        session.output.document({"command": "runs", "runs": rows})
    elif not listed:
        session.output.say(f"no runs in {session.workspace.root}; start one: twinctl prepare")
    else:
        session.output.table([_row(run, current) for run in listed], header=["", "run", "model", "done", "begun"])
        if current is None:
            session.output.say(NONE_CURRENT)


@command(app, run=False)
def use(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run.")],
) -> None:
    """Make a run the current one, which commands work on without --run.

    \b
      twinctl runs use my-posts
    """
    session.workspace.runs.use(name)
    if session.output.json:
        session.output.document({"command": "runs use", "run": name})
    else:
        session.output.line(f"{name} is the current run")


@command(app, run=False)
def rename(
    session: Session,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The run.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A name that no run has.")],
) -> None:
    """Give a run another name.

    \b
      twinctl runs rename tiny my-first
    """
    refuse_secret("the run's name", new)
    session.workspace.runs.rename(old, new)
    if session.output.json:
        session.output.document({"command": "runs rename", "run": new, "was": old})
    else:
        session.output.line(f"{old} is {new} now")


@command(app, run=False)
def rm(
    session: Session,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The runs.")],
) -> None:
    """Remove runs, not their results.

    What no other run points to stays until `twinctl clean`.

    \b
      twinctl runs rm tiny
      twinctl runs rm first second
    """
    all_runs = session.workspace.runs
    all_runs.remove(names)
    if session.output.json:
        session.output.document({"command": "runs rm", "removed": list(dict.fromkeys(names))})
        return
    session.output.line(f"removed: {', '.join(dict.fromkeys(names))}")
    session.output.say("what only they pointed to stays until: twinctl clean")
    if all_runs.current() is None and (left := all_runs.names()):
        session.output.say(f"{NONE_CURRENT} ({', '.join(left)})")


def _row(run: Run, current: str | None) -> list[str]:
    return [
        "*" if run.name == current else "",
        run.name,
        run.pins.get("model", {}).get("locator", ""),
        ", ".join(slot for slot in run.started if slot in run.slots),
        f"{age(time.time() - run.created)} ago",
    ]
