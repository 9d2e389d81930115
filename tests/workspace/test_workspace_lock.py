"""One worker in one folder: the lock is the operating system's, so it ends with its last holder."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_phase import Toy

from twinctl.errors import BusyError
from twinctl.workspace.lock import Lock, held
from twinctl.workspace.workspace import Workspace

HOLD = """
import sys
from pathlib import Path
from twinctl.workspace.lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire(wait=False)
print("held", flush=True)
sys.stdin.read()
"""
BEQUEATH = """
import subprocess, sys
from pathlib import Path
from twinctl.workspace.lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire(wait=False)
subprocess.Popen([sys.executable, "-S", "-c", "import sys; sys.stdin.read()"], pass_fds=(lock.descriptor,))
print("held", flush=True)
"""
Start = Callable[[str, Path], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that takes the folder's lock and says so; it ends when its stdin does."""
    started: list[subprocess.Popen[str]] = []

    def start_(code: str, folder: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout and process.stdout.readline() == "held\n"
        return process

    yield start_
    for process in started:
        _end(process)
        process.wait(timeout=20)
        if process.stdout:
            process.stdout.close()


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.close()


def _becomes_free(folder: Path) -> bool:
    until = time.monotonic() + 10
    while held(folder) and time.monotonic() < until:
        time.sleep(0.02)
    return not held(folder)


def test_a_busy_artifact_is_refused_at_once_naming_who_holds_it(workspace: Workspace, toy: Toy, start: Start) -> None:
    holder = start(HOLD, workspace.artifact(toy.plan().path(workspace)).path)
    began = time.monotonic()
    with pytest.raises(BusyError, match=f"process {holder.pid} on {socket.gethostname()}") as caught:
        toy.execute(workspace)
    assert time.monotonic() - began < 3
    assert "--wait" in caught.value.hint
    assert toy.calls == 0


def test_waiting_takes_the_lock_when_the_holder_ends(workspace: Workspace, toy: Toy, start: Start) -> None:
    artifact = workspace.artifact(toy.plan().path(workspace))
    holder = start(HOLD, artifact.path)
    timer = threading.Timer(0.6, _end, [holder])
    began = time.monotonic()
    timer.start()
    outcome = toy.execute(workspace, wait=True)
    timer.join()
    assert time.monotonic() - began > 0.5
    assert not outcome.cached
    assert toy.calls == 1


def test_a_result_that_came_while_waiting_is_a_hit(workspace: Workspace, toy: Toy, start: Start) -> None:
    """Look up, lock, look up again: whoever waited for the same work does not do it twice."""
    artifact = toy.execute(workspace).artifact
    record = artifact.path / "record.json"
    record.rename(record.with_suffix(".aside"))
    holder = start(HOLD, artifact.path)

    def finish() -> None:
        record.with_suffix(".aside").rename(record)
        _end(holder)

    timer = threading.Timer(0.4, finish)
    timer.start()
    assert toy.execute(workspace, wait=True).cached
    timer.join()
    assert toy.calls == 1


def test_the_lock_is_free_when_the_holder_is_killed(workspace: Workspace, toy: Toy, start: Start) -> None:
    artifact = workspace.artifact(toy.plan().path(workspace))
    holder = start(HOLD, artifact.path)
    assert held(artifact.path)
    holder.kill()
    holder.wait()
    assert not held(artifact.path)
    toy.execute(workspace)


def test_an_inherited_lock_outlives_the_process_that_took_it(workspace: Workspace, toy: Toy, start: Start) -> None:
    artifact = workspace.artifact(toy.plan().path(workspace))
    parent = start(BEQUEATH, artifact.path)
    assert parent.wait(timeout=20) == 0
    assert held(artifact.path)
    assert artifact.state() == "running"
    with pytest.raises(BusyError):
        toy.execute(workspace)
    _end(parent)  # the child reads the same stdin
    assert _becomes_free(artifact.path)


def test_looking_takes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    assert not held(folder)
    assert not folder.exists()
    lock = Lock(folder)
    lock.acquire(wait=False)
    assert held(folder)
    assert held(folder)
    lock.release()
    assert not held(folder)


def test_a_command_that_only_looks_does_not_make_another_one_busy(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    first = Lock(folder)
    first.acquire(wait=False)
    first.release()
    going = True

    def look() -> None:
        while going:
            held(folder)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(50):
            lock = Lock(folder)
            lock.acquire(wait=False)
            lock.release()
    finally:
        going = False
        looker.join()
