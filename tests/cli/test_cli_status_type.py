"""status says what to type for every state that wants something, and typing it mends it; --verify reads every byte."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.artifact_lock import held
from tests.support.commands import Cli, Done
from tests.support.stand_ins import fake_train, rows, write_rows
from twinctl.cli.app import COMMANDS
from twinctl.errors import EngineError, Interrupted
from twinctl.phases import prepare as prepare_module
from twinctl.phases import train as train_module
from twinctl.pipeline.checkpoints import write_manifest

COMPLETE = {"prepare": "complete", "train": "complete"}


@pytest.fixture
def cli(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """What is typed stands in sys.argv, too: results and attempts remember it."""

    def run(*words: object, input: str | None = None) -> Done:
        monkeypatch.setattr(sys, "argv", ["twinctl", *map(str, words)])
        return cli(*words, input=input)

    return run


def lines(cli: Cli, *words: str) -> dict[str, dict[str, Any]]:
    """The current run's phases by slot."""
    (run,) = json.loads(cli("status", *words, "--json").out)["runs"]
    return {line["slot"]: line for line in run["phases"]}


def states(cli: Cli, *words: str) -> dict[str, str]:
    """Their states."""
    return {slot: line["state"] for slot, line in lines(cli, *words).items()}


def type_it(cli: Cli, line: dict[str, Any]) -> Done:
    """Type what status says, as a person would copy it from what is shown."""
    assert f"    {line['slot']}: → {line['type']}" in cli("status").out.splitlines()
    program, *words = shlex.split(line["type"])
    assert program == "twinctl"
    return cli(*words).ok()


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    """Let the fake training end with the error, or well."""

    def run(attempt: Any) -> Any:
        if error:
            raise error
        return fake_train(attempt)

    monkeypatch.setattr(train_module, "PHASE", replace(train_module.PHASE, run=run))


def edit(path: Path) -> None:
    """Another content of the same size and, as far as anybody can set it, of the same time."""
    stat = path.stat()
    path.write_bytes(path.read_bytes().swapcase())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_what_is_complete_wants_nothing(cli: Cli, trained: dict[str, Any]) -> None:
    assert {slot: line["type"] for slot, line in lines(cli).items()} == {"prepare": None, "train": None}
    assert "→" not in cli("status").ok().out


@pytest.mark.parametrize(
    ("error", "state"), [(Interrupted("stop"), "partial"), (EngineError("memory ran out", "less"), "failed")]
)
def test_what_ended_before_its_end_goes_on_as_it_was_begun(
    cli: Cli, prepared: Any, fakes: None, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str
) -> None:
    fail(monkeypatch, error)
    assert cli("train", "--rank", "8", "--quiet", "--wait").code != 0
    line = lines(cli)["train"]
    assert (line["state"], line["type"]) == (state, "twinctl train --rank 8 --run tiny")
    fail(monkeypatch, None)
    type_it(cli, line)
    assert states(cli, "--verify") == COMPLETE
    assert cli("inspect", "train", "--json").document["phases"][0]["record"]["recipe"]["rank"] == 8


def test_the_step_it_goes_on_from_is_that_of_the_newest_sealed_checkpoint(
    cli: Cli, prepared: Any, fakes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of the newest event: a checkpoint may be torn, or gone by --restart."""

    def run(attempt: Any) -> Any:
        for step in (10, 20, 30):
            checkpoint = attempt.work / f"checkpoints/checkpoint-{step}"
            checkpoint.mkdir(parents=True)
            if step < 30:
                write_manifest(checkpoint)
            attempt.event("checkpoint", step=step)
        raise Interrupted("stop")

    monkeypatch.setattr(train_module, "PHASE", replace(train_module.PHASE, run=run))
    assert cli("train").code == 130
    line = lines(cli)["train"]
    assert (line["state"], line["step"]) == ("partial", 20)
    assert "    train: resumes from step 20" in cli("status").out.splitlines()
    fail(monkeypatch, Interrupted("stop"))
    assert cli("train", "--restart").code == 130
    assert lines(cli)["train"]["step"] is None


def test_a_first_prepare_that_failed_is_typed_again_when_its_rows_are_mended(
    cli: Cli, home: Path, prepare: list[str]
) -> None:
    write_rows(home / "posts.jsonl", ["{"])
    assert cli(*prepare, "--run", "mine").code == 3
    line = lines(cli)["prepare"]
    assert (line["state"], line["type"]) == ("failed", f"twinctl {shlex.join(prepare)} --run mine")
    write_rows(home / "posts.jsonl", rows(40))
    type_it(cli, line)
    assert states(cli) == {"prepare": "complete"}


def test_a_prepare_that_was_killed_goes_on(cli: Cli, prepare: list[str], prepared: dict[str, Any], home: Path) -> None:
    folder = home / Path(prepared["path"]).parent
    (folder / "record.json").unlink()
    (folder / "work/out").mkdir(parents=True)
    line = lines(cli)["prepare"]
    assert line["state"] == "partial"
    type_it(cli, line)
    assert states(cli, "--verify") == {"prepare": "complete"}


@pytest.mark.parametrize("slot", ["prepare", "train"])
def test_what_was_killed_between_its_record_and_the_runs_pointer_is_taken_up(
    cli: Cli, trained: dict[str, Any], home: Path, slot: str
) -> None:
    """The first prepare's run then has no preset or model yet."""
    path = home / ".twinctl/runs/tiny.json"
    run = json.loads(path.read_text())
    for name in ("prepare", "train"):
        if slot == "prepare" or name == "train":
            del run["slots"][name]
    pins = run["pins"] if slot == "train" else {}
    path.write_text(json.dumps({**run, "pins": pins}))
    line = lines(cli, "--verify")[slot]
    assert line["state"] == "partial"
    type_it(cli, line)
    assert states(cli)[slot] == "complete"
    assert cli("path", {"prepare": "tokens", "train": "adapter"}[slot]).ok().out.endswith("/out\n")
    assert cli("inspect", slot, "--json").document["phases"][0]["attempts"][-1]["attempt"] == 1  # nothing was done


def _another_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "twinctl.toml").write_text("[prepare]\nmax_length = 200\n[train]\nalpha = 64\n")


