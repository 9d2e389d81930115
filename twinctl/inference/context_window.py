"""How much of a conversation a model sees.

What must stay true: the last question is always seen, whole; turns are left out from the oldest on, never one in the
middle; an answer has the room that it may take, up to half of the window, so a conversation always leaves room for its
answers.
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
    """The messages that a model gets, and how many of the oldest turns are not among them."""

    messages: list[Message]
    dropped: int


@dataclass(frozen=True)
class Exchange:
    """A question and its answer, which is empty where there was none."""

    question: str
    answer: str


def view_of(earlier: Sequence[Exchange], question: str, model: ChatModel, sampling: Sampling) -> View:
    """What the model sees of the conversation. An exchange without an answer is left out.

    A template made for single turns gets the question alone. Raises ConfigError if the template refuses the
    conversation.
    """
    answered = [] if model.is_single_turn else [exchange for exchange in earlier if exchange.answer.strip()]
    room = model.context - min(sampling.max_new_tokens, model.context // 2)

    def from_exchange(first: int) -> list[Message]:
        messages = opening(sampling)
        for exchange in answered[first:]:
            messages.append({"role": "user", "content": exchange.question})
            messages.append({"role": "assistant", "content": exchange.answer})
        return [*messages, {"role": "user", "content": question}]

    # Counting takes time that grows with the conversation, so the first exchange that fits is found by bisection.
    firsts = range(len(answered))
    dropped = bisect_left(firsts, True, key=lambda first: model.count(from_exchange(first)) <= room)
    return View(from_exchange(dropped), dropped)
