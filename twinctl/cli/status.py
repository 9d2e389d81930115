"""`twinctl status`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from twinctl.cli.command import command
from twinctl.cli.output import age, size
from twinctl.cli.session import Session
from twinctl.errors import CheckFailed, HubError, UpstreamError
from twinctl.phases.status import SlotStatus, run_status
from twinctl.pipeline.run_view import RunView

if TYPE_CHECKING:
    from twinctl.phases.push import RemoteState

Statuses: TypeAlias = Mapping[str, list[SlotStatus]]  # by run
Remotes: TypeAlias = "Mapping[str, RemoteState]"  # by artifact

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app)
def status(
    session: Session,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte of every result, and compare.")] = False,
    remote: Annotated[bool, typer.Option("--remote", help="Ask the Hub whether it still has what was pushed.")] = False,
) -> None:
    """List the results: state, age, size, why one is stale, and what to type. Only --remote asks a network.

    \b
      twinctl status
      twinctl status --verify    after a move, a copy, a crash of the disk
      twinctl status --remote    is what was pushed still what the Hub has?
      twinctl status --json
    """
    workspace, runs = session.workspace, session.workspace.runs
    names = [session.run_name] if session.run_name else runs.names()
    statuses = {name: run_status(RunView(workspace, runs.get(name)), verify=verify) for name in names}
    remotes, code = _ask_the_hub(session, statuses) if remote else ({}, None)
    if session.output.json:
        documents = [
            {"run": name, "current": name == runs.current(), "phases": [_document(row, remotes) for row in rows]}
            for name, rows in statuses.items()
        ]
        session.output.document({"command": "status", "workspace": str(workspace.root), "runs": documents})
    else:
        _show(session, statuses, remotes)
    if verify and any(row.state == "damaged" for rows in statuses.values() for row in rows):
        raise typer.Exit(UpstreamError.exit_code)
    if code:
        raise typer.Exit(code)


def _ask_the_hub(session: Session, statuses: Statuses) -> tuple[Remotes, int | None]:
    """What the Hub says of every push, by artifact; and the exit code where that is not as it should be."""
    from twinctl.phases.push import RemoteState, remote_state

    code: int | None = None
    remotes: dict[str, RemoteState] = {}
    pushes = [row for rows in statuses.values() for row in rows if row.slot.startswith("push-")]
    for path in dict.fromkeys(row.artifact for row in pushes):
        if (record := session.workspace.artifact(path).record()) is None:
            continue
        try:
            remotes[path] = remote_state(record)
        except HubError as error:
            remotes[path] = RemoteState("not asked", [error.message])
            code = code or error.exit_code
        if remotes[path].state in ("differs", "gone"):
            code = CheckFailed.exit_code
    if not remotes:
        session.output.say("nothing was pushed from here")
    return remotes, code


def _document(row: SlotStatus, remotes: Remotes) -> dict[str, Any]:
    remote = remotes.get(row.artifact)
    return row.document() | ({"remote": remote.state, "remote_notes": remote.notes} if remote else {})


def _show(session: Session, statuses: Statuses, remotes: Remotes) -> None:
    output, current = session.output, session.workspace.runs.current()
    if not statuses:
        output.line(f"nothing is prepared in {session.workspace.root}")
        output.say("start with: twinctl prepare   (or look around first: twinctl demo)")
    for name, rows in statuses.items():
        total = sum({row.artifact: row.bytes for row in rows}.values())
        output.line(f"run {name}{' (current)' if name == current else ''}  {size(total)}")
        table = []
        for row in rows:
            when = f"{age(time.time() - row.created)} ago" if row.created else ""
            table.append(["  " + row.slot, row.state, when, size(row.bytes), row.artifact.split("/")[1]])
        output.table(table or [["", "nothing started"]])
        for row in rows:
            for note in _notes(row, remotes.get(row.artifact)):
                output.line(f"    {row.slot}: {note}")


def _notes(row: SlotStatus, remote: RemoteState | None) -> list[str]:
    """Why it is stale, how it failed, where it would resume, and what to type."""
    notes = [*row.reasons, *([row.failure] if row.failure else [])]
    if row.unproven:
        notes.append("not proven: made with --no-verify")
    if row.step and row.state in ("partial", "failed"):
        notes.append(f"resumes from step {row.step}")
    if remote:
        notes.append(f"on the Hub: {'; '.join([remote.state, *remote.notes])}")
    return [*(["; ".join(notes)] if notes else []), *([f"→ {row.type}"] if row.type else [])]