def _other_rows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(home / "posts.jsonl", rows(50))


def _a_newer_twinctl(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (prepare_module, train_module):
        monkeypatch.setattr(module, "PHASE", replace(module.PHASE, version=module.PHASE.version + 1))


@pytest.mark.parametrize("change", [_another_setting, _other_rows, _a_newer_twinctl])
def test_what_is_stale_is_made_anew_phase_by_phase(
    cli: Cli,
    home: Path,
    trained: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    change(home, monkeypatch)
    typed = []
    for slot in ("prepare", "train"):
        line = lines(cli)[slot]
        assert (line["state"], bool(line["reasons"])) == ("stale", True)
        type_it(cli, line)
        typed.append(line["type"])
        assert states(cli)[slot] == "complete"
    assert states(cli, "--verify") == COMPLETE
    assert [words.split()[1] for words in typed] == ["prepare", "train"]
    assert cli("path", "adapter").out.strip() != str(Path(trained["path"]).resolve())


def test_stale_is_typed_with_the_flags_it_was_made_by(cli: Cli, home: Path, prepared: Any, fakes: None) -> None:
    cli("train", "--rank", "8", "--lr", "1e-5", "--json").ok()
    (home / "twinctl.toml").write_text("[train]\nalpha = 64\n")
    line = lines(cli)["train"]
    assert line["type"] == "twinctl train --rank 8 --lr 1e-5 --run tiny"
    type_it(cli, line)
    assert states(cli)["train"] == "complete"
    recipe = cli("inspect", "train", "--json").document["phases"][0]["record"]["recipe"]
    assert (recipe["rank"], recipe["alpha"], recipe["learning_rate"]) == (8, 64, 1e-5)


@pytest.mark.parametrize("slot", ["prepare", "train"])
def test_verify_finds_an_edit_that_keeps_size_and_time(cli: Cli, trained: dict[str, Any], slot: str) -> None:
    kind, name = {"prepare": ("tokens", "train.arrow"), "train": ("adapter", "adapter_model.safetensors")}[slot]
    folder = Path(cli("path", kind).ok().out.strip())
    edit(folder / name)
    assert states(cli) == COMPLETE  # sizes only: status answers at once
    shown = cli("status", "--verify")
    assert shown.code == 4
    assert states(cli, "--verify") == COMPLETE | {slot: "damaged"}
    told, typed = [line.strip() for line in shown.out.splitlines() if line.startswith(f"    {slot}:")]
    assert told.endswith(f"{name} is not the file that was written")
    assert typed.startswith(f"{slot}: → twinctl {slot}")
    assert typed.endswith("--run tiny --restart")


@pytest.mark.parametrize("slot", ["prepare", "train"])
@pytest.mark.parametrize("damage", [edit, Path.unlink, lambda path: path.write_bytes(b"cut")])
def test_what_is_damaged_is_made_again(
    cli: Cli, trained: dict[str, Any], slot: str, damage: Callable[[Path], object]
) -> None:
    kind, name = {"prepare": ("tokens", "train.arrow"), "train": ("adapter", "adapter_model.safetensors")}[slot]
    path = Path(cli("path", kind).ok().out.strip(), name)
    whole = path.read_bytes()
    damage(path)
    line = lines(cli, "--verify")[slot]
    assert (line["state"], str(name) in line["failure"]) == ("damaged", True)
    program, *words = shlex.split(line["type"])
    assert (program, words[0]) == ("twinctl", slot)
    cli(*words).ok()
    assert states(cli, "--verify") == COMPLETE
    assert path.read_bytes() == whole


def test_a_damaged_record_is_moved_away_and_its_phase_typed_again(cli: Cli, trained: dict[str, Any]) -> None:
    record = Path(trained["path"]).parent / "record.json"
    record.write_text(record.read_text()[:50])
    line = lines(cli)["train"]
    assert (line["state"], line["type"]) == ("damaged", f"mv {record} {record}.bad")
    subprocess.run(shlex.split(line["type"]), check=True)
    type_it(cli, lines(cli)["train"])
    assert states(cli, "--verify") == COMPLETE


def test_what_is_running_is_watched_to_its_end(cli: Cli, trained: dict[str, Any], home: Path) -> None:
    with held(home / Path(trained["path"]).parent) as other:
        line = lines(cli)["train"]
        assert (line["state"], line["type"]) == ("running", "twinctl logs train --follow --run tiny")
        assert "logs" in COMMANDS
        threading.Timer(0.5, other.terminate).start()
        type_it(cli, line)
        assert other.poll() is not None
    assert states(cli) == COMPLETE
