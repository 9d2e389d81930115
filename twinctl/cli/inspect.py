"""`twinctl inspect`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from twinctl.cli.command import command
from twinctl.cli.output import size, text_of
from twinctl.cli.phase_args import slots_of
from twinctl.cli.samples import as_json, sections, show_sample
from twinctl.cli.session import Session
from twinctl.cli.transcripts import show_chat
from twinctl.data.inspect_samples import SampleQuery, inspect_samples
from twinctl.errors import UpstreamError, UsageError
from twinctl.phases.prepare import AUDIT_FILE, PHASE
from twinctl.pipeline.base_checkpoint import base_of
from twinctl.pipeline.kind import Kind
from twinctl.pipeline.run_view import RunView
from twinctl.planning.schedule import training_schedule
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.files import read_json
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)
SAMPLES = 5


@command(app)
def inspect(
    session: Session,
    phase: Annotated[
        str, typer.Argument(metavar="PHASE", help="prepare, train, export (merge and gguf), one of those, or chat.")
    ],
    rows: Annotated[int | None, typer.Option(min=1, help="prepare: so many samples as the model sees them.")] = None,
    source: Annotated[str | None, typer.Option(help="prepare: samples of this source (a part of its name).")] = None,
    longest: Annotated[bool, typer.Option("--longest", help="prepare: the longest samples.")] = False,
    grep: Annotated[str | None, typer.Option(help="prepare: samples that contain this text.")] = None,
    dropped: Annotated[
        str | None, typer.Option(metavar="REASON", help="prepare: rows dropped for this reason; all for every one.")
    ] = None,
    talk: Annotated[int | None, typer.Option(min=1, metavar="N", help="chat: this conversation in full.")] = None,
) -> None:
    """One phase in full: its recipe with each value's origin, inputs, attempts, metrics and files.

    \b
      twinctl inspect train
      twinctl inspect prepare --rows 5       samples, learned and masked
      twinctl inspect prepare --grep "harbour" --json
      twinctl inspect prepare --dropped "over max length"
      twinctl inspect chat                   the last conversation, and the checks
    """
    run = session.workspace.run(session.run_name)
    looks = [rows, source, grep, dropped, longest or None]
    if any(look is not None for look in looks):
        if phase != "prepare":
            raise UsageError(f"inspect {phase} has no samples to show", "for example: twinctl inspect prepare --rows 5")
        if dropped is not None:
            _show_dropped(session, run, dropped)
        else:
            _show_samples(session, run, SampleQuery(rows or SAMPLES, source, longest, grep))
        return
    if phase == "chat":
        show_chat(session, run, talk)
        return
    if talk is not None:
        raise UsageError(f"inspect {phase} has no conversations to show", "for example: twinctl inspect chat --talk 1")
    if not (slots := slots_of(run.started, phase)):
        raise UpstreamError(f"run “{run.name}” has no {phase}", f"there: {', '.join(run.started)}")
    artifacts = {slot: session.workspace.artifact(run.slots.get(slot, run.started[slot])) for slot in slots}
    if session.output.json:
        phases = [{"slot": slot, **_everything(artifact, run)} for slot, artifact in artifacts.items()]
        session.output.document({"command": "inspect", "run": run.name, "phases": phases})
        return
    shown = [(slot, artifact, _sections(artifact, run)) for slot, artifact in artifacts.items()]
    for slot, artifact, titled in shown:
        session.output.line(f"{slot}: {artifact.state()}  {artifact.path}")
        for title, lines in titled.items():
            session.output.line(f"\n{title}")
            session.output.table(lines or [["  none"]])


def _show_samples(session: Session, run: Run, query: SampleQuery) -> None:
    from twinctl.data.tokenizer import TextTokenizer

    tokens = RunView(session.workspace, run).need(Kind.TOKENS)
    tokenizer = TextTokenizer.load(base_of(run).folder(weights=False))
    samples = inspect_samples(tokens.out, tokenizer, query)
    if session.output.json:
        documents = [as_json(sample) for sample in samples]
        session.output.document({"command": "inspect", "run": run.name, "samples": documents})
        return
    for sample in samples:
        show_sample(session.output, sample)
    if not samples:
        session.output.say("no sample is like that")


def _show_dropped(session: Session, run: Run, reason: str) -> None:
    """Rows of the run's sources that were dropped for a reason (a part of it), or for any."""
    audit = _audit(RunView(session.workspace, run).need(Kind.TOKENS).artifact) or {}
    examples = [row for row in audit.get("examples", []) if reason in ("all", "") or reason in row["reason"]]
    if session.output.json:
        session.output.document({"command": "inspect", "run": run.name, "dropped": examples})
        return
    for row in examples:
        session.output.line(f"── {row['place']}  {row['reason']}\n{row['text']}\n")
    if not examples:
        session.output.say("no row was dropped for that reason")


def _audit(artifact: Artifact) -> dict[str, Any] | None:
    """What prepare found; None for another phase's result, and for one of prepare's first version."""
    record, path = artifact.record(), artifact.out / AUDIT_FILE
    return dict(read_json(path)) if record and record.phase == PHASE.name and path.exists() else None


def _everything(artifact: Artifact, run: Run) -> dict[str, Any]:
    record, failure, audit = artifact.record(), artifact.failure(), _audit(artifact)
    schedule = training_schedule(record.metrics, run.pins["preset"]) if record and audit else None
    return {
        **({"audit": audit} if audit else {}),
        **({"training": schedule.figures} if schedule else {}),
        "state": artifact.state(),
        "path": str(artifact.path),
        "request": artifact.request(),
        "record": asdict(record) if record else None,
        "failure": failure.stored() if failure else None,
        "attempts": artifact.attempts(),
    }


def _sections(artifact: Artifact, run: Run) -> dict[str, list[list[str]]]:
    record, request, audit = artifact.record(), artifact.request() or {}, _audit(artifact)
    parts = {
        "recipe": _recipe(request.get("recipe", {}), record),
        "inputs": [["  " + name, text_of(value)] for name, value in request.get("inputs", {}).items()],
        "attempts": [["  " + str(line.get("attempt")), _attempt(line)] for line in artifact.attempts()],
    }
    if record:
        parts["metrics"] = [["  " + name, text_of(value)] for name, value in record.metrics.items()]
        if audit:
            del parts["metrics"]
            parts |= sections(audit, record.metrics, training_schedule(record.metrics, run.pins["preset"]).text)
        parts["files"] = [["  " + file.name, size(file.bytes), file.sha256[:12]] for file in record.files]
    if failure := artifact.failure():
        parts["failure"] = [["  " + failure.code, failure.message]]
    return parts


def _recipe(recipe: dict[str, Any], record: Record | None) -> list[list[str]]:
    origins = record.origins if record else {}
    return [["  " + name, text_of(value), origins.get(name, "default")] for name, value in recipe.items()]


def _attempt(line: dict[str, Any]) -> str:
    facts = {key: value for key, value in line.items() if key not in ("attempt", "time", "options", "versions")}
    when = time.strftime("%Y-%m-%d %H:%M:%S  ", time.localtime(line["time"])) if "time" in line else ""
    return when + ", ".join(f"{key} {text_of(value)}" for key, value in facts.items())
