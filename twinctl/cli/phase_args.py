"""What a run has started, by the name of a phase as people type it, and what to type to resume it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from twinctl.cli.session import Session
from twinctl.errors import UpstreamError
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.run import Run

ALSO = {"export": ("merge", "merge-4bit", "gguf")}
PhaseArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[PHASE]",
        help="prepare, train, export (merge, merge-4bit and gguf), or one of those.",
        show_default=False,
    ),
]


def chosen_run(session: Session) -> Run:
    """The run that is named, else the current one; while the first prepare is not done yet, the newest."""
    runs = session.workspace.runs
    return session.workspace.run(session.run_name or runs.current() or next(reversed(runs.names()), None))


def slots_of(slots: Iterable[str], named: str) -> list[str]:
    """Those of the slots that a phase's name means: its own, one for each file, or export's."""
    wanted = ALSO.get(named, (named,))
    return [slot for slot in slots if slot in wanted or slot.split("-")[0] in wanted]


def begun(session: Session, run: Run, named: str | None) -> dict[str, Artifact]:
    """The artifacts that a phase, or any, has started in the run, by slot. Raises UpstreamError when it has none."""
    artifacts = {slot: session.workspace.artifact(path) for slot, path in run.started.items()}
    started = {slot: artifact for slot, artifact in artifacts.items() if artifact.path.is_dir()}
    if named is None:
        return started
    if not (matching := slots_of(started, named)):
        raise UpstreamError(f"run “{run.name}” has no {named}", f"there: {', '.join(started) or 'nothing'}")
    return {slot: started[slot] for slot in matching}
