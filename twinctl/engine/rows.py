"""Prepared tokens as the trainer's data set.

What must stay true: packed samples cannot see each other; a segment's first label is not learnt (it would be predicted
from the sample before); a row's pads are a segment of their own that is not learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twinctl.data.packing import best_fit
from twinctl.data.tokens import IGNORED, read_tokens, samples
from twinctl.errors import EngineError


def rows_of(tokens: Path, split: str, *, packing: bool, max_length: int, pad_id: int) -> Any:
    """A `datasets.Dataset` of input_ids, labels, seq_lengths (when packed) and `tokens` (a row's length without pads),
    as numpy arrays; the samples of a split one by one or, with `packing`, in rows of exactly `max_length`.
    """
    from datasets import Dataset

    every = list(samples(read_tokens(tokens, split)))  # views of the memory-mapped file, and the labels
    lengths = [len(ids) for ids, _ in every]
    if packing:
        parts = [[every[index] for index in row] for row in best_fit(lengths, max_length)]
        rows = [packed_row(part, max_length, pad_id) for part in parts]
    else:
        rows = [{"input_ids": ids, "labels": labels, "tokens": len(ids)} for ids, labels in every]
    names = rows[0] if rows else ()
    return Dataset.from_dict({name: [row[name] for row in rows] for name in names}).with_format("numpy")


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

    transformers then builds the block mask that keeps the segments separate; with a mask of ones, or with a cache, it
    would let them attend to each other. (On a GPU, the collator of Unsloth and TRL does this; another collator
    would switch packing off there.)
    """

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Stack rows of one length: input_ids, labels and position_ids of shape (rows, length)."""
        import numpy as np
        import torch

        positions = [np.concatenate([np.arange(length) for length in row["seq_lengths"]]) for row in rows]
        columns = {name: [row[name] for row in rows] for name in ("input_ids", "labels")}
        stacked = {name: np.stack(column) for name, column in {**columns, "position_ids": positions}.items()}
        return {**{name: torch.tensor(value).long() for name, value in stacked.items()}, "use_cache": False}


def require_segments(batch: Any) -> None:
    """Raise EngineError unless the batch of packed rows keeps its samples separate.

    A library that quietly switches packing off would let every sample attend to its neighbours in the row.
    """
    if "attention_mask" in batch or "position_ids" not in batch:
        raise EngineError(
            f"the trainer would not keep packed samples separate (its batches have {', '.join(batch)})",
            "train without packing: --no-packing",
        )
