"""How much of a talk a model sees.

What must stay true: the last question is always seen, whole; turns are left out from the oldest on, never one in the
middle; an answer has the room that it may take, up to half of the window, so a talk never starves its own answers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from twinctl.chat.speaker import Speaker, opening
from twinctl.chat.talks import Turn
from twinctl.data.template import Message
from twinctl.recipes.chat import Sampling


@dataclass(frozen=True)
class View:
    """What a speaker is shown, and how many of the oldest turns it is not shown any more."""

    messages: list[Message]
    dropped: int


def view_of(turns: Sequence[Turn], speaker: Speaker, sampling: Sampling) -> View:
    """What the speaker sees of the turns, the last of which is the question. A turn without an answer is passed over.

    A template made for single turns sees the question alone. Raises ConfigError when the template refuses the talk.
    """
    before = [] if speaker.is_single_turn else [turn for turn in turns[:-1] if turn.answer and turn.answer.text.strip()]
    room = speaker.context - min(sampling.max_new_tokens, speaker.context // 2)

    def from_turn(first: int) -> list[Message]:
        said = [message for turn in before[first:] for message in _said(turn)]
        return [*opening(sampling), *said, {"role": "user", "content": turns[-1].question}]

    # Counting takes time that grows with the talk, so the first turn that fits is searched for by halves.
    firsts = range(len(before))
    dropped = bisect_left(firsts, True, key=lambda first: speaker.count(from_turn(first)) <= room)
    return View(from_turn(dropped), dropped)


def _said(turn: Turn) -> list[Message]:
    answer = turn.answer.text if turn.answer else ""
    return [{"role": "user", "content": turn.question}, {"role": "assistant", "content": answer}]
