"""On a CUDA GPU, where Unsloth's trainer is another one: samples stay apart, a killed training resumes alike, and one
whose memory runs out goes on with less.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Folder
from twinctl.workspace.files import read_lines

pytestmark = pytest.mark.gpu

# The loss of a row's second sample alone, with the trainer's own model and collator: as it is; with every token of the
# first sample changed; and both again with the border between them taken away.
MEASURE = """
import json, torch
from pathlib import Path
from twinctl.bundled import BASE
from twinctl.engine.unsloth_import import into_log, start_unsloth
from twinctl.data.tokens import TokensInfo
from twinctl.engine.training_inputs import TrainInputs
from twinctl.pipeline.phase import Attempt
from twinctl.config.train import TrainOptions, TrainRecipe, TrainSettings
from twinctl.workspace.artifact import Artifact
work = Path({work!r})
settings = TrainSettings(recipe=TrainRecipe(batch_size=2), options=TrainOptions(micro_batch=1))
inputs = TrainInputs(Path({tokens!r}), TokensInfo("", 256, None), BASE, "tiny", {{}})
attempt = Attempt(Artifact(work), 1, settings.recipe, settings.options, inputs, "gpu")
with into_log(work / "log.txt"):
    unsloth = start_unsloth()
    from twinctl.engine.training import TrainingAttempt
    training = TrainingAttempt(attempt, settings, unsloth, 0.0)
    training.load()
    trainer, _ = training._trainer(None)
    rows = trainer.train_dataset
    row = next(dict(row) for row in rows if len(row["seq_lengths"]) > 2)
    first, second = row["seq_lengths"][:2]
    labels = [l if first <= i < first + second else -100 for i, l in enumerate(row["labels"])]
    changed = [(t + 7) % 3000 if i < first else t for i, t in enumerate(row["input_ids"])]
    joined = [first + second, *row["seq_lengths"][2:]]
    def loss(ids, lengths):
        batch = trainer.data_collator([dict(row, input_ids=ids, labels=labels, seq_lengths=lengths, tokens=0)])
        batch = {{k: v.cuda() if hasattr(v, "cuda") else v for k, v in batch.items()}}
        with torch.no_grad(), trainer.compute_loss_context_manager():
            return float(training._model(**batch).loss)
    found = [loss(ids, lengths) for lengths in (row["seq_lengths"], joined) for ids in (row["input_ids"], changed)]
print(json.dumps(found))
"""

# Less memory than the plan knows of, as beside another program that takes more while this one trains.
LITTLE = """
import os
from twinctl.planning import batch_plan
planned = batch_plan.fit
def little(*words):
    found = planned(*words)
    import torch
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(float(os.environ["LITTLE_GIB"]) * 2**30 / total)
    return found
batch_plan.fit = little
"""


def test_packed_samples_stay_apart(tmp_path: Path, in_process: Callable[..., Any]) -> None:
    folder = Folder(tmp_path)
    folder.type("prepare", "--preset", "tiny")
    tokens = str(folder.artifact("prepare") / "out")
    alone, changed, joined, joined_changed = in_process(MEASURE.format(work=str(tmp_path), tokens=tokens))
    assert alone == changed, "a neighbour changed the loss"
    assert abs(joined - joined_changed) > 1e-3, "the measurement would not notice a leak"


def test_a_killed_training_goes_on_with_the_same_losses(folder: Folder, tmp_path: Path) -> None:
    command = ("train", "--max-steps", "20", "--save-every", "6")
    folder.type("prepare", "--preset", "tiny")
    process = folder.start(*command)
    folder.wait_for("step", 9, process)
    os.kill(folder.worker(), signal.SIGKILL)
    process.communicate()
    metrics = folder.type(*command)["metrics"]
    assert metrics["resumed_from"] in (6, 12)
    (tmp_path / "whole").mkdir()
    whole = Folder(tmp_path / "whole")
    whole.type("prepare", "--preset", "tiny")
    whole.type(*command)
    resumed, reference = folder.losses(), whole.losses()
    assert resumed.keys() == reference.keys()
    assert max(abs(resumed[step] - reference[step]) for step in reference) < 1e-3


def test_memory_that_runs_out_is_halved_and_trains_the_same(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LITTLE)
    rows, losses, peaks = 64, [], []
    for name, micro_batch, env in (
        ("whole", rows, {}),
        ("half", rows // 2, {}),
        ("little", rows, {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}),
    ):
        (tmp_path / name).mkdir()
        folder = Folder(tmp_path / name, dict(env))
        if env:
            folder.env["LITTLE_GIB"] = str(sum(peaks) / 2)
        folder.type("prepare", "--preset", "tiny")
        split = ("--batch-size", str(rows), "--micro-batch", str(micro_batch))
        document = folder.type("train", "--max-steps", "2", "--gradient-checkpointing", "off", *split)
        losses.append(folder.losses())
        peaks.append(document["metrics"]["peak_memory_gib"])
    assert peaks[1] < peaks[0]
    used = [line["micro_batch"] for line in read_lines(folder.artifact("train") / "attempts.jsonl") if "device" in line]
    assert used == [rows, rows // 2]
    (retry,) = folder.events("retry")
    assert "out of memory" in retry["text"]
    assert peaks[2] <= sum(peaks[:2]) / 2
    assert losses[2] == pytest.approx(losses[0], abs=1e-2)
