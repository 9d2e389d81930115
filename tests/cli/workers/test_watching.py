"""Whoever watches sees the whole history, and how it ended."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import time
from typing import Any

import pytest

from tests.support.workers import WATCHER, Start, Work, until
from twinctl import errors
from twinctl.errors import BusyError, ConfigError, EngineError, Interrupted, Terminated, UpstreamError
from twinctl.pipeline.watch import signal_worker, watch_to_the_end, what_happened
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.files import write_json
from twinctl.workspace.lock import write_owner

pytestmark = pytest.mark.heavy  # real processes, which work, are stopped and are waited for


def test_an_attached_viewer_has_the_whole_history_and_its_ctrl_c_stops_the_worker(
    artifact: Artifact, start_python: Start, work: Work
) -> None:
    artifact.append_event("stopped")
    worker = work()
    watcher = start_python(WATCHER, artifact.path)
    assert watcher.stdout
    until(lambda: len(list(artifact.events())) > 5)
    watcher.send_signal(signal.SIGINT)
    shown = [line for line in watcher.stdout.read().splitlines() if line != "stage"]
    assert (watcher.wait(timeout=60), worker.wait(timeout=60)) == (130, 130)
    assert shown[:3] == ["attempt", "step", "step"]
    assert shown[-3:-1] == ["checkpoint", "stopped"]
    assert shown[-1].startswith("stopped; a checkpoint of step ")


def test_a_second_ctrl_c_kills(artifact: Artifact, start_python: Start, work: Work) -> None:
    artifact.append_event("stopped")
    worker = work()
    worker.send_signal(signal.SIGSTOP)
    watcher = start_python(WATCHER, artifact.path)
    time.sleep(0.3)
    for _ in range(2):
        watcher.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert worker.wait(timeout=60) == -signal.SIGKILL
    assert watcher.wait(timeout=60) == 130


def test_a_restart_that_did_not_end_well_is_not_taken_for_the_result_before(artifact: Artifact, work: Work) -> None:
    assert work(1).wait(timeout=60) == 0
    assert watch_to_the_end(artifact, lambda event: None).slot == "train"
    work(5, "failed")
    with pytest.raises(errors.CheckFailed, match="the loss of step 5 is nan"):
        watch_to_the_end(artifact, lambda event: None)


@pytest.mark.parametrize("written", [0.0, 4e9])
def test_a_failure_counts_whatever_the_clock_says(artifact: Artifact, written: float) -> None:
    failure = {"class": "HubError", "message": "the Hub is away", "hint": "", "time": written}
    write_json(artifact.path / "failure.json", failure)
    error = what_happened(artifact, 7)
    assert (error.code, error.message) == ("HubError", "the Hub is away")
    assert str(artifact.path / "log.txt") in error.hint


def test_a_full_disk_is_said_when_the_worker_could_not_write_it_down(artifact: Artifact, monkeypatch: Any) -> None:
    usage = shutil.disk_usage(artifact.path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    error = what_happened(artifact, 1)
    assert isinstance(error, ConfigError)
    assert "no space left" in error.message
    assert "free space" in error.hint
    assert "the same command resumes" in error.hint
    artifact.append_event("stopped")
    assert isinstance(what_happened(artifact), Interrupted)


@pytest.mark.parametrize(
    ("code", "asked", "kind", "says"),
    [
        (130, None, Interrupted, "stopped; nothing was finished yet"),
        (-2, None, Interrupted, "stopped"),
        (143, None, Terminated, "stopped"),
        (-9, signal.SIGTERM, Terminated, "stopped"),
        (-9, None, EngineError, "killed by signal 9 .* memory ran out"),
        (1, None, EngineError, "ended without a result"),
        (None, None, EngineError, "ended without a result"),
    ],
)
def test_how_a_worker_ended_by_its_exit_code(
    artifact: Artifact, code: int | None, asked: int | None, kind: type[Exception], says: str
) -> None:
    artifact.append_event("stopped")  # of an earlier attempt, after which this one
    artifact.append_event("attempt", attempt=2)
    error = what_happened(artifact, code, asked)
    assert type(error) is kind
    assert re.search(says, error.message)


def test_a_folder_that_is_gone(artifact: Artifact) -> None:
    artifact.path.rmdir()
    assert isinstance(what_happened(artifact, 1), UpstreamError)


def test_busy_error_of_another_host_is_raised_to_the_viewer(artifact: Artifact, monkeypatch: Any) -> None:
    monkeypatch.setattr("twinctl.pipeline.watch.is_locked", lambda folder: True)
    (artifact.path / "lock").touch()
    write_owner(artifact.path, 1, [])
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(BusyError, match="the worker runs on"):
        signal_worker(artifact, signal.SIGINT)
