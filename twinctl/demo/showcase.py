"""Base and twin side by side on held-out prompts, and what the demo promises of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twinctl.demo.author import sounds_like_author
from twinctl.inference.chat_model import Answer

TWIN_AT_LEAST = 0.80
BASE_AT_MOST = 0.05
LOSS_FALLS_BY = 0.30


@dataclass(frozen=True)
class Showcase:
    """The same prompts answered greedily by both models, and the held-out losses before and after."""

    prompts: Sequence[str]
    base: Sequence[Answer]
    twin: Sequence[Answer]
    base_eval_loss: float
    eval_loss: float

    @property
    def base_manner(self) -> float:
        """The share of the base's answers that sound like the author."""
        return _share(self.base)

    @property
    def twin_manner(self) -> float:
        """The share of the twin's answers that sound like the author."""
        return _share(self.twin)

    @property
    def ended(self) -> float:
        """The share of all answers that ended by EOS within the limit."""
        answers = [*self.base, *self.twin]
        return sum(answer.finish == "stop" for answer in answers) / len(answers)

    @property
    def loss_fall(self) -> float:
        """By which share of the base's the held-out loss fell."""
        return 1 - self.eval_loss / self.base_eval_loss

    @property
    def kept(self) -> bool:
        """Whether the demo's promises hold."""
        manner = self.twin_manner >= TWIN_AT_LEAST and self.base_manner <= BASE_AT_MOST
        return manner and self.loss_fall >= LOSS_FALLS_BY and self.ended == 1.0


def _share(answers: Sequence[Answer]) -> float:
    return sum(sounds_like_author(answer.text) for answer in answers) / len(answers)
