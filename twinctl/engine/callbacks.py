"""What happens beside the optimizer's steps: events, checkpoints sealed, the stop request, the count of tokens.

What must stay true: nothing here draws random numbers or waits for the device, so training is the same with and
without it.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# This module is imported inside functions only, when engine.start has imported Unsloth.
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments  # noqa: TID253

from twinctl.engine.checkpoints import seal
from twinctl.engine.models import peak_memory_gib
from twinctl.errors import CheckFailed
from twinctl.phases.base import Attempt
from twinctl.tracking import CometRun
from twinctl.workspace.files import read_json, write_json


@dataclass
class Progress:
    """What a resumed training adds to: kept in each checkpoint."""

    tokens: int = 0
    seconds: float = 0.0
    peak_memory_gib: float = 0.0

    FILE = "twinctl-progress.json"

    @classmethod
    def load(cls, checkpoint: Path | None) -> Progress:
        """That of the checkpoint; a fresh one without."""
        return cls(**read_json(checkpoint / cls.FILE)) if checkpoint else cls()


class TokenCounter:
    """A collator around the trainer's own that remembers how many real tokens each batch has."""

    def __init__(self, collator: Any) -> None:
        self._collator = collator
        self.waiting: deque[int] = deque()

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        """The inner collator's batch."""
        self.waiting.append(sum(row.pop("tokens") for row in rows))
        return self._collator(rows)


class WatchTraining(TrainerCallback):  # type: ignore[misc]
    """Appends events, seals checkpoints, ends training when asked to, and refuses a loss that is not a number."""

    def __init__(self, attempt: Attempt, counter: TokenCounter, progress: Progress) -> None:
        self._attempt, self._counter, self.progress = attempt, counter, progress
        self.tracker: CometRun | None = None
        self._last = 0.0

    @staticmethod
    def steps(trainer: Any) -> int:
        """How many optimizer steps the training has in all."""
        arguments = trainer.args
        batches = math.ceil(len(trainer.train_dataset) / (arguments.per_device_train_batch_size * arguments.world_size))
        an_epoch = max(math.ceil(batches / arguments.gradient_accumulation_steps), 1)
        return int(arguments.max_steps if arguments.max_steps > 0 else math.ceil(an_epoch * arguments.num_train_epochs))

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock."""
        self._last = time.monotonic()
        self._attempt.event("begin", step=state.global_step, steps=state.max_steps)

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        """Count a micro-batch of an accumulated step."""
        self._count()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Count; when asked to stop, have a checkpoint written and end."""
        self._count()
        now = time.monotonic()
        self.progress.seconds += now - self._last
        self._last = now
        if self._attempt.stop.requested is not None:
            control.should_save = True
            control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """One event a step."""
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise CheckFailed(
                f"the loss of step {state.global_step} is {loss}",
                "lower --lr, or raise the warm-up; checkpoints are kept",
            )
        figures = {
            "loss": loss,
            "grad_norm": float(logs.get("grad_norm") or 0.0),
            "learning_rate": float(logs.get("learning_rate") or 0.0),
            "epoch": float(state.epoch or 0.0),
            "tokens": self.progress.tokens,
            "seconds": round(self.progress.seconds, 3),
        }
        self._attempt.event("step", step=state.global_step, steps=state.max_steps, **figures)
        if self.tracker:
            self.tracker.log(figures, state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Make the new checkpoint one to go on from. The clock stands still meanwhile."""
        checkpoint = Path(args.output_dir or "", f"checkpoint-{state.global_step}")
        self.progress.peak_memory_gib = max(self.progress.peak_memory_gib, peak_memory_gib())
        write_json(checkpoint / Progress.FILE, asdict(self.progress))
        seal(checkpoint)
        self._attempt.event("checkpoint", step=state.global_step)
        self._last = time.monotonic()

    def _count(self) -> None:
        if self._counter.waiting:
            self.progress.tokens += self._counter.waiting.popleft()
