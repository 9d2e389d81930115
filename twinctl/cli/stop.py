"""`twinctl stop`."""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass
from typing import Annotated

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
from twinctl.workspace.run import Run

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@dataclass(frozen=True)
class Stopped:
    """What became of work that was stopped. `state`: complete, failed or stopped; `step`: of the checkpoint that is
    kept; `type`: the command that resumes it.
    """

    slot: str
    artifact: str
    state: str
    step: int | None
    type: str

    @classmethod
    def of(cls, slot: str, artifact: Artifact, run: Run) -> Stopped:
        """Read off the disk."""
        state = "complete" if finished(artifact) else "failed" if artifact.failure() else "stopped"
        return cls(slot, run.started[slot], state, kept_step(artifact), resume_command(artifact, run.name))


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
    stopped = [Stopped.of(slot, artifact, run) for slot, artifact in busy.items()]
    if session.output.json:
        session.output.document({"command": "stop", "stopped": [asdict(work) for work in stopped]})
        return
    for work in stopped:
        session.output.line(_text(work, busy[work.slot]))
        if work.state != "complete":
            session.output.say(f"to resume: {work.type}")
    if not stopped:
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


def _text(work: Stopped, artifact: Artifact) -> str:
    if work.state == "complete":
        return f"{work.slot} is complete: it was done before it could be stopped"
    if failure := artifact.failure():
        return f"{work.slot} failed before it could be stopped: {failure.message}"
    return f"{work.slot} stopped; {kept(artifact)}"
