"""What prepared tokens will come to at the run's training recipe: steps, and what is odd about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twinctl.config.resolve import values_of
from twinctl.config.train import TrainOptions, TrainRecipe
from twinctl.errors import ConfigError


@dataclass(frozen=True)
class Schedule:
    """Optimizer steps in all and per epoch, of rows of `batch_size`; 0 where the settings of train are wrong."""

    steps: int
    steps_per_epoch: int
    batch_size: int
    warnings: list[str]

    @property
    def text(self) -> str:
        """For people."""
        if not self.steps:
            return "not known"
        return f"{self.steps_per_epoch:,} steps an epoch, {self.steps:,} in all at a batch of {self.batch_size}"

    @property
    def figures(self) -> dict[str, int]:
        """For scripts."""
        return {"steps": self.steps, "steps_per_epoch": self.steps_per_epoch, "batch_size": self.batch_size}


def training_schedule(metrics: Mapping[str, Any], preset: str) -> Schedule:
    """From prepare's metrics and what the preset, twinctl.toml and the environment say of train."""
    try:
        recipe = values_of("train", (TrainRecipe, TrainOptions), preset, {}).build(TrainRecipe)
    except ConfigError as error:  # no reason not to prepare
        return Schedule(0, 0, 0, [f"training would be refused: {error.message}"])
    rows = metrics["packed_rows"] if recipe.packing else metrics["train_rows"]
    steps, an_epoch = recipe.steps(rows)
    warnings = []
    if recipe.warmup_steps * 10 > steps:
        fitting = steps // 10
        warnings.append(
            f"{recipe.warmup_steps} of {steps} training steps would be warm-up: "
            f"train --warmup-steps {fitting}, or more --epochs, or a smaller --batch-size"
        )
    return Schedule(steps, an_epoch, recipe.batch_size, warnings)
