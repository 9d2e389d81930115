"""logs and stop: what happened, and an end in good order; a signal reaches nobody but who holds the lock."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from twinctl import errors
from twinctl.errors import BusyError, ConfigError, EngineError, Interrupted, Terminated, UpstreamError
from twinctl.phases.watch import signal_worker, watch_to_the_end, what_happened
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.files import append_line, write_json
from twinctl.workspace.lock import held, write_owner
from twinctl.workspace.workspace import Workspace

from .conftest import Cli

# A worker as `train` starts it, up to the training itself. ENDS: complete, failed, killed.
WORKER = """
import os, signal, sys, time
from pathlib import Path
from twinctl.phases.stop import Stop
from twinctl.workspace.artifact import Artifact, Record
from twinctl.workspace.lock import Lock
from twinctl.workspace.files import append_line, write_json

folder, steps, ends = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
argv = ["train", "--max-steps", str(steps), "--restart"]
artifact, stop = Artifact(folder), Stop()
Lock(folder, argv).acquire(wait=False)
stop.install()
(artifact.work / "out").mkdir(parents=True, exist_ok=True)
(artifact.path / "failure.json").unlink(missing_ok=True)
append_line(folder / "attempts.jsonl", {"attempt": 1, "argv": argv})
artifact.append_event("attempt", attempt=1)
with stop.deferred():
    for step in range(1, steps + 1):
        artifact.append_event("step", step=step, steps=steps, loss=2 / step, tokens=100 * step, seconds=0.5 * step)
        print("step", step, flush=True)
        time.sleep(0.1)
        if stop.requested:
            checkpoint = artifact.work / f"checkpoints/checkpoint-{step}"
            checkpoint.mkdir(parents=True)
            write_json(checkpoint / "twinctl-checkpoint.json", {"files": []})
            artifact.append_event("checkpoint", step=step)
            artifact.append_event("stopped")
            sys.exit(128 + stop.requested)
if ends == "failed":
    artifact.fail("CheckFailed", f"the loss of step {steps} is nan", "lower --lr")
    sys.exit(8)
