"""`twinctl status`."""

from __future__ import annotations

import time
from typing import Any

import typer

from twinctl.cli.output import age, size
from twinctl.cli.session import DebugOption, JsonOption, QuietOption, RunOption, Session, WorkspaceOption
from twinctl.errors import UpstreamError
from twinctl.phases.stale import stale_reasons
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def status(
    run: RunOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """What is there, in which state, since when, how large, and why stale. Reads the disk only.

    \b
      twinctl status
      twinctl status --json
    """
    session = Session.open(workspace, run, json=json, quiet=quiet)
    place, runs = session.workspace, session.workspace.runs
    names = [session.run_name] if session.run_name else runs.names()
    found: list[dict[str, Any]] = [
        {"run": name, "current": name == runs.current(), "phases": phases_of(place, runs.get(name))} for name in names
    ]
    if json:
        session.output.document({"command": "status", "workspace": str(place.root), "runs": found})
        return
    if not found:
        session.output.line(f"nothing is prepared in {place.root}")
        session.output.say("start with: twinctl prepare   (or look around first: twinctl demo)")
    for item in found:
        session.output.line(f"run {item['run']}{' (current)' if item['current'] else ''}")
        session.output.table([_row(line) for line in item["phases"]] or [["", "nothing begun"]])
        for line in item["phases"]:
            if note := _note(line):
                session.output.line(f"    {line['slot']}: {note}")


def phases_of(workspace: Workspace, run: Run) -> list[dict[str, Any]]:
    """One line a slot: the finished artifact, and one begun later if there is one."""
    lines = []
    for slot, path in run.started.items():
        for each in dict.fromkeys([run.slots.get(slot), path]):
            if each is not None:
                lines.append({"slot": slot, "artifact": each, **_facts(workspace, run, workspace.artifact(each))})
    return lines


def _facts(workspace: Workspace, run: Run, artifact: Artifact) -> dict[str, Any]:
    facts: dict[str, Any] = {"state": artifact.state(), "reasons": [], "step": None, "failure": None, "created": None}
    try:
        facts |= _finished(workspace, run, artifact) if facts["state"] == "complete" else _unfinished(artifact)
    except UpstreamError as error:
        facts |= {"state": "damaged", "failure": f"{error.message} → {error.hint}"}
    return {**facts, "bytes": artifact.size()}


def _finished(workspace: Workspace, run: Run, artifact: Artifact) -> dict[str, Any]:
    record = artifact.record()
    assert record is not None
    artifact.check(workspace.memo)
    reasons = stale_reasons(workspace, run, record)
    return {"state": "stale" if reasons else "complete", "reasons": reasons, "created": record.created}


def _unfinished(artifact: Artifact) -> dict[str, Any]:
    steps = [event["step"] for event in artifact.events() if event["event"] == "checkpoint"]
    failure = artifact.failure()
    return {"step": steps[-1] if steps else None, "failure": failure["message"] if failure else None}


def _row(line: dict[str, Any]) -> list[str]:
    when = f"{age(time.time() - line['created'])} ago" if line["created"] else ""
    return ["  " + line["slot"], line["state"], when, size(line["bytes"]), line["artifact"].split("/")[1]]


def _note(line: dict[str, Any]) -> str:
    """Why stale, how it failed, and where it would go on."""
    notes = [*line["reasons"], *([line["failure"]] if line["failure"] else [])]
    if line["step"] and line["state"] in ("partial", "failed", "running"):
        notes.append(f"goes on from step {line['step']}")
    return "; ".join(notes)
