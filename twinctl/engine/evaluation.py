"""Evaluations during a training: the loss on held-out rows, answers to read, the best weights, and patience.

What must stay true: the loss is weighted by tokens (a mean of batch means would depend on how rows fall into batches);
training before and after an evaluation is the same as without it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twinctl.config.train import TrainRecipe
from twinctl.data.tokens import IGNORED
from twinctl.engine.progress import TrainingProgress
from twinctl.pipeline.event import SampleAnswer
from twinctl.pipeline.phase import AnyAttempt


def evaluation_loss(
    model: Any, batches: Iterable[dict[str, Any]], context: AbstractContextManager[Any]
) -> float | None:
    """Mean negative log-likelihood of the batches, in nats per learnt token; None if they have no learnt token.

    Draws no random numbers. Reads the losses once, at the end: to read one is to wait for the device.
    """
    import torch
    from accelerate.utils import send_to_device

    was_training = model.training
    model.eval()
    learnt, losses = [], []
    with torch.no_grad(), context:
        for batch in batches:
            if count := int((batch["labels"][:, 1:] != IGNORED).sum()):
                learnt.append(count)
                # Outside training the model would keep a cache; some models let packed samples meet in it.
                on_device = send_to_device(batch, model.device)
                losses.append(model(**{**on_device, "use_cache": False}).loss)
    model.train(was_training)
    if not losses:
        return None
    read: list[float] = torch.stack(losses).tolist()
    return sum(loss * count for loss, count in zip(read, learnt, strict=True)) / sum(learnt)


class Evaluations:
    """Evaluates at intervals, and keeps the best weights in work/best-STEP if the recipe asks for them.

    `loss`, `answers` and `save` (to a folder) are the model's; the results go to events and to `progress`.
    """

    def __init__(
        self,
        attempt: AnyAttempt,
        recipe: TrainRecipe,
        progress: TrainingProgress,
        *,
        interval: int,
        loss: Callable[[], float | None],
        answers: Callable[[], list[SampleAnswer]],
        save: Callable[[Path], None],
    ) -> None:
        self._attempt, self._recipe, self._progress, self._interval = attempt, recipe, progress, interval
        self._loss, self._answers, self._save = loss, answers, save
        self.seconds = 0.0  # the longest so far

    def should_evaluate(self, step: int, steps: int, *, hurried: bool) -> bool:
        """Whether to evaluate after this step: after every interval and at the end. When `hurried`, only if the recipe
        chooses something by the loss.
        """
        is_time = step % self._interval == 0 or step == steps
        return is_time and (not hurried or self._recipe.best or self._recipe.patience is not None)

    def evaluate(self, step: int) -> float | None:
        """Evaluate after this step, let the model answer, and keep what is best."""
        began = time.monotonic()
        loss = self._loss()
        self._progress.eval_step, self._progress.eval_loss = step, loss
        self._attempt.event("evaluation", step=step, eval_loss=loss, seconds=round(time.monotonic() - began, 3))
        if step:  # the base's answers can be seen at any time: chat --base
            answers_began = time.monotonic()
            if answers := self._answers():
                seconds = round(time.monotonic() - answers_began, 3)
                self._attempt.event("samples", step=step, seconds=seconds, answers=[*map(asdict, answers)])
            self._compare(step, loss)
        self.seconds = max(self.seconds, time.monotonic() - began)
        return loss

    def _compare(self, step: int, loss: float | None) -> None:
        progress = self._progress
        if loss is None:
            return
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_step, progress.best_loss, progress.waited = step, loss, 0
            if self._recipe.best:
                shutil.rmtree(self._folder(step), ignore_errors=True)
                self._save(self._folder(step))
        else:
            progress.waited += 1
            progress.ended = progress.ended or progress.waited == self._recipe.patience

    @property
    def best(self) -> Path | None:
        """The folder of the best weights, if the recipe asks for them and there has been an evaluation."""
        wanted = self._recipe.best and self._progress.best_step > 0
        return self._folder(self._progress.best_step) if wanted else None

    def remove_all_but_the_best(self) -> None:
        """Remove the weights that are not the best any more. Call it after a checkpoint only: a resume starts from the
        last one, and may need the weights that were best then.
        """
        for folder in self._attempt.work.glob("best-*"):
            if folder != self.best:
                shutil.rmtree(folder)

    def _folder(self, step: int) -> Path:
        return self._attempt.work / f"best-{step}"