if ends == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
texts = dict.fromkeys(["phase", "slot", "fingerprint", "produces", "digest"], "train")
maps = {name: {} for name in ("recipe", "origins", "inputs", "parents", "metrics")}
artifact.commit(Record(**texts, **maps, version=1, warnings=[], files=[], created=0.0, seconds=0.0))
"""
# Has the lock's file open without holding it: waits for it.
WAITER = "import os, sys; os.open(sys.argv[1] + '/lock', os.O_RDWR); print('open', flush=True); sys.stdin.read()"
# Holds the lock, without saying so in owner.json.
HOLDER = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1] + '/lock', os.O_RDWR), fcntl.LOCK_EX)\n"
HOLDER += "print('held', flush=True); sys.stdin.read()"
WATCHER = """
import sys; from pathlib import Path
from twinctl.errors import TwinctlError; from twinctl.phases.watch import watch_to_the_end
from twinctl.workspace.artifact import Artifact
try: watch_to_the_end(Artifact(Path(sys.argv[1])), lambda event: print(event["event"], flush=True))
except TwinctlError as error: print(error.message); sys.exit(error.exit_code)
"""
Start = Callable[..., "subprocess.Popen[str]"]
MANY = 1000


@pytest.fixture
def workspace(home: Path) -> Workspace:
    """A workspace in which a run has begun to train."""
    workspace = Workspace.open(home / ".twinctl")
    workspace.create()
    begin(workspace, "tiny", train="train/lora-0")
    workspace.runs.use("tiny")
    return workspace


@pytest.fixture
def artifact(workspace: Workspace) -> Artifact:
    return workspace.artifact("train/lora-0")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python code in a process of its own session and wait for its first line."""
    started: list[subprocess.Popen[str]] = []

    def start_(code: str, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *map(str, words)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline()
        return process

    yield start_
    for process in started:
        with process:  # closes the pipes
            process.kill()


@pytest.fixture
def work(start: Start, artifact: Artifact) -> Callable[..., subprocess.Popen[str]]:
    """Start a worker in the artifact; returns when it has done its first step."""
    return lambda steps=MANY, ends="complete": start(WORKER, artifact.path, steps, ends)


Work = Callable[..., "subprocess.Popen[str]"]


def begin(workspace: Workspace, run: str, **started: str) -> None:
    """Let a run have begun these slots."""
    with workspace.runs.change(run) as thread:
        for slot, path in started.items():
            thread.started[slot] = path
            workspace.artifact(path).path.mkdir(parents=True)


def type_(*words: object) -> subprocess.Popen[str]:
    """Type a command and go on."""
    command = [sys.executable, "-m", "twinctl.cli.app", *map(str, words)]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(condition: Callable[[], object]) -> None:
    """Wait for it, ten seconds at the most."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# logs


@pytest.fixture
def utc() -> Iterator[None]:
    """Local time is UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_every_kind_of_event_is_a_line(cli: Cli, artifact: Artifact, utc: None) -> None:
    append_line(artifact.path / "attempts.jsonl", {"attempt": 1, "argv": ["train", "--run", "my posts"]})
    append_line(artifact.path / "attempts.jsonl", {"attempt": 1, "device": "cpu"})
    events: list[dict[str, Any]] = [
        {"event": "attempt", "attempt": 1},
        {"event": "stage", "text": "loading [the] model"},
        {"event": "facts", "device": "cpu", "packing": True},
        {"event": "evaluation", "step": 0, "eval_loss": None},
        {"event": "evaluation", "step": 0, "eval_loss": 2.5},
        {"event": "tracking", "mode": "online", "where": "https://comet/1", "warning": None},
        {"event": "tracking", "mode": "offline", "where": "/a.zip", "warning": "Not on Comet (no network)"},
        {"event": "begin", "step": 0, "steps": 20},
        {"event": "step", "step": 9, "steps": 20, "loss": 2.10339, "tokens": 8120, "seconds": 10.0},
        {"event": "checkpoint", "step": 9},
        {"event": "progress", "rows": 500},
        {"event": "progress", "bytes": 1, "of": 4},
        {"event": "progress", "bytes": 1, "of": 4},
        {"event": "stopped"},
        {"event": "news", "of": "a later version"},
        {"event": "failed", "message": "the loss of step 10 is nan"},
    ]
    for second, event in enumerate(events):
        append_line(artifact.path / "events.jsonl", {"time": second, **event})
    artifact.fail("CheckFailed", "the loss of step 10 is nan", "lower --lr")
    shown = cli("logs").ok()
    assert shown.out.splitlines() == [
        "00:00:00  attempt 1 on 1970-01-01: twinctl train --run 'my posts'",
        "00:00:01  loading [the] model",
        "00:00:02  facts: device cpu, packing true",
        "00:00:04  eval loss at step 0: 2.5000",
        "00:00:05  tracked at https://comet/1",
        "00:00:06  Not on Comet (no network)",
        "00:00:08  step 9/20  loss 2.1034  812 tokens/s",
        "00:00:09  checkpoint of step 9",
        "00:00:10  500 rows",
        "00:00:11  25% written",
        "00:00:13  stopped",
        "00:00:14  news: of a later version",
        "00:00:15  failed: the loss of step 10 is nan",
    ]
    log = Path(".twinctl/artifacts/train/lora-0/log.txt")
    assert shown.err == f"error: the loss of step 10 is nan\n  → lower --lr\nwhat the libraries printed: {log}\n"
    lines = [json.loads(line) for line in cli("logs", "train", "--json").ok().out.splitlines()]
    assert lines[: len(events)] == [
        {"schema": 1, "phase": "train", "time": second, **event} for second, event in enumerate(events)
    ]
    assert lines[-1]["error"] == {
        "code": "CheckFailed",
        "message": "the loss of step 10 is nan",
        "hint": "lower --lr",
    }


def test_a_real_training_has_a_log(cli: Cli, trained: dict[str, Any]) -> None:
    shown = cli("logs", "train").ok()
    texts = [line.split("  ", 1)[1] for line in shown.out.splitlines()]
    assert texts[0].startswith("attempt 1 on ")
    assert texts[1:] == ["step 1/2  loss 2.0000  200 tokens/s", "step 2/2  loss 1.0000  200 tokens/s"]
    assert shown.err == f"train is complete: {trained['path']}\n"
    assert "60 rows" in cli("logs", "prepare").ok().out


def test_a_failed_prepare_has_a_log_though_no_run_is_current(cli: Cli, home: Path, prepare: list[str]) -> None:
    (home / "posts.jsonl").write_text("{")
    assert cli(*prepare).code == 3
    shown = cli("logs").ok()
    assert "posts.jsonl:1 is not JSON" in shown.out.splitlines()[-1]
    assert "posts.jsonl:1 is not JSON" in shown.err


def test_without_a_phase_it_is_the_one_begun_last_or_worked_on(
    cli: Cli, workspace: Workspace, artifact: Artifact, work: Work
) -> None:
    begin(workspace, "tiny", merge="merge/m-0", **{"gguf-f16": "gguf/f16-0", "gguf-q8_0": "gguf/q8_0-0"})
    for age, path in enumerate(["gguf/q8_0-0", "gguf/f16-0", "merge/m-0"]):
        workspace.artifact(path).append_event("stage", text=f"this is {path}")
        os.utime(workspace.artifact(path).path / "events.jsonl", (1000 - age, 1000 - age))

    def told(*words: str) -> list[str]:
        return [line.rpartition("this is ")[2] for line in cli("logs", *words).ok().out.splitlines()]

    assert told() == told("gguf-q8_0") == ["gguf/q8_0-0"]
    assert told("merge") == ["merge/m-0"]
    assert told("gguf") == ["gguf/f16-0", "gguf/q8_0-0"]
    assert told("export") == ["merge/m-0", "gguf/f16-0", "gguf/q8_0-0"]
    work()
    os.utime(artifact.path / "events.jsonl", (0, 0))
    shown = cli("logs").ok()
    assert "attempt 1" in shown.out
    assert shown.err == "train is being worked on; to watch it: twinctl logs train --follow\n"


@pytest.mark.parametrize("command", ["logs", "stop"])
def test_nothing_to_look_at(cli: Cli, home: Path, command: str) -> None:
    shown = cli(command)
    assert (shown.code, shown.out) == (4, "")
    assert "twinctl prepare" in shown.err
    begin(Workspace.open(home / ".twinctl"), "tiny", prepare="prepare/p-0")
    shown = cli(command, "train")
    assert (shown.code, shown.out) == (4, "")
    assert shown.err == "error: run “tiny” has no train\n  → there: prepare\n"
    assert cli(command, "--run", "other").code == 4
    assert cli(command, "train", "--json").document["error"]["code"] == "UpstreamError"


def test_library_shows_what_the_libraries_printed(cli: Cli, artifact: Artifact) -> None:
    (artifact.path / "log.txt").write_bytes(b"Unsloth: \xff\n\n[red]torn")
    artifact.append_event("stage", text="not this")
    assert cli("logs", "train", "--library").ok().out == "Unsloth: �\n\n[red]torn\n"
    lines = cli("logs", "train", "--library", "--json").out.splitlines()[:-1]
    assert [json.loads(line)["text"] for line in lines] == ["Unsloth: �", "", "[red]torn"]


def test_follow_ends_with_the_work(artifact: Artifact, work: Work, cli: Cli) -> None:
    work(8)
    shown = cli("logs", "--follow").ok()
    assert not held(artifact.path)
    assert [line.split()[1:3] for line in shown.out.splitlines()[1:]] == [["step", f"{n}/8"] for n in range(1, 9)]
    assert "train is complete: " in shown.err
    assert cli("logs", "-f").ok().out == shown.out


@pytest.mark.parametrize(
    ("ends", "code", "name"), [("complete", 0, None), ("failed", 8, "CheckFailed"), ("killed", 6, "EngineError")]
)
def test_follow_ends_as_the_work_did(cli: Cli, work: Work, ends: str, code: int, name: str | None) -> None:
    work(5, ends)
    shown = cli("logs", "--follow", "--json")
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert shown.code == code
    assert {(line["schema"], line["phase"]) for line in lines} == {(1, "train")}
    assert [line["step"] for line in lines if line.get("event") == "step"] == [1, 2, 3, 4, 5]
    assert lines[-1].get("error", {}).get("code") == name
    for_people = cli("logs", "--follow")
    assert for_people.code == code
    assert ("error:" in for_people.err) == bool(name)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, -1)])
