"""The loss on held-out rows counts tokens, keeps samples apart, and hardly ever waits for the device."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from twinctl.data.tokens import IGNORED
from twinctl.engine.evaluation import evaluation_loss


class Model:
    """One whose loss is the first token of a batch; it must be told to keep no cache, and be in no training."""

    training = True
    device = "cpu"

    def train(self, mode: bool) -> None:
        self.training = mode

    def eval(self) -> None:
        self.training = False

    def __call__(self, *, input_ids: Any, labels: Any, use_cache: bool = True) -> Any:
        import torch

        assert not use_cache
        assert not self.training
        assert not torch.is_grad_enabled()
        return SimpleNamespace(loss=input_ids[0, 0])


def _loss(*batches: tuple[float, int], model: Any) -> float | None:
    """The loss of batches that are each (their loss, how many of their tokens are learnt)."""
    import torch

    rows = (
        {"input_ids": torch.tensor([[loss] * 9]), "labels": torch.tensor([[1] * (learnt + 1) + [IGNORED] * 9])}
        for loss, learnt in batches
    )
    return evaluation_loss(model, rows, nullcontext())


def test_each_learnt_token_counts_as_much() -> None:
    model = Model()
    assert _loss((2.0, 1), (4.0, 3), model=model) == 3.5
    assert model.training


def test_a_row_that_teaches_nothing_says_nothing() -> None:
    assert _loss((float("nan"), 0), (4.0, 3), model=Model()) == 4.0
    assert _loss((float("nan"), 0), model=Model()) is None
    assert _loss(model=Model()) is None


def test_the_losses_are_read_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def wait(tensor: Any) -> float:
        raise AssertionError("it waited for the device")

    monkeypatch.setattr(torch.Tensor, "__float__", wait)
    monkeypatch.setattr(torch.Tensor, "item", wait)
    assert _loss((2.0, 1), (4.0, 3), model=Model()) == 3.5
