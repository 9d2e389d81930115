"""What chat needs of a model: one call that streams an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from twinctl.data.template import Message
from twinctl.recipes.chat import Sampling

Finish = Literal["stop", "length", "interrupted"]


@dataclass(frozen=True)
class Answer:
    """One answer. `finish`: stop (its own EOS), length (max_new_tokens reached) or interrupted; `seconds` includes
    the prompt.
    """

    text: str
    tokens: int
    finish: Finish
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second."""
        return self.tokens / self.seconds if self.seconds else 0.0


class Speaker(Protocol):
    """A loaded model that answers."""

    name: str

    def answer(self, messages: list[Message], sampling: Sampling, show: Callable[[str], None]) -> Answer:
        """Answer the talk, whose last message is the user's; `show` gets each piece of text as it comes.

        Special tokens are never shown. A KeyboardInterrupt during the answer ends it as "interrupted".
        """
        ...