def test_whoever_ends_the_showing_leaves_the_worker_alone(
    work: Work, artifact: Artifact, number: signal.Signals, code: int
) -> None:
    worker, watcher = work(), type_("logs", "-f")
    assert watcher.stdout
    while "step 3/" not in watcher.stdout.readline():
        assert watcher.poll() is None
    watcher.send_signal(number)
    _, err = watcher.communicate(timeout=60)
    assert watcher.returncode == code
    assert number != signal.SIGINT or err == "no longer watching\n  → it goes on; to end it: twinctl stop train\n"
    time.sleep(0.3)
    assert worker.poll() is None
    assert not any(event["event"] == "stopped" for event in artifact.events())


def test_a_terminal_shows_the_moving_line_and_keeps_the_rest(artifact: Artifact, work: Work) -> None:
    artifact.append_event("attempt", attempt=1)
    artifact.append_event("evaluation", step=0, eval_loss=2.5)
    artifact.append_event("step", step=7, steps=12, loss=1.0, tokens=10, seconds=1.0)
    artifact.append_event("checkpoint", step=7)
    artifact.append_event("attempt", attempt=2)
    work(12)
    words = ["-m", "twinctl.cli.app", "logs", "-f"]
    child = pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=60, dimensions=(24, 100))
    screen = ("\x1b[?1049h", "/12  ", "\x1b[?1049l")  # the other screen, and back
    for text in ("eval loss at step 0: 2.5000", *screen, "eval loss", "train: step 12/12  loss", "train is complete"):
        child.expect_exact(text)
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


