"""`twinctl inspect`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from twinctl.cli.output import size, text_of
from twinctl.cli.session import DebugOption, JsonOption, QuietOption, RunOption, Session, WorkspaceOption
from twinctl.errors import UpstreamError
from twinctl.workspace.artifact import Artifact, Record

app = typer.Typer(rich_markup_mode=None, add_completion=False)
ALSO = {"export": ("merge", "gguf")}


@app.command()
def inspect(
    phase: Annotated[
        str, typer.Argument(metavar="PHASE", help="prepare, train, export (merge and gguf), or one of those.")
    ],
    run: RunOption = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """One phase in full: its recipe with each value's origin, inputs, attempts, metrics and files.

    \b
      twinctl inspect train
      twinctl inspect prepare --json
    """
    session = Session.open(workspace, run, json=json, quiet=quiet)
    thread = session.workspace.run(session.run_name)
    wanted = ALSO.get(phase, (phase,))
    slots = [slot for slot in thread.started if slot in wanted or slot.split("-")[0] in wanted]
    if not slots:
        raise UpstreamError(f"run “{thread.name}” has no {phase}", f"there: {', '.join(thread.started)}")
    artifacts = {slot: session.workspace.artifact(thread.slots.get(slot, thread.started[slot])) for slot in slots}
    if json:
        found = [{"slot": slot, **_everything(artifact)} for slot, artifact in artifacts.items()]
        session.output.document({"command": "inspect", "run": thread.name, "phases": found})
        return
    for slot, artifact, sections in [(slot, each, _sections(each)) for slot, each in artifacts.items()]:
        session.output.line(f"{slot}: {artifact.state()}  {artifact.path}")
        for title, rows in sections.items():
            session.output.line(f"\n{title}")
            session.output.table(rows or [["  none"]])


def _everything(artifact: Artifact) -> dict[str, Any]:
    record = artifact.record()
    return {
        "state": artifact.state(),
        "path": str(artifact.path),
        "request": artifact.request(),
        "record": asdict(record) if record else None,
        "failure": artifact.failure(),
        "attempts": artifact.attempts(),
    }


def _sections(artifact: Artifact) -> dict[str, list[list[str]]]:
    record, request = artifact.record(), artifact.request() or {}
    found = {
        "recipe": _recipe(request.get("recipe", {}), record),
        "inputs": [["  " + name, text_of(value)] for name, value in request.get("inputs", {}).items()],
        "attempts": [["  " + str(line.get("attempt")), _attempt(line)] for line in artifact.attempts()],
    }
    if record:
        found["metrics"] = [["  " + name, text_of(value)] for name, value in record.metrics.items()]
        found["files"] = [["  " + file["name"], size(file["bytes"]), file["sha256"][:12]] for file in record.files]
    if failure := artifact.failure():
        found["failure"] = [["  " + failure["class"], failure["message"]]]
    return found


def _recipe(recipe: dict[str, Any], record: Record | None) -> list[list[str]]:
    origins = record.origins if record else {}
    return [["  " + name, text_of(value), origins.get(name, "default")] for name, value in recipe.items()]


def _attempt(line: dict[str, Any]) -> str:
    facts = {key: value for key, value in line.items() if key not in ("attempt", "time", "options", "versions")}
    when = time.strftime("%Y-%m-%d %H:%M:%S  ", time.localtime(line["time"])) if "time" in line else ""
    return when + ", ".join(f"{key} {text_of(value)}" for key, value in facts.items())
