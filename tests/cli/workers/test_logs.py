"""logs: every kind of event as a line, while the work goes on and after."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.support.commands import Cli
from tests.support.workers import Work, begin, type_
from twinctl.workspace.artifact import Artifact
from twinctl.workspace.files import append_line
from twinctl.workspace.lock import is_locked
from twinctl.workspace.workspace import Workspace

pytestmark = pytest.mark.heavy  # real processes, which work, are stopped and are waited for


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
    cli: Cli, training_workspace: Workspace, artifact: Artifact, work: Work
) -> None:
    begin(training_workspace, "tiny", merge="merge/m-0", **{"gguf-f16": "gguf/f16-0", "gguf-q8_0": "gguf/q8_0-0"})
    for age, path in enumerate(["gguf/q8_0-0", "gguf/f16-0", "merge/m-0"]):
        training_workspace.artifact(path).append_event("stage", text=f"this is {path}")
        os.utime(training_workspace.artifact(path).path / "events.jsonl", (1000 - age, 1000 - age))

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
    assert not is_locked(artifact.path)
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
    assert number != signal.SIGINT or err == "no longer watching\n  → it continues; to stop it: twinctl stop train\n"
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
