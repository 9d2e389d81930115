"""What may become of a training, on the real stack: the best weights, patience, too little time or memory, a loss that
explodes, and training on from what another run made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Folder
from twinctl.workspace.files import read_json, read_lines

SHORT = ("train", "--max-steps", "8", "--batch-size", "2", "--tracking", "none", "--samples", "0")

# Memory that runs out at a certain step, for as long as a forward pass holds more than one row.
PLANTED = """
import twinctl.engine.rows as rows

whole, calls = rows.PackedCollator.__call__, []

def collate(self, batch):
    calls.extend([1] if len(batch) > 1 else [])  # evaluations take one row at a time
    if len(batch) > 1 and len(calls) > 6:
        import torch
        raise torch.OutOfMemoryError("planted")
    return whole(self, batch)

rows.PackedCollator.__call__ = collate
"""


@pytest.fixture
def prepared_folder(folder: Folder) -> Folder:
    folder.type("prepare", "--preset", "tiny")
    return folder


def _events(artifact: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_lines(artifact / "events.jsonl") if event["event"] == kind]


def test_the_best_weights_are_kept_and_patience_ends_the_training(prepared_folder: Folder) -> None:
    document = prepared_folder.type(
        "train", "--best", "--patience", "2", "--choose-every", "1", "--max-steps", "60", "--lr", "0.05",
        "--batch-size", "2", "--tracking", "none", "--samples", "0",
    )  # fmt: skip
    metrics = document["metrics"]
    losses = {event["step"]: event["eval_loss"] for event in prepared_folder.events("evaluation")}
    best = min(list(losses)[1:], key=lambda step: losses[step])
    assert (metrics["best_step"], metrics["eval_loss"]) == (best, losses[best])
    assert metrics["steps"] == best + 2 < 60
    assert f"it ended at step {best + 2} of 60" in document["warnings"]
    assert not list(prepared_folder.artifact("train").glob("work*"))
    # The adapter is that of the best step: trained to there and no further, it is the same to the byte.
    kept = prepared_folder.adapter()
    prepared_folder.type("clean")
    to_there = prepared_folder.type(
        "train", "--eval-every", "1", "--max-steps", "60", "--lr", "0.05", "--batch-size", "2",
        "--tracking", "none", "--samples", "0", env={"TWINCTL_TRAIN_STOP_AT": str(best)},
    )  # fmt: skip
    assert (prepared_folder.path / to_there["path"] / "adapter_model.safetensors").read_bytes() == kept


def test_too_little_time_leaves_an_adapter_to_use_and_a_training_to_go_on_with(prepared_folder: Folder) -> None:
    cut = prepared_folder.type(*SHORT, "--max-time", "1s")
    assert cut["metrics"]["steps"] == 1
    assert "it ended at step 1 of 8" in cut["warnings"]
    assert (prepared_folder.path / cut["path"] / "adapter_model.safetensors").is_file()
    (run,) = prepared_folder.type("status")["runs"]
    states = [(phase["state"], phase["step"], phase["reasons"]) for phase in run["phases"] if phase["slot"] == "train"]
    assert states == [("complete", None, []), ("partial", 1, [])]
    whole = prepared_folder.type(*SHORT)
    assert whole["metrics"]["steps"] == 8
    assert whole["metrics"]["resumed_from"] == 1
    assert whole["path"] != cut["path"]


def test_memory_that_runs_out_halves_the_micro_batch_and_goes_on_from_the_checkpoint(
    prepared_folder: Folder, tmp_path: Path
) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(PLANTED)
    prepared_folder.env["PYTHONPATH"] = str(planted)
    document = prepared_folder.type(*SHORT, "--save-every", "2")
    artifact = prepared_folder.artifact("train")
    assert document["metrics"]["steps"] == 8
    assert document["metrics"]["resumed_from"] == 4
    used = [line["micro_batch"] for line in read_lines(artifact / "attempts.jsonl") if "micro_batch" in line]
    assert used == [2, 1]
    (retry,) = _events(artifact, "retry")
    assert "out of memory" in retry["text"]
    assert "micro-batch of 1" in retry["text"]
    assert len(_events(artifact, "plan")) == 1, "the plan says what was tried first, and only then"


def test_a_loss_that_explodes_ends_with_the_last_good_checkpoint(prepared_folder: Folder) -> None:
    document = prepared_folder.type(
        "train", "--lr", "300", "--warmup-steps", "0", "--max-steps", "40", "--save-every", "1", "--batch-size", "2",
        "--keep", "8", "--samples", "0", "--tracking", "none", code=8,
    )  # fmt: skip
    assert "--lr" in document["error"]["hint"]
    artifact = prepared_folder.artifact("train")
    good = [event["step"] for event in prepared_folder.events("step") if event["loss"] < 3]
    kept = {int(path.name.split("-")[1]) for path in (artifact / "work" / "checkpoints").glob("checkpoint-*")}
    assert kept == set(good)
    assert f"the checkpoint of step {good[-1]} is kept" in document["error"]["message"]
    assert not (artifact / "record.json").exists()


def test_training_on_begins_where_the_other_run_ended(prepared_folder: Folder) -> None:
    first = prepared_folder.type(*SHORT)
    prepared_folder.type("prepare", "--preset", "tiny", "--run", "more")
    second = prepared_folder.type(*SHORT, "--from", "tiny", "--run", "more", "--max-steps", "4")
    assert second["metrics"]["base_eval_loss"] == pytest.approx(first["metrics"]["eval_loss"], abs=1e-6)
    assert second["metrics"]["eval_loss"] < first["metrics"]["eval_loss"]
    record = read_json((prepared_folder.path / second["path"]).parent / "record.json")
    assert record["parents"]["parent"].endswith(Path(first["path"]).parent.name)
    again = prepared_folder.type(*SHORT, "--from", "tiny", "--run", "more", "--max-steps", "4")
    assert again["cached"]
    refused = prepared_folder.type(*SHORT, "--from", "tiny", "--run", "more", "--rank", "4", code=3)
    assert "--rank 4 contradicts" in refused["error"]["message"]


def test_detached_it_goes_on_by_itself(prepared_folder: Folder) -> None:
    document = prepared_folder.type(*SHORT, "--detach")
    assert document["state"] == "running"
    followed = prepared_folder.start("logs", "train", "--follow")
    out, err = followed.communicate(timeout=300)
    assert followed.returncode == 0, err
    assert "step 8/8" in out
    assert prepared_folder.type(*SHORT)["cached"]
