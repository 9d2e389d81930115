"""How much of a talk a model sees: `view_of`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinctl.config.sampling import Sampling
from twinctl.data.template import Message
from twinctl.inference.chat_model import Answer, Show
from twinctl.inference.context_window import Exchange, view_of


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


def exchanges_of(*lengths: int) -> list[Exchange]:
    """Exchanges whose question and answer have so many words each."""
    return [Exchange(f"{n} " * length, f"{n} " * length) for n, length in enumerate(lengths)]


@given(
    st.lists(st.integers(1, 30), max_size=20),
    st.integers(20, 200),
    st.integers(1, 300),
    st.sampled_from(["", "Be kind."]),
)
def test_it_is_as_much_as_fits_beside_the_answer_and_the_newest(
    lengths: list[int], context: int, longest: int, system: str
) -> None:
    earlier, speaker, sampling = (
        exchanges_of(*lengths),
        Counter(context),
        Sampling(max_new_tokens=longest, system=system),
    )
    view = view_of(earlier, "And now?", speaker, sampling)
    room = context - min(longest, context // 2)
    after = view.messages[1:] if system else view.messages
    assert [message["role"] for message in view.messages[: len(view.messages) - len(after)]] == ["system"][
        : len(system)
    ]
    seen = [text for each in earlier[view.dropped :] for text in (each.question, each.answer)]
    assert [message["content"] for message in after] == [*seen, "And now?"]
    if view.dropped < len(lengths):
        assert speaker.count(view.messages) <= room
    if view.dropped:
        one_more = [*view.messages, *({"role": "user", "content": earlier[view.dropped - 1].question},) * 2]
        assert speaker.count(one_more) > room


def test_a_question_that_is_too_long_is_still_whole() -> None:
    question = "word " * 500
    view = view_of(exchanges_of(3), question, Counter(), Sampling())
    assert view.messages == [{"role": "user", "content": question}] and view.dropped == 1


def test_a_template_of_single_turns_sees_the_question_alone() -> None:
    view = view_of(exchanges_of(3, 3), "And now?", Counter(is_single_turn=True), Sampling(system="Be kind."))
    assert [message["role"] for message in view.messages] == ["system", "user"] and view.dropped == 0


@pytest.mark.parametrize("answer", ["", " \n"])
def test_a_turn_without_an_answer_is_passed_over(answer: str) -> None:
    view = view_of([Exchange("one", answer)], "two", Counter(), Sampling())
    assert view.messages == [{"role": "user", "content": "two"}] and view.dropped == 0


def test_counting_a_long_talk_is_done_a_few_times() -> None:
    calls = []

    class Counting(Counter):
        def count(self, messages: list[Message]) -> int:
            calls.append(1)
            return super().count(messages)

    view_of(exchanges_of(*[5] * 1000), "And now?", Counting(1000), Sampling())
    assert len(calls) < 12
