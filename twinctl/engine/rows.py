"""Prepared tokens as the trainer's data set, and as batches for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twinctl.data.tokens import IGNORED, TRAIN, read_tokens
from twinctl.engine.packing import pack
from twinctl.errors import EngineError


def training_rows(tokens: Path, *, packing: bool, max_length: int, pad_id: int) -> Any:
    """A `datasets.Dataset` of input_ids, labels, seq_lengths and `tokens` (a row's length without pads)."""
    from datasets import Dataset

    table = read_tokens(tokens, TRAIN)
    samples = list(zip(table["input_ids"].to_pylist(), table["labels"].to_pylist(), strict=True))
    if not packing:
        return Dataset.from_dict(
            {
                "input_ids": [ids for ids, _ in samples],
                "labels": [labels for _, labels in samples],
                "tokens": [len(ids) for ids, _ in samples],
            }
        )
    rows = pack(samples, max_length, pad_id)
    return Dataset.from_dict(
        {
            "input_ids": [row.input_ids for row in rows],
            "labels": [row.labels for row in rows],
            "seq_lengths": [row.seq_lengths for row in rows],
            "tokens": [row.tokens for row in rows],
        }
    )


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

    table = read_tokens(tokens, split)
    for start in range(0, table.num_rows, batch_size):
        part = table.slice(start, batch_size)
        ids, labels = part["input_ids"].to_pylist(), part["labels"].to_pylist()
        longest = max(map(len, ids))
        yield {
            "input_ids": torch.tensor([row + [pad_id] * (longest - len(row)) for row in ids]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids]),
            "labels": torch.tensor([row + [IGNORED] * (longest - len(row)) for row in labels]),
        }
