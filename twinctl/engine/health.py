"""A training that has gone wrong is ended: what its figures must be, step by step.

What must stay true: a step that fails is never written to a checkpoint (the check comes before the trainer saves), and
the steps that led there can be distinguished from the good ones.
"""

from __future__ import annotations

import math
from collections import deque

from twinctl.errors import CheckFailed

HINT = "lower --lr, or raise --warmup-steps"
LOSS_WINDOW = 5  # steps whose mean loss is looked at, and steps in a row without a gradient
NO_WORSE = 1.25  # times the first loss: rows differ
FLOAT16_SKIPS = 20  # the scaler of float16 skips steps whose gradients overflow, some at the start


class Health:
    """Checks each step's figures. `last_good`: the last step whose loss was about the first's or below it; before the
    first, the step that training `begins` after, whose checkpoint was good enough to resume from.
    """

    def __init__(self, vocabulary: int, *, float16: bool, begins: int = 0) -> None:
        self._guess = math.log(vocabulary)  # nats a token of a model that knows nothing
        self._skips = FLOAT16_SKIPS if float16 else 1
        self._losses: deque[float] = deque(maxlen=LOSS_WINDOW)
        self._first: float | None = None
        self._bound = math.inf
        self._still = self._overflows = 0
        self.last_good = begins

    def check(self, step: int, loss: float, grad_norm: float) -> None:
        """Raise CheckFailed if training on cannot help."""
        if not math.isfinite(loss):
            raise CheckFailed(f"the loss of step {step} is {loss}", HINT)
        if loss == 0.0:
            raise CheckFailed(
                f"the loss of step {step} is exactly zero: nothing is learnt from these rows",
                "look at what they teach: twinctl inspect prepare --rows 3",
            )
        self._check_gradients(step, grad_norm)
        self._check_explosion(step, loss)

    def _check_gradients(self, step: int, grad_norm: float) -> None:
        self._overflows = 0 if math.isfinite(grad_norm) else self._overflows + 1
        if self._overflows >= self._skips:
            raise CheckFailed(f"the gradients of step {step} are not numbers (norm {grad_norm})", HINT)
        self._still = self._still + 1 if grad_norm == 0.0 else 0
        if self._still >= LOSS_WINDOW:
            raise CheckFailed(
                f"the gradients of the last {LOSS_WINDOW} steps up to {step} are zero: no weight changes",
                "raise --alpha above a value that rounds to nothing, or train in another --dtype",
            )

    def _check_explosion(self, step: int, loss: float) -> None:
        """A loss worse than guessing and twice the first one does not recover."""
        if self._first is None:
            self._first, self._bound = loss, max(2 * loss, self._guess)
        self._losses.append(loss)
        if loss <= NO_WORSE * self._first:
            self.last_good = step
        mean = sum(self._losses) / len(self._losses)
        if len(self._losses) == LOSS_WINDOW and mean > self._bound:
            raise CheckFailed(
                f"the loss explodes: {mean:.2f} on average over the {LOSS_WINDOW} steps up to {step}, "
                f"where a guess would have {self._guess:.2f}",
                HINT,
            )
