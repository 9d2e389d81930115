"""The trial before the first step takes the rows that need the most memory, and training never notices it."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

from twinctl.planning.batch_plan import try_longest_rows

LENGTHS = [3, 9, 5, 7]


class Rows(list[dict[str, Any]]):
    """A data set of rows of these lengths."""

    def __init__(self) -> None:
        super().__init__({"input_ids": [1] * length} for length in LENGTHS)
        self.data = {"input_ids": [row["input_ids"] for row in self]}


class Collator:
    """Remembers the lengths of a batch's rows."""

    def __init__(self) -> None:
        self.waiting: deque[int] = deque()

    def __call__(self, rows: list[dict[str, Any]]) -> list[int]:
        lengths = [len(row["input_ids"]) for row in rows]
        self.waiting.append(sum(lengths))
        return lengths


def test_the_longest_rows_are_tried_and_leave_no_trace() -> None:
    import torch

    model, tried = torch.nn.Linear(2, 2), list[list[int]]()
    model.device = torch.device("cpu")

    def step(model: Any, batch: list[int]) -> None:
        tried.append(batch)
        model(torch.rand(2)).sum().backward()

    arguments = SimpleNamespace(per_device_train_batch_size=2, gradient_accumulation_steps=8)
    trainer = SimpleNamespace(
        model=model, args=arguments, train_dataset=Rows(), data_collator=Collator(), training_step=step
    )
    before = torch.get_rng_state()
    try_longest_rows(trainer)
    assert tried == [[9, 7]]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(weight.grad is None for weight in model.parameters())
    assert not trainer.data_collator.waiting
