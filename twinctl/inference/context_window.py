"""How much of a talk a model sees.

What must stay true: the last question is always seen, whole; turns are left out from the oldest on, never one in the
middle; an answer has the room that it may take, up to half of the window, so a talk never starves its own answers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from twinctl.config.sampling import Sampling
from twinctl.data.template import Message
from twinctl.inference.chat_model import ChatModel, opening


@dataclass(frozen=True)
class View:
    """What a speaker is shown, and how many of the oldest turns it is not shown any more."""

    messages: list[Message]
    dropped: int


@dataclass(frozen=True)
class Exchange:
    """A question and its answer, which is empty where there was none."""

    question: str
    answer: str


def view_of(earlier: Sequence[Exchange], question: str, speaker: ChatModel, sampling: Sampling) -> View:
    """What the speaker sees of the conversation. An exchange without an answer is passed over.

    A template made for single turns sees the question alone. Raises ConfigError when the template refuses the talk.
    """
    before = [] if speaker.is_single_turn else [each for each in earlier if each.answer.strip()]
    room = speaker.context - min(sampling.max_new_tokens, speaker.context // 2)

    def from_exchange(first: int) -> list[Message]:
        messages = opening(sampling)
        for each in before[first:]:
            messages += [{"role": "user", "content": each.question}, {"role": "assistant", "content": each.answer}]
        return [*messages, {"role": "user", "content": question}]

    # Counting takes time that grows with the conversation, so the first that fits is searched for by halves.
    firsts = range(len(before))
    dropped = bisect_left(firsts, True, key=lambda first: speaker.count(from_exchange(first)) <= room)
    return View(from_exchange(dropped), dropped)
