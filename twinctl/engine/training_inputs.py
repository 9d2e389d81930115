"""What a training needs to know of this machine. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinctl.data.tokens import TokensInfo


@dataclass(frozen=True)
class TrainInputs:
    """Where tokens and base are; `parent`: what is trained on from; `forecast`: `Forecast.document`, which the event
    `plan` repeats. `base_name`: the base's public name, for the saved files.
    """

    tokens: Path
    info: TokensInfo
    base: Path
    base_name: str
    forecast: dict[str, Any]
    parent: Path | None = None
