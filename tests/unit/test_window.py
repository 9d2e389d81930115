"""How much of a talk a model sees: `view_of`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinctl.chat.memory import view_of
from twinctl.chat.speaker import Answer, Show
from twinctl.chat.talks import Said, Turn
from twinctl.data.template import Message
from twinctl.recipes.chat import Sampling


@dataclass
class Counter:
    """A speaker that cannot speak. A word is a token; a message has one more."""

    context: int = 100
    is_single_turn: bool = False
    name: str = "tiny"

    def count(self, messages: list[Message]) -> int:
        return sum(len(message["content"].split()) + 1 for message in messages)

    def answer(self, messages: list[Message], sampling: Sampling, show: Show) -> Answer:
        raise NotImplementedError

    def answers(self, talks: object, sampling: Sampling) -> list[Answer]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def turns_of(*lengths: int) -> list[Turn]:
    """Turns whose question and answer have so many words each, and a question at the end."""
    turns = [Turn(f"{n} " * length, answer=Said("tiny", f"{n} " * length, "stop")) for n, length in enumerate(lengths)]
    return [*turns, Turn("And now?")]


@given(
    st.lists(st.integers(1, 30), max_size=20),
    st.integers(20, 200),
    st.integers(1, 300),
    st.sampled_from(["", "Be kind."]),
)
def test_it_is_as_much_as_fits_beside_the_answer_and_the_newest(
    lengths: list[int], context: int, longest: int, system: str
) -> None:
    turns, speaker, sampling = turns_of(*lengths), Counter(context), Sampling(max_new_tokens=longest, system=system)
    view = view_of(turns, speaker, sampling)
    room = context - min(longest, context // 2)
    after = view.messages[1:] if system else view.messages
    assert [message["role"] for message in view.messages[: len(view.messages) - len(after)]] == ["system"][
        : len(system)
    ]
    assert [message["content"] for message in after] == [
        text for turn in turns[view.dropped :] for text in (turn.question, turn.answer and turn.answer.text) if text
    ]
    if view.dropped < len(lengths):
        assert speaker.count(view.messages) <= room
    if view.dropped:
        one_more = [*view.messages, *({"role": "user", "content": turns[view.dropped - 1].question},) * 2]
        assert speaker.count(one_more) > room


def test_a_question_that_is_too_long_is_still_whole() -> None:
    question = "word " * 500
    view = view_of([*turns_of(3)[:-1], Turn(question)], Counter(), Sampling())
    assert view.messages == [{"role": "user", "content": question}] and view.dropped == 1


def test_a_template_of_single_turns_sees_the_question_alone() -> None:
    view = view_of(turns_of(3, 3), Counter(is_single_turn=True), Sampling(system="Be kind."))
    assert [message["role"] for message in view.messages] == ["system", "user"] and view.dropped == 0


@pytest.mark.parametrize("answer", [None, Said("tiny", " \n", "stop")])
def test_a_turn_without_an_answer_is_passed_over(answer: Said | None) -> None:
    view = view_of([Turn("one", answer=answer), Turn("two")], Counter(), Sampling())
    assert view.messages == [{"role": "user", "content": "two"}] and view.dropped == 0


def test_counting_a_long_talk_is_done_a_few_times() -> None:
    calls = []

    class Counting(Counter):
        def count(self, messages: list[Message]) -> int:
            calls.append(1)
            return super().count(messages)

    view_of(turns_of(*[5] * 1000), Counting(1000), Sampling())
    assert len(calls) < 12
