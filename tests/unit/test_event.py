"""An event: the line of events.jsonl it comes from and goes to, and values that are not trusted."""

from __future__ import annotations

from typing import Any

import pytest

from twinctl.pipeline.event import Event, SampleAnswer


@pytest.mark.parametrize(
    "stored",
    [
        {"time": 7, "event": "step", "step": 1, "steps": 2, "loss": 0.5},
        {"event": "stage", "text": "two  words\nand a line"},
        {"time": 1.5, "event": "news", "phase": "of a later version", "values": {"kind": None}},
    ],
)
def test_what_is_stored_comes_back_as_it_was(stored: dict[str, Any]) -> None:
    event = Event.of(stored)
    assert (event.kind, event.time, event.phase) == (stored["event"], stored.get("time"), "")
    assert list(event.stored().items()) == list(stored.items())


@pytest.mark.parametrize("value", [None, "7", True, float("nan"), float("-inf"), [7], {}])
def test_a_value_that_is_no_finite_number_counts_as_missing(value: object) -> None:
    event = Event.of({"event": "step", "time": value, "loss": value, "step": value})
    assert (event.time, event.number("loss"), event.number("loss", 2.5)) == (None, None, 2.5)
    assert (event.whole("step"), event.whole("step", 3)) == (0, 3)


def test_numbers_and_words() -> None:
    event = Event("step", {"loss": 0.5, "step": 3.0, "text": "\x1b[31mred\x1b[0m\n and\u202e  blue"})
    assert (event.number("loss"), event.whole("step"), event.whole("steps", 9)) == (0.5, 3, 9)
    assert (event.text, event.words("step"), event.words("warning")) == ("red and blue", "3.0", "")


@pytest.mark.parametrize("stored", [None, "text", {"prompt": "p"}, [None, 3, []]])
def test_answers_of_another_form_are_none(stored: object) -> None:
    assert Event("samples", {"answers": stored}).answers == []


def test_answers_keep_their_text_as_it_was_written() -> None:
    rows = [{"prompt": "p", "text": "a\nb", "finish": "length", "tokens": 3}, {"prompt": None}]
    assert Event("samples", {"answers": rows}).answers == [
        SampleAnswer("p", "a\nb", "length"),
        SampleAnswer("", "", ""),
    ]
