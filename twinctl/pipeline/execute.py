"""Look up → lock → look up again → run → commit: how every command gets its phase's result.

What must stay true: a complete artifact of the same fingerprint is a hit and runs nothing; there is never a second
process in one work/; a worker outlives the command that started it, and the same command watches it instead of
starting another; an action is never a hit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from twinctl.errors import BusyError, UpstreamError
from twinctl.pipeline.event import Event, Watch
from twinctl.pipeline.lineage import Result
from twinctl.pipeline.phase import AnyAttempt, AnyPlan, Produced
from twinctl.pipeline.run_job import Job, command_words, perform, record_failure
from twinctl.pipeline.watch import end_of_events, watch_to_the_end
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.files import write_json
from twinctl.workspace.lock import Lock, write_owner
from twinctl.workspace.workspace import Workspace


@dataclass(frozen=True)
class Outcome:
    """A phase's result, and whether it was there already."""

    result: Result
    cached: bool

    @property
    def path(self) -> Path:
        """The folder of its files."""
        return self.result.out

    @property
    def files(self) -> list[Path]:
        """Its files."""
        return [self.path / entry.name for entry in self.record.files]

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What was measured."""
        return self.record.metrics

    @property
    def artifact(self) -> Artifact:
        """The result's artifact."""
        return self.result.artifact

    @property
    def record(self) -> Record:
        """The result's record."""
        return self.result.record


class Executor(Protocol):
    """Carries out plans and shows what happens: on a screen, or to a callback."""

    def execute(self, run: str, plan: AnyPlan, *, wait: bool = False, restart: bool = False) -> Outcome:
        """The plan's result in a run, from the cache or by doing the work."""

    def watching(self, slot: str) -> AbstractContextManager[Watch]:
        """Inside the block, the watcher of other work on a slot's result."""

    def say(self, text: str) -> None:
        """Tell something that is no event."""


def execute(
    workspace: Workspace, run: str, plan: AnyPlan, *, watch: Watch, wait: bool = False, restart: bool = False
) -> Outcome:
    """The plan's result, from the cache or by doing the work. Raises TwinctlError."""
    artifact = workspace.artifact(plan.path(workspace))
    # What a crash between record and end of the commit left is removed, where that is allowed.
    is_untidy = artifact.work.exists() and os.access(artifact.path, os.W_OK)
    if not restart and not is_untidy and (hit := _hit(workspace, run, plan)):
        return hit
    workspace.create()
    lock = Lock(artifact.path, command_words())
    try:
        _acquire(lock, watch, wait)
    except BusyError:
        if not plan.phase.in_worker or restart:
            raise
        watch(Event("attached", {"text": "a worker is already on it; watching"}))
        result = watch_to_the_end(artifact, watch)
        # The worker may work for another run.
        workspace.runs.point(run, plan.slot, result.path, plan.pins)
        return Outcome(result, cached=False)
    try:
        if not restart and (hit := _hit(workspace, run, plan)):
            artifact.tidy()
            return hit
        job = _begin(workspace, run, plan, artifact, restart=restart)
        return Outcome(_work(job, plan, artifact, lock, watch), cached=False)
    finally:
        lock.release()


def carry_out(
    workspace: Workspace,
    run: str,
    plan: AnyPlan,
    action: Callable[[AnyAttempt], Produced],
    *,
    watch: Watch,
    wait: bool = False,
) -> Result:
    """Do something that is repeated each time it is asked for, and commit what came of it like a phase's result."""
    artifact = workspace.artifact(plan.path(workspace))
    workspace.create()
    lock = Lock(artifact.path, command_words())
    _acquire(lock, watch, wait)
    try:
        job = _begin(workspace, run, plan, artifact, restart=True)
        return Result(job.path, artifact, perform(job, plan.phase, action, watch=watch))
    finally:
        lock.release()


def _acquire(lock: Lock, watch: Watch, wait: bool) -> None:
    try:
        lock.acquire(wait=False)
    except BusyError as busy:
        if not wait:
            raise
        watch(Event("stage", {"text": f"waiting: {busy.message}"}))
        lock.acquire(wait=True)


def _hit(workspace: Workspace, run: str, plan: AnyPlan) -> Outcome | None:
    path = plan.path(workspace)
    artifact = workspace.artifact(path)
    record = artifact.record()
    if record is None or record.fingerprint != plan.fingerprint:
        return None
    try:
        artifact.check(workspace.memo.sha256, run)
        workspace.runs.point(run, plan.slot, path, plan.pins)
    except (OSError, UpstreamError):
        if artifact.record() is not None:
            raise
    # Until the pointer stood, `twinctl clean` could take what no run pointed to.
    return Outcome(Result(path, artifact, record), cached=True) if artifact.record() else None


def _begin(workspace: Workspace, run: str, plan: AnyPlan, artifact: Artifact, *, restart: bool) -> Job:
    """Write down what is begun; then find out where the inputs are, which may download."""
    if restart:
        shutil.rmtree(artifact.work, ignore_errors=True)
    with workspace.runs.change(run) as stored:
        stored.started[plan.slot] = plan.path(workspace)
    artifact.work.mkdir(exist_ok=True)
    write_json(artifact.path / "recipe.json", {**plan.payload, "fingerprint": plan.fingerprint})
    (artifact.path / "failure.json").unlink(missing_ok=True)
    try:
        return Job.of(workspace, run, plan)
    except Exception as error:
        record_failure(artifact, error)
        raise


def _work(job: Job, plan: AnyPlan, artifact: Artifact, lock: Lock, watch: Watch) -> Result:
    if not plan.phase.in_worker:
        assert plan.phase.run is not None
        return Result(job.path, artifact, perform(job, plan.phase, plan.phase.run, watch=watch))
    job.save(artifact.work / "job.json")
    watch(Event("stage", {"text": "starting a worker"}))
    start = end_of_events(artifact)
    worker = _start_worker(artifact, lock)
    # From here on the worker's own hold keeps the lock, so that its end is seen by everybody.
    lock.release()
    return watch_to_the_end(artifact, watch, worker, start)


def _start_worker(artifact: Artifact, lock: Lock) -> subprocess.Popen[bytes]:
    """A process of its own session: a closed terminal or a killed command does not reach it."""
    assert lock.descriptor is not None
    with open(artifact.path / "log.txt", "ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "twinctl.worker", str((artifact.work / "job.json").resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=artifact.work,  # libraries drop caches where they are
            start_new_session=True,
            pass_fds=(lock.descriptor,),
        )
    write_owner(artifact.path, worker.pid, lock.argv)
    return worker
