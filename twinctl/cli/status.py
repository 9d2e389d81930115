"""`twinctl status`."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from twinctl.cli.output import age, size
from twinctl.cli.phase_args import to_go_on
from twinctl.cli.session import DebugOption, JsonOption, QuietOption, RunOption, Session, WorkspaceOption
from twinctl.errors import CheckFailed, HubError, UpstreamError
from twinctl.phases import declared
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.run_view import RunView
from twinctl.pipeline.watch import kept_step
from twinctl.verification.verify_artifact import is_proven, to_prove
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.memo import file_sha256
from twinctl.workspace.run import Run
from twinctl.workspace.workspace import Workspace

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def status(
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte of every result, and compare.")] = False,
    remote: Annotated[bool, typer.Option("--remote", help="Ask the Hub whether it still has what was pushed.")] = False,
    run_name: RunOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """What is there, in which state, since when, how large, why stale, and what to type. Only --remote asks a network.

    \b
      twinctl status
      twinctl status --verify    after a move, a copy, a crash of the disk
      twinctl status --remote    is what was pushed still what the Hub has?
      twinctl status --json
    """
    session = Session.open(workspace, run_name, json=json, quiet=quiet)
    place, runs = session.workspace, session.workspace.runs
    names = [session.run_name] if session.run_name else runs.names()
    found: list[dict[str, Any]] = [
        {"run": name, "current": name == runs.current(), "phases": phases_of(place, runs.get(name), verify=verify)}
        for name in names
    ]
    differing = _ask_the_hub(session, found) if remote else None
    if json:
        session.output.document({"command": "status", "workspace": str(place.root), "runs": found})
    else:
        _show(session, found)
    damaged = [line for item in found for line in item["phases"] if line["state"] == "damaged"]
    if verify and damaged:
        raise typer.Exit(UpstreamError.exit_code)
    if differing:
        raise typer.Exit(differing)


def _ask_the_hub(session: Session, found: list[dict[str, Any]]) -> int | None:
    """Add to every push what the Hub says of it; gives the exit code where that is not as it should be."""
    from twinctl.phases.push import on_the_hub

    code, asked = None, dict[str, dict[str, Any]]()
    for line in (line for item in found for line in item["phases"]):
        record = session.workspace.artifact(line["artifact"]).record() if line["slot"].startswith("push-") else None
        if record is None:
            continue
        try:
            asked[line["artifact"]] = asked.get(line["artifact"]) or on_the_hub(record)
        except HubError as error:
            asked[line["artifact"]] = {"remote": "not asked", "remote_notes": [error.message]}
            code = code or error.exit_code
        line |= asked[line["artifact"]]
        if line["remote"] in ("differs", "gone"):
            code = CheckFailed.exit_code
    if not asked:
        session.output.say("nothing was pushed from here")
    return code


def _show(session: Session, found: list[dict[str, Any]]) -> None:
    output = session.output
    if not found:
        output.line(f"nothing is prepared in {session.workspace.root}")
        output.say("start with: twinctl prepare   (or look around first: twinctl demo)")
    for item in found:
        total = sum({line["artifact"]: line["bytes"] for line in item["phases"]}.values())
        output.line(f"run {item['run']}{' (current)' if item['current'] else ''}  {size(total)}")
        output.table([_row(line) for line in item["phases"]] or [["", "nothing begun"]])
        for line in item["phases"]:
            for note in _notes(line):
                output.line(f"    {line['slot']}: {note}")


def phases_of(workspace: Workspace, run: Run, *, verify: bool = False) -> list[dict[str, Any]]:
    """One line a slot: the finished artifact, and one begun later if there is one."""
    lines = []
    for slot, path in run.started.items():
        for each in dict.fromkeys([run.slots.get(slot), path]):
            if each is not None:
                facts = _facts(workspace, run, slot, each, verify=verify)
                lines.append({"slot": slot, "artifact": each, **facts})
    return lines


def _facts(workspace: Workspace, run: Run, slot: str, path: str, *, verify: bool) -> dict[str, Any]:
    artifact = workspace.artifact(path)
    facts: dict[str, Any] = {"state": artifact.state(), "reasons": [], "step": None, "failure": None, "created": None}
    if facts["state"] == "complete" and run.slots.get(slot) != path:
        facts["state"] = "partial"  # done, but the run was not told before the end: the same command tells it
    try:
        if facts["state"] == "complete":
            facts |= _finished(workspace, run, artifact, verify=verify)
        else:
            facts |= _unfinished(run, artifact, facts["state"])
    except UpstreamError as error:
        facts |= {"state": "damaged", "failure": error.message, "type": error.hint.split(": ", 1)[-1]}
    return {**facts, "bytes": artifact.size()}


def _finished(workspace: Workspace, run: Run, artifact: Artifact, *, verify: bool) -> dict[str, Any]:
    result = Result.of(artifact)
    assert result is not None
    record = result.record
    artifact.check(file_sha256 if verify else None, run.name)
    reasons = RunView(workspace, run).stale_reasons(record, declared(record.phase))
    unproven = not is_proven(_original_record(result))
    wanted = f"twinctl {record.command_in(run.name)}" if reasons else to_prove(record, run.name) if unproven else None
    return {
        "state": "stale" if reasons else "complete",
        "reasons": reasons,
        "created": record.created,
        "verified": verify or None,
        "unproven": unproven or None,
        "type": wanted,
    }


def _original_record(result: Result) -> Record:
    """The record of what was pulled, as it was where it was made; what tells that takes longer to load than all else
    here.
    """
    if result.record.phase != "pull":
        return result.record
    from twinctl.publishing.provenance import original_record

    return original_record(result)


def _unfinished(run: Run, artifact: Artifact, state: str) -> dict[str, Any]:
    follow = f"twinctl logs {artifact.path.parent.name} --follow --run {run.name}"
    return {
        "step": kept_step(artifact),
        "failure": (artifact.failure() or {}).get("message"),
        "type": follow if state == "running" else to_go_on(run, artifact),
    }


def _row(line: dict[str, Any]) -> list[str]:
    when = f"{age(time.time() - line['created'])} ago" if line["created"] else ""
    return ["  " + line["slot"], line["state"], when, size(line["bytes"]), line["artifact"].split("/")[1]]


def _notes(line: dict[str, Any]) -> list[str]:
    """Why stale, how it failed, where it would go on, and what to type."""
    notes = [*line["reasons"], *([line["failure"]] if line["failure"] else [])]
    if line.get("unproven"):
        notes.append("not proven: made with --no-verify")
    if line["step"] and line["state"] in ("partial", "failed"):
        notes.append(f"goes on from step {line['step']}")
    if "remote" in line:
        notes.append(f"on the Hub: {'; '.join([line['remote'], *line['remote_notes']])}")
    return [*(["; ".join(notes)] if notes else []), *([f"→ {line['type']}"] if line.get("type") else [])]
