"""A row becomes messages or a counted reason; a column that is not there stops everything, by name."""

from __future__ import annotations

from typing import Any

import pytest

from twinctl.data.rows import column_map, messages_of, normalised
from twinctl.errors import ConfigError


def _talk(row: dict[str, Any], *mapping: str) -> Any:
    return messages_of(row, column_map(mapping), "posts.jsonl:7")


def test_a_row_is_a_question_and_its_answer_byte_for_byte() -> None:
    assert _talk({"instruction": " Why?\n", "output": "\tBecause. ", "other": 3}) == [
        {"role": "user", "content": " Why?\n"},
        {"role": "assistant", "content": "\tBecause. "},
    ]


def test_an_input_follows_the_instruction() -> None:
    assert _talk({"instruction": "Sum up.", "input": "A tale.", "output": "Short."})[0]["content"] == (
        "Sum up.\n\n### Input:\nA tale."
    )


@pytest.mark.parametrize("value", ["", "  \n", None])
def test_an_empty_input_is_none(value: str | None) -> None:
    assert _talk({"instruction": "a", "input": value, "output": "b"}) == _talk({"instruction": "a", "output": "b"})


def test_columns_by_other_names_are_mapped() -> None:
    row = {"question": "Why?", "context": "Here.", "answer": "So.", "instruction": 3, "output": ""}
    mapped = _talk(row, "instruction=question", "input=context", "output=answer")
    assert [message["content"] for message in mapped] == ["Why?\n\n### Input:\nHere.", "So."]


@pytest.mark.parametrize(
    ("row", "mapping", "missing", "option"),
    [
        ({"question": "a", "output": "b"}, [], "instruction", "instruction"),
        ({"instruction": "a", "answer": "b"}, [], "output", "output"),
        ({"instruction": "a", "output": "b"}, ["input=context"], "context", "input"),
        ({"instruction": "a", "output": "b"}, ["output=answer"], "answer", "output"),
    ],
)
def test_a_missing_column_is_named_with_those_there_and_the_option(
    row: dict[str, Any], mapping: list[str], missing: str, option: str
) -> None:
    there = ", ".join(row)
    with pytest.raises(ConfigError) as caught:
        _talk(row, *mapping)
    assert caught.value.message == f"posts.jsonl:7 has no column “{missing}”; columns there: {there}"
    assert caught.value.hint == f"name it: --map {option}=COLUMN"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "", "output": "b"}, "empty instruction"),
        ({"instruction": " \n\t", "output": "b"}, "empty instruction"),
        ({"instruction": "a", "output": None}, "empty output"),
        ({"instruction": "a", "output": 3}, "output is not a text"),
        ({"instruction": ["a"], "output": "b"}, "instruction is not a text"),
        ({"instruction": "a", "input": {}, "output": "b"}, "input is not a text"),
        ({"instruction": "a", "output": "half a pair \ud83d"}, "output is not Unicode"),
        ({"instruction": "\udc00", "output": "b"}, "instruction is not Unicode"),
    ],
)
def test_a_row_that_cannot_be_learnt_is_dropped_for_a_reason(row: dict[str, Any], reason: str) -> None:
    assert _talk(row) == reason


@pytest.mark.parametrize("pair", ["question", "question=", "prompt=question", "=question", ""])
def test_a_mapping_of_another_form_is_refused_with_an_example(pair: str) -> None:
    with pytest.raises(ConfigError, match="does not map a column") as caught:
        column_map((pair,))
    assert "--map instruction=question" in caught.value.hint


def test_a_column_s_name_may_hold_an_equals_sign() -> None:
    assert column_map(("output=a=b",)) == {"output": "a=b"}


@pytest.mark.parametrize("other", ["what is it?", " What\u00a0is\n it? ", "WHAT IS IT?", "What is ｉｔ?"])
def test_texts_that_differ_in_case_space_or_form_are_one(other: str) -> None:
    assert normalised(other) == normalised("What is it?")


@pytest.mark.parametrize("other", ["What is it", "What was it?", "Whatisit?"])
def test_other_texts_stay_others(other: str) -> None:
    assert normalised(other) != normalised("What is it?")
