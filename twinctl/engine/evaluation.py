"""The loss on held-out rows, weighted by tokens: a mean of batch means would depend on how rows fall into batches."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from twinctl.data.tokens import EVAL, IGNORED
from twinctl.engine.rows import evaluation_batches


def evaluation_loss(
    model: Any, tokens: Path, *, batch_size: int, pad_id: int, context: AbstractContextManager[Any]
) -> float | None:
    """Mean negative log-likelihood in nats a learnt token of the held-out rows; None when none is held out.

    Draws no random numbers, so training before and after it is the same as without it.
    """
    import torch

    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad(), context:
        for batch in evaluation_batches(tokens, EVAL, batch_size=batch_size, pad_id=pad_id):
            on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
            learnt = int((batch["labels"][:, 1:] != IGNORED).sum())
            total += float(model(**on_device).loss) * learnt
            count += learnt
    model.train(was_training)
    return total / count if count else None
