"""stop: an end in good order."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from tests.support.commands import Cli
from tests.support.workers import HOLDER, MANY, Start, Work, begin, type_
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.files import write_json
from twinctl.workspace.lock import is_locked, write_owner
from twinctl.workspace.workspace import Workspace

pytestmark = pytest.mark.heavy  # real processes, which work, are stopped and are waited for


def test_stop_keeps_a_checkpoint_and_says_how_to_go_on(cli: Cli, artifact: Artifact, work: Work) -> None:
    worker = work()
    shown = cli("stop").ok()
    assert not is_locked(artifact.path)
    assert worker.wait(timeout=60) == 130
    step = list(artifact.events())[-2]["step"]
    assert shown.out == f"train stopped; a checkpoint of step {step} is kept\n"
    assert shown.err.splitlines() == [
        "train: stopping after this step, with a checkpoint",
        f"to resume: twinctl train --max-steps {MANY} --run tiny",
    ]


def test_stop_for_scripts(cli: Cli, work: Work) -> None:
    work()
    (found,) = cli("stop", "train", "--json").ok().document["stopped"]
    assert (found["slot"], found["artifact"], found["state"]) == ("train", "train/lora-0", "stopped")
    assert found["step"] >= 1
    assert found["type"] == f"twinctl train --max-steps {MANY} --run tiny"
    assert cli("stop", "--json").ok().document == {"schema": 1, "command": "stop", "stopped": []}


def test_kill_ends_it_at_once(cli: Cli, artifact: Artifact, work: Work) -> None:
    worker = work()
    assert cli("stop", "--kill").ok().out == "train stopped; nothing was finished yet\n"
    assert worker.wait(timeout=60) == -signal.SIGKILL


def test_nothing_to_stop(cli: Cli, training_workspace: Workspace, start_python: Start) -> None:
    shown = cli("stop").ok()
    assert (shown.out, shown.err) == ("nothing is running in run “tiny”\n", "")
    begin(training_workspace, "posts", train="train/lora-1")
    (training_workspace.artifact("train/lora-1").path / "lock").touch()
    start_python(HOLDER, training_workspace.artifact("train/lora-1").path)
    assert cli("stop").ok().err == "run “posts” is running: twinctl stop --run posts\n"


def test_work_that_is_done_before_the_signal_is_complete(cli: Cli, work: Work, monkeypatch: Any) -> None:
    worker = work(3)
    monkeypatch.setattr("twinctl.cli.stop.stop_workers", lambda artifacts, number: worker.wait(timeout=60))
    shown = cli("stop").ok()
    assert (shown.out, "to go on" in shown.err) == (
        "train is complete: it was done before it could be stopped\n",
        False,
    )


def test_work_that_failed_before_the_signal_is_told(cli: Cli, work: Work, monkeypatch: Any) -> None:
    worker = work(3, "failed")
    monkeypatch.setattr("twinctl.cli.stop.stop_workers", lambda artifacts, number: worker.wait(timeout=60))
    assert cli("stop").ok().out == "train failed before it could be stopped: the loss of step 3 is nan\n"


def test_checkpoints_of_before_a_restart_are_not_promised(cli: Cli, artifact: Artifact, work: Work) -> None:
    artifact.append_event("checkpoint", step=500)
    work()
    assert cli("stop", "--kill").ok().out == "train stopped; nothing was finished yet\n"


def test_who_waits_for_the_stop_may_leave(work: Work, start_python: Start, artifact: Artifact) -> None:
    worker = work()
    worker.send_signal(signal.SIGSTOP)  # a step that takes long
    waiting = type_("stop")
    assert waiting.stderr
    assert "stopping after this step" in waiting.stderr.readline()
    time.sleep(0.3)
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=60)
    assert (waiting.returncode, err) == (
        130,
        "no longer waiting; the request stands\n  → at once: twinctl stop --kill\n",
    )
    worker.send_signal(signal.SIGCONT)
    assert worker.wait(timeout=60) == 130


def test_a_worker_on_another_host_is_refused(cli: Cli, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(artifact.path / "owner.json", {"pid": 1, "host": "another", "argv": ["train"], "since": 0.0})
    (artifact.path / "lock").touch()
    # The lock of another host is held by nobody here.
    for module in ("twinctl.pipeline.watch", "twinctl.cli.stop"):
        monkeypatch.setattr(f"{module}.is_locked", lambda folder: True)
    shown = cli("stop")
    assert (shown.code, shown.out) == (5, "")
    assert "the worker runs on another" in shown.err
    write_owner(artifact.path, 1, ["train"])
    monkeypatch.setattr("twinctl.pipeline.watch.PATIENCE_SECONDS", 0.2)
    shown = cli("stop")
    assert shown.code == 5
    assert "out of reach from here" in shown.err
