"""One worker in one folder: the lock is the operating system's, so it ends with its last holder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kills import dies_at
from tests.support.toy_phase import Toy
from twinctl.errors import BusyError
from twinctl.workspace import lock as lock_module
from twinctl.workspace.lock import Lock, is_locked, owner_text
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
def start_holder() -> Iterator[Start]:
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
        process.wait(timeout=60)
        if process.stdout:
            process.stdout.close()


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.close()


def _becomes_free(folder: Path) -> bool:
    until = time.monotonic() + 10
    while is_locked(folder) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_locked(folder)


def test_a_busy_artifact_is_refused_at_once_naming_who_holds_it(
    workspace: Workspace, toy: Toy, start_holder: Start
) -> None:
    holder = start_holder(HOLD, workspace.artifact(toy.plan().path(workspace)).path)
    began = time.monotonic()
    with pytest.raises(BusyError, match=f"process {holder.pid} on {socket.gethostname()}") as caught:
        toy.execute(workspace)
    assert time.monotonic() - began < 20
    assert "--wait" in caught.value.hint
    assert toy.calls == 0


def test_waiting_takes_the_lock_when_the_holder_ends(workspace: Workspace, toy: Toy, start_holder: Start) -> None:
    artifact = workspace.artifact(toy.plan().path(workspace))
    holder = start_holder(HOLD, artifact.path)
    timer = threading.Timer(0.6, _end, [holder])
    began = time.monotonic()
    timer.start()
    outcome = toy.execute(workspace, wait=True)
    timer.join()
    assert time.monotonic() - began > 0.5
    assert not outcome.cached
    assert toy.calls == 1


def test_a_result_that_came_while_waiting_is_a_hit(workspace: Workspace, toy: Toy, start_holder: Start) -> None:
    """Look up, lock, look up again: whoever waited for the same work does not do it twice."""
    artifact = toy.execute(workspace).artifact
    record = artifact.path / "record.json"
    record.rename(record.with_suffix(".aside"))
    holder = start_holder(HOLD, artifact.path)

    def finish() -> None:
        record.with_suffix(".aside").rename(record)
        _end(holder)

    timer = threading.Timer(0.4, finish)
    timer.start()
    assert toy.execute(workspace, wait=True).cached
    timer.join()
    assert toy.calls == 1


def test_the_lock_is_free_when_the_holder_is_killed(workspace: Workspace, toy: Toy, start_holder: Start) -> None:
    artifact = workspace.artifact(toy.plan().path(workspace))
    holder = start_holder(HOLD, artifact.path)
    assert is_locked(artifact.path)
    holder.kill()
    holder.wait()
    assert not is_locked(artifact.path)
    toy.execute(workspace)


def test_an_inherited_lock_outlives_the_process_that_took_it(
    workspace: Workspace, toy: Toy, start_holder: Start
) -> None:
    artifact = workspace.artifact(toy.plan().path(workspace))
    parent = start_holder(BEQUEATH, artifact.path)
    assert parent.wait(timeout=60) == 0
    assert is_locked(artifact.path)
    assert artifact.state() == "running"
    with pytest.raises(BusyError):
        toy.execute(workspace)
    _end(parent)  # the child reads the same stdin
    assert _becomes_free(artifact.path)


def test_looking_takes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    assert not is_locked(folder)
    assert not folder.exists()
    lock = Lock(folder)
    lock.acquire(wait=False)
    assert is_locked(folder)
    assert is_locked(folder)
    lock.release()
    assert not is_locked(folder)


def test_a_command_that_only_looks_does_not_make_another_one_busy(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    first = Lock(folder)
    first.acquire(wait=False)
    first.release()
    going = True

    def look() -> None:
        while going:
            is_locked(folder)

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
    assert not is_locked(folder)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_owner_file_only_costs_the_name(tmp_path: Path, content: str) -> None:
    lock = Lock(tmp_path)
    lock.acquire(wait=False)
    (tmp_path / "owner.json").write_text(content)
    with pytest.raises(BusyError, match="is being worked on by another process"):
        Lock(tmp_path).acquire(wait=False)
    lock.release()


def test_looking_writes_nothing(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "artifact")
    lock.acquire(wait=False)
    assert not dies_at(1, lambda: is_locked(lock.folder))
    lock.release()
    assert not dies_at(1, lambda: is_locked(lock.folder))


def test_whoever_waits_on_a_folder_that_is_taken_away_gets_the_one_that_is_there_then(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    first, second = Lock(folder), Lock(folder, ["second"])
    first.acquire(wait=False)
    waiter = threading.Thread(target=lambda: second.acquire(wait=True))
    waiter.start()
    time.sleep(0.1)
    folder.rename(tmp_path / "trash")
    first.release()
    waiter.join()
    assert is_locked(folder)
    assert not is_locked(tmp_path / "trash")
    assert "second" in owner_text(folder)
    second.release()


def test_a_folder_that_goes_before_its_lock_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, open_now = Lock(tmp_path / "artifact"), os.open

    def late(*arguments: Any) -> int:
        monkeypatch.setattr(os, "open", open_now)
        lock.folder.rmdir()
        return open_now(*arguments)

    monkeypatch.setattr(os, "open", late)
    lock.acquire(wait=False)
    assert is_locked(lock.folder)
    lock.release()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_said_at_once(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "artifact"
    place.touch() if kind == "file" else place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="artifact"):
        Lock(place).acquire(wait=True)


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_lock_whose_file_went_before_it_was_taken_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    """Removed, or removed and made again by another, between the opening and the locking."""
    folder, lock_now = tmp_path / "artifact", lock_module._try
    others: list[Lock] = []

    def late(descriptor: int, how: int) -> bool:
        monkeypatch.setattr(lock_module, "_try", lock_now)
        folder.rename(tmp_path / "trash")
        if is_replaced:
            others.append(Lock(folder))
            others[0].acquire(wait=False)
        return lock_now(descriptor, how)

    monkeypatch.setattr(lock_module, "_try", late)
    lock = Lock(folder)
    if is_replaced:
        with pytest.raises(BusyError):
            lock.acquire(wait=False)
        others[0].release()
    lock.acquire(wait=False)
    assert is_locked(folder)
    lock.release()
