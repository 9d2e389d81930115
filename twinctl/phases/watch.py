"""Watching a worker: its events as they come, a request to stop, and what became of it.

What must stay true: watching changes nothing in the artifact; several may watch one worker; Ctrl-C asks for a
checkpoint and an end, and only a second one kills.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from twinctl import errors
from twinctl.errors import BusyError, EngineError, Interrupted, Terminated, TwinctlError
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.lock import held, read_owner

Watch = Callable[[dict[str, Any]], None]
LOOK_SECONDS = 0.1
RESUME = "the same command goes on from there"


def watch_to_the_end(
    artifact: Artifact, watch: Watch, worker: subprocess.Popen[bytes] | None = None, start: int = 0
) -> Record:
    """Show the events from a byte offset on until the worker is gone; then its record, or the error that it left.

    Without `worker` another command started it: it is there as long as the lock is held.
    """
    since = time.time()
    with StopKeys(artifact, watch) as keys:

        def alive() -> bool:
            keys.tell()
            return held(artifact.path) if worker is None else worker.poll() is None

        for event in follow(artifact, alive, start):
            watch(event)
    record = artifact.record()
    if record is not None and (worker is None or worker.returncode == 0):
        return record
    raise what_happened(artifact, since, worker.returncode if worker else None, keys.number)


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


def end_of_events(artifact: Artifact) -> int:
    """The byte offset behind the last event so far."""
    path = artifact.path / "events.jsonl"
    return path.stat().st_size if path.exists() else 0


class StopKeys:
    """In a `with` block, Ctrl-C and SIGTERM ask the worker to stop in good order; a second one kills it."""

    def __init__(self, artifact: Artifact, watch: Watch) -> None:
        self._artifact, self._watch = artifact, watch
        self._told = False
        self._before: dict[int, Any] = {}
        self.number: int | None = None

    def __enter__(self) -> StopKeys:
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        signal_worker(self._artifact, signal.SIGKILL if self.number else number)
        self.number = self.number or number

    def tell(self) -> None:
        """Say once that the stop was asked for; outside the signal's handler, where printing is safe."""
        if self.number and not self._told:
            self._told = True
            self._watch(
                {"event": "stage", "text": "stopping after this step, with a checkpoint (Ctrl-C again kills it)"}
            )


def signal_worker(artifact: Artifact, number: int) -> bool:
    """Send the signal to the process that holds the artifact; False when nobody does.

    Raises BusyError when it runs on another host.
    """
    owner = read_owner(artifact.path)
    if owner is None or not held(artifact.path):
        return False
    if owner["host"] != socket.gethostname():
        raise BusyError(f"the worker runs on {owner['host']}", "stop it there")
    os.kill(owner["pid"], number)
    return True


def what_happened(artifact: Artifact, since: float, code: int | None, asked: int | None) -> TwinctlError:
    """The error for a worker that left no result: the one it wrote down, a stop that was asked for, or its death.

    `code`: its exit code, None where another command started it. `asked`: the signal by which we asked it to stop.
    """
    failure = artifact.failure()
    if failure is not None and failure["time"] >= since - 1:
        kind = getattr(errors, failure["class"], TwinctlError)
        return kind(failure["message"], failure["hint"] or f"what the libraries said: {artifact.path / 'log.txt'}")
    events = list(artifact.events())
    step = next((event["step"] for event in reversed(events) if event["event"] == "checkpoint"), None)
    kept = f"a checkpoint of step {step} is kept" if step else "nothing was finished yet"
    number = asked or (code - 128 if code in (128 + signal.SIGINT, 128 + signal.SIGTERM) else None)
    if number or (events and events[-1]["event"] == "stopped"):
        return (Terminated if number == signal.SIGTERM else Interrupted)(f"stopped; {kept}", RESUME)
    how = f"was killed by signal {-code}" if code is not None and code < 0 else "ended without a result"
    memory = " (a kill by the system often means that memory ran out)" if code == -signal.SIGKILL else ""
    return EngineError(f"the worker {how}{memory}; {kept}", f"{RESUME}; log: {artifact.path / 'log.txt'}")
