"""Training that is killed, stopped or left alone: the same command ends in the same adapter, to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from .conftest import Folder

STEPS = 20
TRAIN = ("train", "--max-steps", str(STEPS), "--save-every", "6", "--batch-size", "2")
SECRETS = {"HF_TOKEN": "hf_planted0123456789secret", "COMET_API_KEY": "cometplanted9876543210key"}
NOWHERE = {"COMET_URL_OVERRIDE": "http://127.0.0.1:9/clientlib/"}


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """One training from start to end, with secrets in the environment and Comet out of reach."""
    folder = Folder(tmp_path_factory.mktemp("uninterrupted"), {**SECRETS, **NOWHERE})
    folder.type("prepare", "--preset", "tiny")
    folder.type(*TRAIN)
    return folder


def _same(folder: Folder, reference: Folder) -> None:
    assert folder.losses() == reference.losses()
    assert len(folder.losses()) == STEPS
    assert folder.adapter() == reference.adapter()


def test_a_killed_worker_goes_on_from_its_checkpoint(folder: Folder, uninterrupted: Folder) -> None:
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


def test_ctrl_c_stops_at_a_checkpoint_and_the_same_command_goes_on(folder: Folder, uninterrupted: Folder) -> None:
    folder.type("prepare", "--preset", "tiny")
    process = folder.start(*TRAIN, "--json")
    folder.wait_for("step", 3, process)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    stopped_at = folder.events("checkpoint")[-1]["step"]
    assert f"step {stopped_at}" in json.loads(out)["error"]["message"]
    assert stopped_at >= 3
    assert not (folder.artifact("train") / "failure.json").exists()
    assert folder.type(*TRAIN)["metrics"]["resumed_from"] == stopped_at
    _same(folder, uninterrupted)


def test_ctrl_c_while_libraries_load_ends_at_once(folder: Folder) -> None:
    folder.type("prepare", "--preset", "tiny")
    process = folder.start(*TRAIN, "--json")
    assert process.stderr is not None
    assert any("loading Unsloth" in line for line in process.stderr)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
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
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, json.loads(out)["error"]["code"]) == (130, "Interrupted")
    assert not (folder.artifact("train") / "failure.json").exists()
