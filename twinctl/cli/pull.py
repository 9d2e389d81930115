"""`twinctl pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from twinctl.cli.output import size
from twinctl.cli.session import (
    DebugOption,
    JsonOption,
    QuietOption,
    RestartOption,
    Session,
    WaitOption,
    WorkspaceOption,
)
from twinctl.config.secrets import refuse_secret
from twinctl.errors import UsageError
from twinctl.phases.pull import open_repo, pins, plan, plan_tokens
from twinctl.pipeline.execute import Outcome
from twinctl.publishing.hub_manifest import Travelling

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def pull(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME, as it was pushed.")],
    run_name: Annotated[
        str | None, typer.Option("--run", help="The run to make of it (default: the name it had).", show_default=False)
    ] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit.")] = None,
    workspace: WorkspaceOption = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Bring a pushed twin back: to talk to it, export it, or train on from it.

    Every file is compared with its sha256. The rows it was trained on were never pushed.

    \b
      twinctl pull me/my-twin-LoRA              then: twinctl chat
      twinctl pull me/my-twin-LoRA --run old    and then, on new writing:
      twinctl prepare --run new --model BASE -d FILE
      twinctl train --run new --from old
    """
    session = Session.open(workspace, None, json=json, quiet=quiet)
    refuse_secret("the run's name", run_name)
    session.output.say(f"pull: looking at {repo}")
    found, sha = open_repo(repo, revision)
    name = run_name or found.run
    _refuse_other(session, name, found)
    tokens = plan_tokens(found)
    session.execute(name, tokens, wait=wait, restart=restart)
    with session.workspace.runs.change(name) as run:
        run.pins = {**pins(found), **run.pins}
    outcomes = [
        session.execute(name, plan(session.workspace, found, made, repo, sha), wait=wait, restart=restart)
        for made in found.results
    ]
    session.workspace.runs.use(name)
    _show(session, name, found, outcomes)


def _refuse_other(session: Session, name: str, found: Travelling) -> None:
    """A run that is something else already is left as it is."""
    runs = session.workspace.runs
    if not runs.exists(name):
        return
    there = runs.get(name)
    pulled = all(path.startswith("pull/") for slot, path in there.slots.items() if not slot.startswith("push-"))
    if there.pins and not (pulled and there.pins["model"]["files"] == found.pins.model.files):
        raise UsageError(f"there is a run “{name}” already, which is another", "give it a name: --run NAME")


def _show(session: Session, name: str, found: Travelling, outcomes: list[Outcome]) -> None:
    if session.output.json:
        last = session.document("pull", outcomes[-1])
        cached = all(outcome.cached for outcome in outcomes)
        session.output.document({**last, "cached": cached, "run": name, "kind": found.kind})
        return
    for outcome in outcomes:
        how = "already here" if outcome.cached else "fetched, and compared"
        session.output.line(f"pull: {how}  {outcome.artifact.out}")
    rows = [[file["name"], size(file["bytes"]), file["sha256"][:12]] for each in outcomes for file in each.record.files]
    session.output.table(rows)
    following = "twinctl path gguf" if found.kind == "gguf" else "twinctl chat"
    session.output.say(f"run {name} is the current one; next: {following}")
