"""Training that is killed, stopped or left alone: the same command ends in the same adapter, to the last bit.

Kills at moments that nobody chose are in test_engine_kills.py; here each stop is one that a person makes, and what is
said of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import SECRETS, STEPS, TRAIN, Folder
from twinctl.workspace.files import read_lines

# By what share of the loss two splits of one batch can differ. The tiny model computes in bfloat16: 8 bits of
# significand, so each result is rounded by up to 2^-9 of itself, and two runs that sum in another order differ by up to
# 2^-8. This concerns two things. Forward: the loss of a step differs by up to 2^-8 of itself, where a kernel sums in
# another order for another number of rows. Backward: one product over two rows is rounded once, the products of two
# micro-batches are rounded each and then added, so a gradient differs by up to 2^-8 of itself, and with it Adam's step;
# a step changes the loss by gradient times step, so what the training took off the loss since the resume differs by up
# to 2^-8 of that. What is left of the loss and what was taken off it are together the loss at the resume, which is at
# most the largest one: 2^-8 of it is 0.009. Other rows, or rows in another order, change a loss by tenths.
ROUNDING = 2**-8


def _same(folder: Folder, reference: Folder) -> None:
    assert folder.losses() == reference.losses()
    assert len(folder.losses()) == STEPS
    assert folder.adapter() == reference.adapter()


def test_a_killed_worker_goes_on_from_its_checkpoint_also_in_a_moved_workspace(
    folder: Folder, uninterrupted: Folder
) -> None:
    folder.type("prepare", "--preset", "tiny")
    process = folder.start(*TRAIN, "--json")
    folder.wait_for("step", 9, process)
    os.kill(folder.worker(), signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 6
    assert "killed by signal 9" in json.loads(out)["error"]["message"]
    assert not (folder.artifact("train") / "record.json").exists()
    assert folder.type("status")["runs"][0]["phases"][1]["state"] == "partial"

    # Torn as a crash would tear it: the newest checkpoint lacks its optimizer, which the trainer would not notice.
    torn = folder.artifact("train") / "work" / "checkpoints" / "checkpoint-12"
    shutil.copytree(torn.with_name("checkpoint-6"), torn)
    (torn / "optimizer.pt").unlink()

    folder.path = folder.path.rename(folder.path.with_name("there"))
    metrics = folder.type(*TRAIN)["metrics"]
    assert metrics["resumed_from"] == 6
    assert metrics["steps"] == STEPS
    _same(folder, uninterrupted)
    reference = json.loads((uninterrupted.artifact("train") / "record.json").read_text())["metrics"]
    for name in ("train_loss", "eval_loss", "base_eval_loss", "tokens"):
        assert metrics[name] == reference[name], name


def test_a_killed_command_leaves_the_worker_and_the_same_command_watches_it(
    folder: Folder, uninterrupted: Folder
) -> None:
    folder.type("prepare", "--preset", "tiny")
    process = folder.start(*TRAIN)
    folder.wait_for("step", 2, process)
    worker = folder.worker()
    os.killpg(process.pid, signal.SIGHUP)  # the terminal closes …
    process.kill()  # … and the command dies
    process.communicate()
    os.kill(worker, 0)  # raises if the worker died with it

    second, third = folder.start(*TRAIN, "--json"), folder.start(*TRAIN, "--json")
    ends = [each.communicate(timeout=120) for each in (second, third)]
    assert [each.returncode for each in (second, third)] == [0, 0], ends
    assert all(json.loads(out)["metrics"]["steps"] == STEPS for out, _ in ends)
    assert '"attached"' in ends[0][1]
    attempts = (folder.artifact("train") / "attempts.jsonl").read_text().splitlines()
    assert {json.loads(line)["attempt"] for line in attempts} == {1}, "a second worker was started"
    _same(folder, uninterrupted)


@dataclass(frozen=True)
class Stopped:
    """A training that Ctrl-C ended in good order; each test goes on with a copy, as one moves a workspace."""

    folder: Folder
    code: int
    error: dict[str, Any]
    step: int

    def copy(self, path: Path) -> Folder:
        return Folder(Path(shutil.copytree(self.folder.path, path)))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    folder = Folder(tmp_path_factory.mktemp("stopped"))
    folder.type("prepare", "--preset", "tiny")
    process = folder.start(*TRAIN, "--json")
    folder.wait_for("step", 3, process)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    return Stopped(folder, process.returncode, json.loads(out)["error"], folder.events("checkpoint")[-1]["step"])


def test_ctrl_c_stops_at_a_checkpoint_and_the_same_command_goes_on(
    stopped: Stopped, tmp_path: Path, uninterrupted: Folder
) -> None:
    assert (stopped.code, stopped.error["code"]) == (130, "Interrupted")
    assert f"step {stopped.step}" in stopped.error["message"]
    assert 3 <= stopped.step < STEPS
    folder = stopped.copy(tmp_path / "copy")
    assert not (folder.artifact("train") / "failure.json").exists()
    assert folder.type(*TRAIN)["metrics"]["resumed_from"] == stopped.step
    _same(folder, uninterrupted)


def test_another_micro_batch_goes_on_with_what_was_begun(
    stopped: Stopped, tmp_path: Path, uninterrupted: Folder
) -> None:
    folder = stopped.copy(tmp_path / "copy")
    assert folder.type(*TRAIN, "--micro-batch", "1")["metrics"]["resumed_from"] == stopped.step
    losses, reference = folder.losses(), uninterrupted.losses()
    assert losses.keys() == reference.keys()
    assert max(abs(losses[step] - reference[step]) for step in reference) <= ROUNDING * max(reference.values())
    assert losses != reference, "another order of summing would show in the last bits: was it a micro-batch of 1?"
    noted = {line["attempt"]: line["micro_batch"] for line in _attempts(folder) if "micro_batch" in line}
    assert noted == {1: 2, 2: 1}


def test_another_device_is_refused_and_loses_nothing(stopped: Stopped, tmp_path: Path) -> None:
    folder = stopped.copy(tmp_path / "copy")
    lines = [{**line, "device": "cuda"} if "device" in line else line for line in _attempts(folder)]
    attempts = folder.artifact("train") / "attempts.jsonl"
    attempts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    kept = folder.artifact("train") / "work" / "checkpoints"
    before = _content(kept)

    error = folder.type(*TRAIN, code=3)["error"]
    assert "device cuda → cpu" in error["message"]
    assert "--restart" in error["hint"]
    assert before == _content(kept) != {}
    (line,) = [line for line in folder.type("status")["runs"][0]["phases"] if line["slot"] == "train"]
    assert (line["state"], line["step"]) == ("failed", stopped.step)


def _attempts(folder: Folder) -> list[dict[str, Any]]:
    return list(read_lines(folder.artifact("train") / "attempts.jsonl"))


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ctrl_c_while_libraries_load_ends_at_once(folder: Folder) -> None:
    folder.type("prepare", "--preset", "tiny")
    process = folder.start(*TRAIN, "--json")
    assert process.stderr is not None
    assert any("loading Unsloth" in line for line in process.stderr)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out


def test_secrets_are_in_no_file_and_no_output(uninterrupted: Folder) -> None:
    outputs = [json.dumps(uninterrupted.type(*words)) for words in (["status"], ["inspect", "train"], [*TRAIN])]
    written = [path for path in uninterrupted.path.rglob("*") if path.is_file()]
    assert len(written) > 10
    for secret in SECRETS.values():
        assert not any(secret in text for text in outputs)
        for path in written:
            assert secret.encode() not in path.read_bytes(), path


def test_an_unreachable_comet_becomes_an_archive_and_a_warning(uninterrupted: Folder) -> None:
    archives = list((uninterrupted.artifact("train") / "comet").rglob("*.zip"))
    assert len(archives) == 1
    (warning,) = [w for w in uninterrupted.type(*TRAIN)["warnings"] if "Comet" in w]
    assert "comet upload" in warning
    assert Path(archives[0]).name in warning


def test_whoever_watches_is_told_that_somebody_else_stopped_it(folder: Folder) -> None:
    folder.type("prepare", "--preset", "tiny")
    first = folder.start(*TRAIN, "--json")
    folder.wait_for("step", 2, first)
    second = folder.start(*TRAIN, "--json")
    assert second.stderr is not None
    assert any('"attached"' in line for line in second.stderr)
    os.killpg(first.pid, signal.SIGTERM)
    ends = [json.loads(each.communicate(timeout=60)[0])["error"]["code"] for each in (first, second)]
    assert ends == ["Terminated", "Interrupted"]
    assert [first.returncode, second.returncode] == [143, 130]


def test_a_second_ctrl_c_kills_and_is_no_error(folder: Folder) -> None:
    folder.type("prepare", "--preset", "tiny")
    process = folder.start(*TRAIN, "--save-every", "1", "--json")
    folder.wait_for("checkpoint", 2, process)
    os.kill(folder.worker(), signal.SIGSTOP)  # it cannot answer the first
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.5)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["error"]["code"]) == (130, "Interrupted")
    assert not (folder.artifact("train") / "failure.json").exists()
