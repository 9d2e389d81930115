"""How far a training has come, which its checkpoints store in addition to the trainer's state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twinctl.workspace.files import read_json


@dataclass
class TrainingProgress:
    """The totals that a resumed training adds to, stored in each checkpoint. `first_…`: of attempts' first steps."""

    tokens: int = 0
    seconds: float = 0.0
    first_tokens: int = 0
    first_seconds: float = 0.0
    peak_memory_gib: float = 0.0
    eval_step: int = -1
    eval_loss: float | None = None
    best_step: int = -1
    best_loss: float | None = None
    waited: int = 0  # evaluations since the best
    ended: bool = False  # before the schedule did: by patience, or at stop_at

    FILE = "twinctl-progress.json"

    @classmethod
    def load(cls, checkpoint: Path | None) -> TrainingProgress:
        """Read it from the checkpoint; without one, start at zero."""
        return cls(**read_json(checkpoint / cls.FILE)) if checkpoint else cls()

    def step_done(self, tokens: int, seconds: float, *, is_first: bool) -> None:
        """Add a step to the totals."""
        self.tokens += tokens
        self.seconds += seconds
        if is_first:
            self.first_tokens += tokens
            self.first_seconds += seconds

    def pace(self) -> float | None:
        """Tokens a second; None before the first step. First steps, in which kernels may be compiled (28 s for an 8B
        trained whole, where a step takes 3 s), count only if there are no others.
        """
        tokens, seconds = self.tokens - self.first_tokens, self.seconds - self.first_seconds
        if tokens <= 0 or seconds <= 0:
            tokens, seconds = self.tokens, self.seconds
        return tokens / seconds if seconds > 0 else None
