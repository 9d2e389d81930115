"""Look up → lock → look up again → run → commit: how every command gets its phase's result.

What must stay true: a complete artifact of the same fingerprint is a hit and runs nothing; there is never a second
process in one work/; a worker outlives the command that started it, and the same command watches it instead of
starting another.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from twinctl import errors
from twinctl.errors import BusyError, EngineError, Interrupted, TwinctlError
from twinctl.phases.base import Plan
from twinctl.phases.perform import Job, command_words, keep_failure, perform
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.files import write_json
from twinctl.workspace.lock import Lock, held, read_owner, write_owner
from twinctl.workspace.workspace import Workspace

Watch = Callable[[dict[str, Any]], None]
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Outcome:
    """The finished artifact, and whether it was there already."""

    artifact: Artifact
    record: Record
    cached: bool


def execute(
    workspace: Workspace, run: str, plan: Plan, *, watch: Watch, wait: bool = False, restart: bool = False
) -> Outcome:
    """The plan's result, from the cache or by doing the work. Raises TwinctlError."""
    artifact = workspace.artifact(plan.path(workspace))
    if not restart and (hit := _hit(workspace, run, plan)) and not artifact.work.exists():
        return hit
    workspace.create()
    lock = Lock(artifact.path, command_words())
    try:
        _acquire(lock, watch, wait)
    except BusyError:
        if not plan.phase.in_worker or restart:
            raise
        watch({"event": "attached", "text": "a worker is already on it; watching"})
        return Outcome(artifact, _watch_to_the_end(artifact, lambda: held(artifact.path), watch), cached=False)
    try:
        if not restart and (hit := _hit(workspace, run, plan)):
            artifact.tidy()
            return hit
        return Outcome(artifact, _work(workspace, run, plan, artifact, lock, watch, restart), cached=False)
    finally:
        lock.release()


def _acquire(lock: Lock, watch: Watch, wait: bool) -> None:
    try:
        lock.acquire(wait=False)
    except BusyError as busy:
        if not wait:
            raise
        watch({"event": "stage", "text": f"waiting: {busy.message}"})
        lock.acquire(wait=True)


def _hit(workspace: Workspace, run: str, plan: Plan) -> Outcome | None:
    path = plan.path(workspace)
    artifact = workspace.artifact(path)
    record = artifact.record()
    if record is None or record.fingerprint != plan.fingerprint:
        return None
    artifact.check(workspace.memo)
    workspace.runs.point(run, plan.slot, path, plan.pins)
    return Outcome(artifact, record, cached=True)


def _work(
    workspace: Workspace, run: str, plan: Plan, artifact: Artifact, lock: Lock, watch: Watch, restart: bool
) -> Record:
    if restart:
        shutil.rmtree(artifact.work, ignore_errors=True)
    with workspace.runs.change(run) as thread:
        thread.started[plan.slot] = plan.path(workspace)
    artifact.work.mkdir(exist_ok=True)
    write_json(artifact.path / "recipe.json", {**plan.payload, "fingerprint": plan.fingerprint})
    (artifact.path / "failure.json").unlink(missing_ok=True)
    try:
        job = Job.of(workspace, run, plan)
    except Exception as error:
        keep_failure(artifact, error)
        raise
    if not plan.phase.in_worker:
        return perform(job, plan.phase, watch=watch)
    job.save(artifact.work / "job.json")
    watch({"event": "stage", "text": "starting a worker"})
    start = _end_of_events(artifact)
    worker = _start_worker(artifact, lock)
    # From here on the worker's own hold keeps the lock, so that its end is seen by everybody.
    lock.release()
    return _watch_to_the_end(artifact, lambda: worker.poll() is None, watch, worker, start)


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


def _watch_to_the_end(
    artifact: Artifact,
    alive: Callable[[], bool],
    watch: Watch,
    worker: subprocess.Popen[bytes] | None = None,
    start: int = 0,
) -> Record:
    """Show the events as they come until the worker is gone; then its record, or the error it left."""
    since = time.time()
    with _stop_on_ctrl_c(artifact):
        for event in follow(artifact, alive, start):
            watch(event)
    record = artifact.record()
    if record is not None and (worker is None or worker.returncode == 0):
        return record
    raise _what_happened(artifact, since, worker.returncode if worker else None)


def follow(artifact: Artifact, alive: Callable[[], bool], start: int = 0) -> Iterator[dict[str, Any]]:
    """The artifact's events from a byte offset on, as they are appended, until `alive` says no and all are read."""
    path, rest, going = artifact.path / "events.jsonl", b"", True
    while going:
        going = alive()
        if path.exists():
            with open(path, "rb") as stream:
                stream.seek(start)
                data = stream.read()
            start += len(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:  # cut short by a crash
                    continue
        if going:
            time.sleep(LOOK_SECONDS)


def _end_of_events(artifact: Artifact) -> int:
    path = artifact.path / "events.jsonl"
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _stop_on_ctrl_c(artifact: Artifact) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask the worker to stop in good order and go on watching it; a second one kills it."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        signal_worker(artifact, signal.SIGKILL if asked else number)
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def signal_worker(artifact: Artifact, number: int) -> bool:
    """Send the signal to the process that holds the artifact; False when nobody does. Raises BusyError for another
    host's.
    """
    owner = read_owner(artifact.path)
    if owner is None or not held(artifact.path):
        return False
    if owner["host"] != socket.gethostname():
        raise BusyError(f"the worker runs on {owner['host']}", "stop it there")
    os.kill(owner["pid"], number)
    return True


def _what_happened(artifact: Artifact, since: float, code: int | None) -> TwinctlError:
    """The error that a worker without a result left, or what its end says."""
    failure = artifact.failure()
    if failure is not None and failure["time"] >= since - 1:
        kind = getattr(errors, failure["class"], TwinctlError)
        return kind(failure["message"], failure["hint"] or f"what the libraries said: {artifact.path / 'log.txt'}")
    step = next((event["step"] for event in reversed(list(artifact.events())) if event["event"] == "checkpoint"), None)
    kept = f"a checkpoint of step {step} is kept" if step else "nothing was finished yet"
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        kind = errors.Terminated if code == 128 + signal.SIGTERM else Interrupted
        return kind(f"stopped; {kept}", "the same command goes on from there")
    how = f"was killed by signal {-code}" if code is not None and code < 0 else "ended without a result"
    memory = " (a kill by the system often means that memory ran out)" if code == -signal.SIGKILL else ""
    return EngineError(
        f"the worker {how}{memory}; {kept}", f"the same command goes on from there; log: {artifact.path / 'log.txt'}"
    )
