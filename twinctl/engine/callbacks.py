"""What happens between the optimizer's steps: events, checkpoint manifests, evaluations, the stop request, the count
of tokens.

What must stay true: nothing here draws random numbers that training would have drawn, so training is the same with and
without it; between evaluations nothing here waits for the device, because the trainer has already read a step's
figures.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

# This module is imported inside functions only, after engine.unsloth_import has imported Unsloth.
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments  # noqa: TID253

from twinctl.engine.evaluation import Evaluations
from twinctl.engine.health import Health
from twinctl.engine.models import peak_memory_gib
from twinctl.engine.progress import TrainingProgress
from twinctl.pipeline.checkpoints import write_manifest
from twinctl.pipeline.phase import AnyAttempt
from twinctl.planning.gpu import Utilisation
from twinctl.tracking import CometRun
from twinctl.workspace.files import write_json


class TokenCounter:
    """A collator around the trainer's own that remembers how many real tokens each batch has."""

    def __init__(self, collator: Any) -> None:
        self._collator = collator
        self.waiting: deque[int] = deque()

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        """The inner collator's batch."""
        self.waiting.append(sum(int(row.pop("tokens")) for row in rows))
        return self._collator(rows)


class WatchTraining(TrainerCallback):  # type: ignore[misc]
    """Appends events, writes checkpoint manifests, starts evaluations, and ends training: on request, in time, by
    patience, or when it has gone wrong.
    """

    def __init__(
        self,
        attempt: AnyAttempt,
        counter: TokenCounter,
        progress: TrainingProgress,
        health: Health,
        evaluations: Evaluations,
    ) -> None:
        self._attempt, self._counter, self.progress = attempt, counter, progress
        self._health, self._evaluations = health, evaluations
        self._use = Utilisation()
        self.tracker: CometRun | None = None
        self.deadline = math.inf  # of time.monotonic, for the last step
        self.stop_at: int | None = None
        self.out_of_time = False
        self.try_the_worst: Callable[[], None] = lambda: None
        self._last = 0.0
        self._tokens, self._is_first = 0, True  # of the current step

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Try the longest rows, if rows differ in length, now that the trainer is set up; then start the clock."""
        self.try_the_worst()
        self._last = time.monotonic()
        self._attempt.event("begin", step=state.global_step, steps=state.max_steps)

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        """Count the tokens of a micro-batch."""
        if self._counter.waiting:
            self._tokens += self._counter.waiting.popleft()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count the step; end on request, or when there is no time for another step."""
        self.on_substep_end()  # the trainer does not report a step's last micro-batch as a substep
        now = time.monotonic()
        took = now - self._last
        self.progress.step_done(self._tokens, took, is_first=self._is_first)
        self._last, self._tokens, self._is_first = now, 0, False
        self.out_of_time = now + took > self.deadline and state.global_step < state.max_steps
        if state.global_step == self.stop_at:
            self.progress.ended = True
        if self._attempt.stop.requested is not None or self.out_of_time or self.progress.ended:
            _end(control)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """One event a step, then the evaluation if it is time for one: after the step, before its checkpoint."""
        if not logs or "loss" not in logs:
            return
        figures = {
            "loss": float(logs["loss"]),
            "grad_norm": float(logs.get("grad_norm") or 0.0),
            "learning_rate": float(logs.get("learning_rate") or 0.0),
            "epoch": float(state.epoch or 0.0),
            "tokens": self.progress.tokens,
            "seconds": round(self.progress.seconds, 3),
            "memory_gib": peak_memory_gib(),
        }
        self._attempt.event("step", step=state.global_step, steps=state.max_steps, gpu_use=self._use.latest, **figures)
        if self.tracker:
            self.tracker.log({f"train/{name}": value for name, value in figures.items()}, state.global_step)
        self._health.check(state.global_step, figures["loss"], figures["grad_norm"])
        hurried = self._attempt.stop.requested is not None or self.out_of_time
        if self._evaluations.should_evaluate(state.global_step, state.max_steps, hurried=hurried):
            self._evaluate(state, control)

    def _evaluate(self, state: TrainerState, control: TrainerControl) -> None:
        """Evaluate, without counting the time it takes."""
        self._evaluations.evaluate(state.global_step)
        if self.tracker and self.progress.eval_loss is not None:
            self.tracker.log({"eval/loss": self.progress.eval_loss}, state.global_step)
        if self.progress.ended:
            _end(control)
        self._last = time.monotonic()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Complete the new checkpoint, without counting the time it takes."""
        checkpoint = Path(args.output_dir or "", f"checkpoint-{state.global_step}")
        self.progress.peak_memory_gib = max(self.progress.peak_memory_gib, peak_memory_gib())
        write_json(checkpoint / TrainingProgress.FILE, asdict(self.progress))
        write_manifest(checkpoint)
        self._evaluations.remove_all_but_the_best()
        self._attempt.event("checkpoint", step=state.global_step)
        self._last = time.monotonic()


def _end(control: TrainerControl) -> None:
    control.should_save = True
    control.should_training_stop = True
