"""`twinctl stop`."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer

from twinctl.cli.command import command
from twinctl.cli.phase_args import PhaseArgument, begun, chosen_run
from twinctl.cli.session import Session
from twinctl.cli.watch import Viewer
from twinctl.errors import Interrupted
from twinctl.phases.status import resume_command
from twinctl.pipeline.event import Event
from twinctl.pipeline.watch import STOPPING, finished, kept, kept_step, stop_workers
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.lock import is_locked

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@command(app)
def stop(
    session: Session,
    phase: PhaseArgument = None,
    kill: Annotated[bool, typer.Option("--kill", help="At once; only what is already saved is kept.")] = False,
) -> None:
    """Stop what is running. Training writes a checkpoint first, and the same command resumes from there.

    \b
      twinctl stop
      twinctl stop train --run my-posts
    """
    run = chosen_run(session)
    busy = {slot: each for slot, each in begun(session, run, phase).items() if is_locked(each.path)}
    _end(session, busy, kill=kill)
    ends: list[dict[str, Any]] = []
    for slot, artifact in busy.items():
        state = "complete" if finished(artifact) else "failed" if artifact.failure() else "stopped"
        facts = {"slot": slot, "artifact": run.started[slot], "state": state, "step": kept_step(artifact)}
        ends.append({**facts, "type": resume_command(artifact, run.name)})
    if session.output.json:
        session.output.document({"command": "stop", "stopped": ends})
        return
    for end in ends:
        session.output.line(_text(end, busy[end["slot"]]))
        if end["state"] != "complete":
            session.output.say(f"to resume: {end['type']}")
    if not ends:
        session.output.line(f"nothing is running in run “{run.name}”")
        runs, workspace = session.workspace.runs, session.workspace
        for other in [runs.get(name) for name in runs.names() if name != run.name]:
            if any(is_locked(workspace.artifact(path).path) for path in other.started.values()):
                session.output.say(f"run “{other.name}” is running: twinctl stop --run {other.name}")


def _end(session: Session, busy: dict[str, Artifact], *, kill: bool) -> None:
    with Viewer(session.output, ", ".join(busy)) as viewer:
        if busy:
            text = "killing it" if kill else STOPPING if "train" in busy else "stopping"
            viewer.show(Event("stage", {"text": text}))
        try:
            stop_workers(list(busy.values()), signal.SIGKILL if kill else signal.SIGINT)
        except KeyboardInterrupt as error:
            raise Interrupted("no longer waiting; the request stands", "at once: twinctl stop --kill") from error


def _text(end: dict[str, Any], artifact: Artifact) -> str:
    if end["state"] == "complete":
        return f"{end['slot']} is complete: it was done before it could be stopped"
    if failure := artifact.failure():
        return f"{end['slot']} failed before it could be stopped: {failure['message']}"
    return f"{end['slot']} stopped; {kept(artifact)}"
