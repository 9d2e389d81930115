"""`twinctl status`."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from twinctl.cli.command import command
from twinctl.cli.output import age, size
from twinctl.cli.session import Session
from twinctl.errors import CheckFailed, HubError, UpstreamError
from twinctl.phases.status import run_status
from twinctl.pipeline.run_view import RunView

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
    documents: list[dict[str, Any]] = [
        {"run": name, "current": name == runs.current(), "phases": [status.document() for status in each]}
        for name, each in statuses.items()
    ]
    differing = _ask_the_hub(session, documents) if remote else None
    if session.output.json:
        session.output.document({"command": "status", "workspace": str(workspace.root), "runs": documents})
    else:
        _show(session, documents)
    damaged = [line for item in documents for line in item["phases"] if line["state"] == "damaged"]
    if verify and damaged:
        raise typer.Exit(UpstreamError.exit_code)
    if differing:
        raise typer.Exit(differing)


def _ask_the_hub(session: Session, documents: list[dict[str, Any]]) -> int | None:
    """Add to every push what the Hub says of it; gives the exit code where that is not as it should be."""
    from twinctl.phases.push import RemoteState, remote_state

    code, asked = None, dict[str, RemoteState]()
    for line in (line for item in documents for line in item["phases"]):
        record = session.workspace.artifact(line["artifact"]).record() if line["slot"].startswith("push-") else None
        if record is None:
            continue
        try:
            remote = asked.get(line["artifact"]) or remote_state(record)
        except HubError as error:
            remote = RemoteState("not asked", [error.message])
            code = code or error.exit_code
        asked[line["artifact"]] = remote
        line |= {"remote": remote.state, "remote_notes": remote.notes}
        if remote.state in ("differs", "gone"):
            code = CheckFailed.exit_code
    if not asked:
        session.output.say("nothing was pushed from here")
    return code


def _show(session: Session, documents: list[dict[str, Any]]) -> None:
    output = session.output
    if not documents:
        output.line(f"nothing is prepared in {session.workspace.root}")
        output.say("start with: twinctl prepare   (or look around first: twinctl demo)")
    for item in documents:
        total = sum({line["artifact"]: line["bytes"] for line in item["phases"]}.values())
        output.line(f"run {item['run']}{' (current)' if item['current'] else ''}  {size(total)}")
        output.table([_row(line) for line in item["phases"]] or [["", "nothing started"]])
        for line in item["phases"]:
            for note in _notes(line):
                output.line(f"    {line['slot']}: {note}")


def _row(line: dict[str, Any]) -> list[str]:
    when = f"{age(time.time() - line['created'])} ago" if line["created"] else ""
    return ["  " + line["slot"], line["state"], when, size(line["bytes"]), line["artifact"].split("/")[1]]


def _notes(line: dict[str, Any]) -> list[str]:
    """Why it is stale, how it failed, where it would resume, and what to type."""
    notes = [*line["reasons"], *([line["failure"]] if line["failure"] else [])]
    if line.get("unproven"):
        notes.append("not proven: made with --no-verify")
    if line["step"] and line["state"] in ("partial", "failed"):
        notes.append(f"resumes from step {line['step']}")
    if "remote" in line:
        notes.append(f"on the Hub: {'; '.join([line['remote'], *line['remote_notes']])}")
    return [*(["; ".join(notes)] if notes else []), *([f"→ {line['type']}"] if line.get("type") else [])]
