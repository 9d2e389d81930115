"""How far a training has come, as its checkpoints keep it beside what the trainer keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twinctl.workspace.files import read_json


@dataclass
class Progress:
    """What a resumed training adds to: kept in each checkpoint."""

    tokens: int = 0
    seconds: float = 0.0
    peak_memory_gib: float = 0.0
    eval_step: int = -1
    eval_loss: float | None = None
    best_step: int = -1
    best_loss: float | None = None
    waited: int = 0  # evaluations since the best
    ended: bool = False  # before the schedule did: by patience, or at stop_at

    FILE = "twinctl-progress.json"

    @classmethod
    def load(cls, checkpoint: Path | None) -> Progress:
        """That of the checkpoint; a fresh one without."""
        return cls(**read_json(checkpoint / cls.FILE)) if checkpoint else cls()
