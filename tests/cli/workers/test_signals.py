"""A signal reaches nobody but who holds the lock."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.workers import HOLDER, WAITER, Start, Work
from twinctl.errors import BusyError
from twinctl.pipeline.event import Event
from twinctl.pipeline.watch import signal_worker, watch_to_the_end
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.files import append_line
from twinctl.workspace.lock import is_locked, write_owner
from twinctl.workspace.workspace import Workspace

pytestmark = pytest.mark.heavy  # real processes, which work, are stopped and are waited for


def test_a_stale_owner_is_never_signalled(artifact: Artifact, start_python: Start) -> None:
    """Between a new holder's lock and its owner.json; or the number has become another process's."""
    (artifact.path / "lock").touch()
    innocent = subprocess.Popen(["sleep", "60"])
    write_owner(artifact.path, innocent.pid, ["train"])
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            assert not signal_worker(artifact, number)  # nobody holds it
            holder = start_python(HOLDER, artifact.path)
            assert signal_worker(artifact, number)
            assert holder.wait(timeout=60) == -number
            assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_only_waits_for_the_lock_is_not_signalled(
    artifact: Artifact, start_python: Start, number: signal.Signals
) -> None:
    (artifact.path / "lock").touch()
    waiter, holder = start_python(WAITER, artifact.path), start_python(HOLDER, artifact.path)
    assert signal_worker(artifact, number)
    assert holder.wait(timeout=60) == -number
    assert waiter.poll() is None


@pytest.mark.parametrize("says_so", [True, False])
def test_the_holder_is_found_after_the_folder_was_moved(
    training_workspace: Workspace, artifact: Artifact, start_python: Start, work: Work, home: Path, says_so: bool
) -> None:
    (artifact.path / "lock").touch()
    holder = work() if says_so else start_python(HOLDER, artifact.path)
    training_workspace.root.rename(home / "moved")
    moved = Workspace.open(home / "moved").artifact("train/lora-0")
    assert signal_worker(moved, signal.SIGKILL)
    assert holder.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize("words", [["stop"], ["stop", "--kill"]], ids=" ".join)
def test_the_request_goes_on_to_whoever_inherited_the_lock(
    artifact: Artifact, start_python: Start, cli: Cli, words: list[str]
) -> None:
    """A command that is stopped just when it has started its worker; a worker's own children."""
    fork = HOLDER.replace("print(", "os.fork() or sys.stdin.read(); print(")
    (artifact.path / "lock").touch()
    parent = start_python(fork, artifact.path)
    write_owner(artifact.path, parent.pid, ["train"])
    assert cli(*words).ok().out.startswith("train stopped")
    assert not is_locked(artifact.path)


def test_nobody_gets_the_same_signal_twice(artifact: Artifact, start_python: Start) -> None:
    """A second Ctrl-C would end a command that works by itself in the middle of its cleaning up."""
    (artifact.path / "lock").touch()
    counts = "import signal; signal.signal(signal.SIGINT, lambda *_: print('got it', flush=True))\n"
    holder, told = start_python(counts + HOLDER, artifact.path), set[tuple[int, int]]()
    for _ in range(3):
        assert signal_worker(artifact, signal.SIGINT, told)
        time.sleep(0.1)
    assert holder.stdin and holder.stdout
    holder.stdin.close()
    assert holder.stdout.read() == "got it\n"


def test_a_viewer_leaves_a_worker_that_it_cannot_reach(artifact: Artifact, monkeypatch: Any) -> None:
    """Another user's, or one in another container: Ctrl-C must not leave the viewer waiting for ever."""
    append_line(artifact.path / "events.jsonl", {"event": "stage", "text": "loading"})
    monkeypatch.setattr("twinctl.pipeline.watch.is_locked", lambda folder: True)
    monkeypatch.setattr("twinctl.pipeline.watch.PATIENCE_SECONDS", 0.3)
    (artifact.path / "lock").touch()
    shown: list[str] = []

    def watch(event: Event) -> None:
        shown.append(event.text)
        if len(shown) == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(BusyError, match="out of reach from here"):
        watch_to_the_end(artifact, watch)
    assert shown == ["loading", "stopping after this step, with a checkpoint (Ctrl-C again kills it)"]


def test_this_process_does_not_signal_itself(artifact: Artifact) -> None:
    from twinctl.workspace.lock import Lock

    lock = Lock(artifact.path)
    lock.acquire(wait=False)
    assert not signal_worker(artifact, signal.SIGKILL)
    lock.release()