# stop


def test_stop_keeps_a_checkpoint_and_says_how_to_go_on(cli: Cli, artifact: Artifact, work: Work) -> None:
    worker = work()
    shown = cli("stop").ok()
    assert not held(artifact.path)
    assert worker.wait(timeout=60) == 130
    step = list(artifact.events())[-2]["step"]
    assert shown.out == f"train stopped; a checkpoint of step {step} is kept\n"
    assert shown.err.splitlines() == [
        "train: stopping after this step, with a checkpoint",
        f"to go on: twinctl train --max-steps {MANY} --run tiny",
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


def test_nothing_to_stop(cli: Cli, workspace: Workspace, start: Start) -> None:
    shown = cli("stop").ok()
    assert (shown.out, shown.err) == ("nothing is being worked on in run “tiny”\n", "")
    begin(workspace, "posts", train="train/lora-1")
    (workspace.artifact("train/lora-1").path / "lock").touch()
    start(HOLDER, workspace.artifact("train/lora-1").path)
    assert cli("stop").ok().err == "run “posts” is being worked on: twinctl stop --run posts\n"


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


def test_who_waits_for_the_stop_may_leave(work: Work, start: Start, artifact: Artifact) -> None:
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
    for module in ("twinctl.phases.watch", "twinctl.cli.stop"):
        monkeypatch.setattr(f"{module}.held", lambda folder: True)
    shown = cli("stop")
    assert (shown.code, shown.out) == (5, "")
    assert "the worker runs on another" in shown.err
    write_owner(artifact.path, 1, ["train"])
    monkeypatch.setattr("twinctl.phases.watch.PATIENCE_SECONDS", 0.2)
    shown = cli("stop")
    assert shown.code == 5
    assert "out of reach from here" in shown.err


# Whom a signal reaches


def test_a_stale_owner_is_never_signalled(artifact: Artifact, start: Start) -> None:
    """Between a new holder's lock and its owner.json; or the number has become another process's."""
    (artifact.path / "lock").touch()
    innocent = subprocess.Popen(["sleep", "60"])
    write_owner(artifact.path, innocent.pid, ["train"])
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            assert not signal_worker(artifact, number)  # nobody holds it
            holder = start(HOLDER, artifact.path)
            assert signal_worker(artifact, number)
            assert holder.wait(timeout=60) == -number
            assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_who_only_waits_for_the_lock_is_not_signalled(artifact: Artifact, start: Start, number: signal.Signals) -> None:
    (artifact.path / "lock").touch()
    waiter, holder = start(WAITER, artifact.path), start(HOLDER, artifact.path)
    assert signal_worker(artifact, number)
    assert holder.wait(timeout=60) == -number
    assert waiter.poll() is None


@pytest.mark.parametrize("says_so", [True, False])
def test_the_holder_is_found_after_the_folder_was_moved(
    workspace: Workspace, artifact: Artifact, start: Start, work: Work, home: Path, says_so: bool
) -> None:
    (artifact.path / "lock").touch()
    holder = work() if says_so else start(HOLDER, artifact.path)
    workspace.root.rename(home / "moved")
    moved = Workspace.open(home / "moved").artifact("train/lora-0")
    assert signal_worker(moved, signal.SIGKILL)
    assert holder.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.parametrize("words", [["stop"], ["stop", "--kill"]], ids=" ".join)
def test_the_request_goes_on_to_whoever_inherited_the_lock(
    artifact: Artifact, start: Start, cli: Cli, words: list[str]
) -> None:
    """A command that is stopped just when it has started its worker; a worker's own children."""
    fork = HOLDER.replace("print(", "os.fork() or sys.stdin.read(); print(")
    (artifact.path / "lock").touch()
    parent = start(fork, artifact.path)
    write_owner(artifact.path, parent.pid, ["train"])
    assert cli(*words).ok().out.startswith("train stopped")
    assert not held(artifact.path)


def test_nobody_gets_the_same_signal_twice(artifact: Artifact, start: Start) -> None:
    """A second Ctrl-C would end a command that works by itself in the middle of its cleaning up."""
    (artifact.path / "lock").touch()
    counts = "import signal; signal.signal(signal.SIGINT, lambda *_: print('got it', flush=True))\n"
    holder, told = start(counts + HOLDER, artifact.path), set[tuple[int, int]]()
    for _ in range(3):
        assert signal_worker(artifact, signal.SIGINT, told)
        time.sleep(0.1)
    assert holder.stdin and holder.stdout
    holder.stdin.close()
    assert holder.stdout.read() == "got it\n"


def test_a_viewer_leaves_a_worker_that_it_cannot_reach(artifact: Artifact, monkeypatch: Any) -> None:
    """Another user's, or one in another container: Ctrl-C must not leave the viewer waiting for ever."""
    append_line(artifact.path / "events.jsonl", {"event": "stage", "text": "loading"})
    monkeypatch.setattr("twinctl.phases.watch.held", lambda folder: True)
    monkeypatch.setattr("twinctl.phases.watch.PATIENCE_SECONDS", 0.3)
    (artifact.path / "lock").touch()
    shown: list[str] = []

    def watch(event: dict[str, Any]) -> None:
        shown.append(event["text"])
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


# Watching


def test_an_attached_viewer_has_the_whole_history_and_its_ctrl_c_stops_the_worker(
    artifact: Artifact, start: Start, work: Work
) -> None:
    artifact.append_event("stopped")
    worker = work()
    watcher = start(WATCHER, artifact.path)
    assert watcher.stdout
    until(lambda: len(list(artifact.events())) > 5)
    watcher.send_signal(signal.SIGINT)
    shown = [line for line in watcher.stdout.read().splitlines() if line != "stage"]
    assert (watcher.wait(timeout=60), worker.wait(timeout=60)) == (130, 130)
    assert shown[:3] == ["attempt", "step", "step"]
    assert shown[-3:-1] == ["checkpoint", "stopped"]
    assert shown[-1].startswith("stopped; a checkpoint of step ")


def test_a_second_ctrl_c_kills(artifact: Artifact, start: Start, work: Work) -> None:
    artifact.append_event("stopped")
    worker = work()
    worker.send_signal(signal.SIGSTOP)
    watcher = start(WATCHER, artifact.path)
    time.sleep(0.3)
    for _ in range(2):
        watcher.send_signal(signal.SIGINT)
        time.sleep(0.3)
    assert worker.wait(timeout=60) == -signal.SIGKILL
    assert watcher.wait(timeout=60) == 130


def test_a_restart_that_did_not_end_well_is_not_taken_for_the_result_before(artifact: Artifact, work: Work) -> None:
    assert work(1).wait(timeout=60) == 0
    assert watch_to_the_end(artifact, lambda event: None)[1].slot == "train"
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
    assert "make room" in error.hint
    assert "the same command goes on" in error.hint
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
    monkeypatch.setattr("twinctl.phases.watch.held", lambda folder: True)
    (artifact.path / "lock").touch()
    write_owner(artifact.path, 1, [])
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(BusyError, match="the worker runs on"):
        signal_worker(artifact, signal.SIGINT)
