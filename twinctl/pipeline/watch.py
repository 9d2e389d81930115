"""Watching a worker: its events as they come, a request to stop, and what became of it.

What must stay true: watching changes nothing in the artifact; several may watch one worker; Ctrl-C asks for a
checkpoint and an end, and only a second one kills; a signal goes to nobody but a process that has the artifact's lock;
what became of a worker is read off the disk, never off the clock.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from twinctl.errors import BusyError, EngineError, Interrupted, Terminated, TwinctlError, UpstreamError, error_of
from twinctl.pipeline.event import Event, Watch, events_of
from twinctl.pipeline.lineage import Result
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.disk import full_disk
from twinctl.workspace.lock import is_locked, owner_text, read_owner

LOOK_SECONDS = 0.1
# Between a command and its worker, the lock can be held by nobody who can be seen yet.
PATIENCE_SECONDS = 3.0
RESUME = "the same command resumes from there"
STOPPING = "stopping after this step, with a checkpoint"


def watch_to_the_end(
    artifact: Artifact, watch: Watch, worker: subprocess.Popen[bytes] | None = None, start: int = 0
) -> Result:
    """Show the events from a byte offset on until the worker is gone; then its result, or the error that it left.

    Without `worker` another command started it: it is there as long as the lock is held.
    """
    with StopKeys(artifact, watch) as keys:

        def alive() -> bool:
            still = is_locked(artifact.path) if worker is None else worker.poll() is None
            if still:  # else the lock may be another command's by now
                keys.tell()
            return still

        for event in follow(artifact, alive, start):
            watch(event)
    code = worker.returncode if worker else None
    if code in (None, 0):
        for candidate in (artifact, cut(artifact)):
            if candidate and (code == 0 or finished(candidate)) and (result := Result.of(candidate)):
                return result
    raise what_happened(artifact, code, keys.number)


def cut(artifact: Artifact) -> Artifact | None:
    """Where the last attempt left its result, if that was of a part of what was asked for."""
    event = _last_event(artifact)
    return Artifact(artifact.path.parents[1] / event.values["path"]) if event and event.kind == "cut" else None


def follow(artifact: Artifact, alive: Callable[[], bool], start: int = 0) -> Iterator[Event]:
    """The artifact's events from a byte offset on, as they are appended, until `alive` says no and all are read."""
    for line in follow_lines(artifact.path / "events.jsonl", alive, start):
        try:
            stored = json.loads(line)
        except ValueError:  # cut short by a crash
            continue
        if isinstance(stored, dict):
            yield Event.of(stored)


def follow_lines(path: Path, alive: Callable[[], bool], start: int = 0) -> Iterator[bytes]:
    """The lines of a file from a byte offset on, as they are appended; the file may not exist yet."""
    rest, going = b"", True
    while going:
        going = alive()
        if path.exists():
            with open(path, "rb") as stream:
                stream.seek(start)
                data = stream.read()
            start += len(data)
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
        if going:
            time.sleep(LOOK_SECONDS)
    if rest:
        yield rest


def end_of_events(artifact: Artifact) -> int:
    """The byte offset behind the last event so far."""
    path = artifact.path / "events.jsonl"
    return path.stat().st_size if path.exists() else 0


class StopKeys:
    """In a `with` block, Ctrl-C and SIGTERM ask the worker to stop in good order; a second one kills it."""

    def __init__(self, artifact: Artifact, watch: Watch) -> None:
        self._request, self._watch = Request(artifact), watch
        self._said = False
        self._signal = 0
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
        self._signal = signal.SIGKILL if self.number else number
        self.number = self.number or number
        self._request.send(self._signal)

    def tell(self) -> None:
        """Pass the request on to a process that has taken the lock since, and say once that it was made; outside the
        signal's handler, where printing is safe. Raises BusyError when the process cannot be reached.
        """
        if self.number is None:
            return
        self._request.send(self._signal)
        if not self._said:
            self._said = True
            self._watch(Event("stage", {"text": f"{STOPPING} (Ctrl-C again kills it)"}))


class Request:
    """A signal to the processes that hold the artifact's lock, one after another; each gets it once."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._sent: set[tuple[int, int]] = set()
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether somebody still holds the lock."""
        return is_locked(self._artifact.path)

    def send(self, number: int) -> None:
        """Send it to a holder that has not had it yet. Raises BusyError when it cannot be reached for a while."""
        now = time.monotonic()
        if signal_worker(self._artifact, number, self._sent) or not self._until or not self.is_open:
            self._until = now + PATIENCE_SECONDS
        elif now > self._until:
            who = owner_text(self._artifact.path)
            raise BusyError(f"{self._artifact.path.name} is held by {who}, out of reach from here", "stop it there")


