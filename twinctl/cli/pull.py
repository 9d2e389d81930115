"""`twinctl pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from twinctl.cli.command import (
    RestartOption,
    WaitOption,
    command,
)
from twinctl.cli.output import size
from twinctl.cli.session import Session
from twinctl.phases.pull import Pulled
from twinctl.phases.pull import pull as pull_twin

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app, run=False)
def pull(
    session: Session,
    repo: Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME, as it was pushed.")],
    run_name: Annotated[
        str | None, typer.Option("--run", help="The run to make of it (default: the name it had).", show_default=False)
    ] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit.")] = None,
    wait: WaitOption = False,
    restart: RestartOption = False,
) -> None:
    """Download a pushed twin: to chat with it, export it, or train on from it.

    Every file is compared with its sha256. The rows it was trained on were never pushed.

    \b
      twinctl pull me/my-twin-LoRA              then: twinctl chat
      twinctl pull me/my-twin-LoRA --run old    and then, on new writing:
      twinctl prepare --run new --model BASE -d FILE
      twinctl train --run new --from old
    """
    pulled = pull_twin(session.workspace, repo, session, run=run_name, revision=revision, wait=wait, restart=restart)
    _show(session, pulled)


def _show(session: Session, pulled: Pulled) -> None:
    name, kind, outcomes = pulled.run, pulled.kind, pulled.outcomes
    if session.output.json:
        last = session.document("pull", outcomes[-1])
        cached = all(outcome.cached for outcome in outcomes)
        session.output.document({**last, "cached": cached, "run": name, "kind": kind})
        return
    for outcome in outcomes:
        how = "already here" if outcome.cached else "fetched, and compared"
        session.output.line(f"pull: {how}  {outcome.artifact.out}")
    rows = [[file.name, size(file.bytes), file.sha256[:12]] for each in outcomes for file in each.record.files]
    session.output.table(rows)
    following = "twinctl path gguf" if kind == "gguf" else "twinctl chat"
    session.output.say(f"run {name} is the current one; next: {following}")
