"""Where the parts of a trained model are: what merging takes, and what a proof asks for its reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twinctl.data.tokens import TokensInfo


@dataclass(frozen=True)
class TrainedModel:
    """What was trained on `tokens`: an adapter on its base, or, with no adapter, a whole model, then `base`."""

    base: Path
    adapter: Path | None
    tokens: Path
    info: TokensInfo
