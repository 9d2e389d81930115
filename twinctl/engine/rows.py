"""Prepared tokens as the trainer's data set, and as batches for evaluation.

What must stay true: packed samples cannot see each other; a segment's first label is not learnt (it would be predicted
from the sample before); a row's pads are a segment of their own that is not learnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from twinctl.data.packing import best_fit
from twinctl.data.tokens import IGNORED, TRAIN, read_tokens, samples
from twinctl.errors import EngineError


def training_rows(tokens: Path, *, packing: bool, max_length: int, pad_id: int) -> Any:
    """A `datasets.Dataset` of input_ids, labels, seq_lengths and `tokens` (a row's length without pads)."""
    from datasets import Dataset

    found = list(samples(read_tokens(tokens, TRAIN)))  # views of the memory-mapped file, and the labels
    if not packing:
        return Dataset.from_dict(
            {
                "input_ids": [ids for ids, _ in found],
                "labels": [labels for _, labels in found],
                "tokens": [len(ids) for ids, _ in found],
            }
        )
    rows = [
        packed_row([found[index] for index in row], max_length, pad_id)
        for row in best_fit([len(ids) for ids, _ in found], max_length)
    ]
    return Dataset.from_dict({name: [row[name] for row in rows] for name in rows[0]})


def packed_row(parts: Sequence[tuple[Any, Any]], room: int, pad_id: int) -> dict[str, Any]:
    """Samples of (ids, labels) as one row of exactly `room` tokens."""
    import numpy as np

    lengths = [len(ids) for ids, _ in parts]
    tokens = sum(lengths)
    input_ids, labels = np.full(room, pad_id, np.int32), np.full(room, IGNORED, np.int32)
    start = 0
    for ids, sample_labels in parts:
        input_ids[start : start + len(ids)] = ids
        labels[start + 1 : start + len(ids)] = sample_labels[1:]
        start += len(ids)
    lengths += [room - tokens] if tokens < room else []
    return {"input_ids": input_ids, "labels": labels, "seq_lengths": lengths, "tokens": tokens}


class PackedCollator:
    """Packed rows as a batch for stock transformers: restarting position_ids and *no* attention_mask.

    transformers then builds the block mask that keeps the segments apart; with a mask of ones, or with a cache, it
    would let them see each other. (On a GPU, Unsloth's and TRL's own collator does this; there a collator of ours would
    switch packing off.)
    """

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Stack rows of one length: input_ids, labels and position_ids of shape (rows, length)."""
        import torch

        positions = [[position for length in row["seq_lengths"] for position in range(length)] for row in rows]
        return {
            "input_ids": torch.tensor([row["input_ids"] for row in rows]),
            "labels": torch.tensor([row["labels"] for row in rows]),
            "position_ids": torch.tensor(positions),
            "use_cache": False,
        }


def require_segments(batch: Any) -> None:
    """Raise EngineError unless the batch of packed rows keeps its samples apart.

    A library that quietly switches packing off would let every sample attend to its neighbours in the row.
    """
    if "attention_mask" in batch or "position_ids" not in batch:
        raise EngineError(
            f"the trainer would not keep packed samples apart (its batches have {', '.join(batch)})",
            "train without packing: --no-packing",
        )


def evaluation_batches(tokens: Path, split: str, *, batch_size: int, pad_id: int) -> Iterator[dict[str, Any]]:
    """Padded batches of whole samples: input_ids, attention_mask, labels, each (rows, longest)."""
    import torch

    found = samples(read_tokens(tokens, split))
    while part := list(islice(found, batch_size)):
        longest = max(len(ids) for ids, _ in part)
        yield {
            "input_ids": torch.tensor([ids.tolist() + [pad_id] * (longest - len(ids)) for ids, _ in part]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in part]),
            "labels": torch.tensor([labels.tolist() + [IGNORED] * (longest - len(labels)) for _, labels in part]),
        }
