"""Packed samples cannot see each other, and a packed row's loss is that of its samples alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Folder

MEASURE = """
import json, sys
from pathlib import Path
from twinctl.bundled import BASE
from twinctl.engine.models import load_model
from twinctl.engine.rows import PackedCollator, rows_of
from twinctl.engine.unsloth_import import into_log, start_unsloth
import torch
tokens = Path({tokens!r})
with into_log(Path({log!r})):
    unsloth = start_unsloth("cpu")
    model, tokenizer = load_model(unsloth, BASE, max_length=256, dtype="float32")
model.eval()
def total(batch):
    labels = batch["labels"]
    learnt = int((labels[:, 1:] != -100).sum())
    return float(model(**batch).loss) * learnt, learnt
with torch.no_grad():
    def rows_in(packing):
        return [dict(row) for row in rows_of(tokens, "train", packing=packing, max_length=256, pad_id=2)]
    apart = []
    for row in rows_in(False):
        batch = {{name: torch.tensor(row[name])[None].long() for name in ("input_ids", "labels")}}
        apart.append(total({{**batch, "attention_mask": torch.ones_like(batch["input_ids"])}}))
    rows = rows_in(True)
    collate = PackedCollator()
    packed = [total(collate([row])) for row in rows]
    # The same rows with a mask of ones, as a collator that knows nothing of packing would make them.
    leaking = []
    for row in rows[:20]:
        batch = collate([row])
        del batch["position_ids"]
        leaking.append(total({{**batch, "attention_mask": torch.ones_like(batch["input_ids"])}}))
    # Every token of the first sample changed: the second one's logits must not move at all.
    row = next(row for row in rows if len(row["seq_lengths"]) > 2)
    first, second = row["seq_lengths"][:2]
    ids = row["input_ids"].copy()
    ids[:first] = (ids[:first] + 7) % 3000
    def logits_of(row, **more):
        batch = {{k: v for k, v in collate([row]).items() if k != "labels"}}
        return model(**{{**batch, **more}}).logits[0, first : first + second]
    changed = dict(row, input_ids=ids)
    moved = (logits_of(row) - logits_of(changed)).abs().max()
    seen = (logits_of(row, use_cache=True) - logits_of(changed, use_cache=True)).abs().max()
print(json.dumps({{
    "apart": [sum(x) for x in zip(*apart)], "packed": [sum(x) for x in zip(*packed)],
    "leaking": [sum(x) for x in zip(*leaking)], "packed_20": [sum(x) for x in zip(*packed[:20])],
    "moved": float(moved), "seen": float(seen), "rows": len(rows), "samples": len(apart)}}))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, in_process: Callable[..., Any]) -> dict[str, Any]:
    folder = Folder(tmp_path_factory.mktemp("packing"))
    folder.type("prepare", "--preset", "tiny")
    tokens = folder.artifact("prepare") / "out"
    found: dict[str, Any] = in_process(MEASURE.format(tokens=str(tokens), log=str(folder.path / "log.txt")))
    return found


def test_packed_and_unpacked_losses_agree(measured: dict[str, Any]) -> None:
    (loss, count), (packed_loss, packed_count) = measured["apart"], measured["packed"]
    assert measured["rows"] < measured["samples"] / 2
    assert packed_count == count, "a label was lost or learnt twice"
    assert packed_loss == pytest.approx(loss, rel=1e-4)


def test_without_the_borders_the_loss_would_be_another(measured: dict[str, Any]) -> None:
    """Guards the test above: with samples that see each other the figures differ by far more than it allows."""
    assert abs(measured["leaking"][0] / measured["packed_20"][0] - 1) > 1e-3


def test_a_neighbour_changes_nothing(measured: dict[str, Any]) -> None:
    assert measured["moved"] == 0.0
    assert measured["seen"] > 0.1, "the measurement would not notice a leak"


def test_the_measurement_left_nothing_in_the_working_directory() -> None:
    assert not Path("unsloth_compiled_cache").exists()