def stop_workers(artifacts: Sequence[Artifact], number: int) -> None:
    """Signal the processes that work there until none does. Raises BusyError when one cannot be reached."""
    requests = [Request(artifact) for artifact in artifacts]
    while still := [request for request in requests if request.is_open]:
        for request in still:
            request.send(number)
        time.sleep(LOOK_SECONDS)


def signal_worker(artifact: Artifact, number: int, sent: set[tuple[int, int]] | None = None) -> bool:
    """Send the signal to the process that holds the artifact; False when there is none that can be seen from here.

    `sent`: which process has had which signal already, and does not get it again. Raises BusyError when the process
    runs on another host.
    """
    sent = set() if sent is None else sent
    pids = _holders(artifact.path, everyone=number == signal.SIGKILL)
    for pid in pids:
        if (pid, number) not in sent:
            sent.add((pid, number))
            with suppress(ProcessLookupError):
                os.kill(pid, number)
    return bool(pids)


def _holders(folder: Path, *, everyone: bool) -> list[int]:
    """Who holds the folder's lock: the process that owner.json names, or all of them.

    owner.json may lag behind, and the number in it may by now be another process's: what counts is an open lock.
    """
    if not is_locked(folder):
        return []
    lock, owner = os.stat(folder / "lock"), read_owner(folder) or {}
    pid, host = owner.get("pid", 0), owner.get("host")
    is_here = host == socket.gethostname()
    if is_here and not everyone and pid != os.getpid() and _open_lock(pid, lock):
        return [pid]
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    holders = [pid for pid in pids if any("FLOCK" in text and "WRITE" in text for text in _open_lock(pid, lock))]
    if host and not is_here and not holders:
        raise BusyError(f"the worker runs on {host}", "stop it there")
    return holders


def _open_lock(pid: int, lock: os.stat_result) -> list[str]:
    """What the system says of each descriptor by which the process has the lock's file open.

    It says FLOCK and WRITE of those that hold it: others have it open too, to look or to wait.
    """
    texts: list[str] = []
    with suppress(OSError):  # gone, or somebody else's
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):  # closed meanwhile
                if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), lock):
                    texts.append(Path(f"/proc/{pid}/fdinfo/{name}").read_text())
    return texts


def finished(artifact: Artifact) -> Record | None:
    """The record, unless a later attempt (--restart) did not come to its end."""
    return None if artifact.work.exists() else artifact.record()


def kept_step(artifact: Artifact) -> int | None:
    """The step of the newest sealed checkpoint, by what is on disk: events name also those that are gone."""
    from twinctl.pipeline.checkpoints import MANIFEST, step_of

    return max((step_of(path.parent) for path in artifact.work.glob(f"checkpoints/*/{MANIFEST}")), default=None)


def kept(artifact: Artifact) -> str:
    """What an unfinished attempt leaves, in words."""
    step = kept_step(artifact)
    return f"a checkpoint of step {step} is kept" if step else "nothing was finished yet"


def what_happened(artifact: Artifact, code: int | None = None, asked: int | None = None) -> TwinctlError:
    """The error for a worker that left no result: the one it wrote down, a stop that was asked for, or its death.

    `code`: its exit code, None where another command started it. `asked`: the signal by which we asked it to stop.
    """
    if not artifact.path.is_dir():
        return UpstreamError(f"{artifact.path} is gone", "was the workspace moved? look there: twinctl status")
    log = artifact.path / "log.txt"
    if failure := artifact.failure():  # of this attempt: each begins by removing it
        hint = failure.hint or f"what the libraries said: {log}"
        return error_of(failure.code, failure.message, hint)
    last = _last_event(artifact) if code is None else None
    by_event = last is not None and last.kind == "stopped"
    if not by_event and (full := full_disk(artifact.path)):
        return full
    number = asked or next(
        (possible for possible in (signal.SIGINT, signal.SIGTERM) if code in (128 + possible, -possible)), None
    )
    if number or by_event:
        return (Terminated if number == signal.SIGTERM else Interrupted)(f"stopped; {kept(artifact)}", RESUME)
    how = f"was killed by signal {-code}" if code is not None and code < 0 else "ended without a result"
    memory = " (a kill by the system often means that memory ran out)" if code == -signal.SIGKILL else ""
    return EngineError(f"the worker {how}{memory}; {kept(artifact)}", f"{RESUME}; log: {log}")


def _last_event(artifact: Artifact) -> Event | None:
    last = deque(events_of(artifact), maxlen=1)
    return last[0] if last else None
