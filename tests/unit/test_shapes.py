"""A row of any known shape becomes a talk, a text or a counted reason; unknown columns stop everything, by name."""

from __future__ import annotations

import json
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinctl.data.shapes import OURS, SHAPES, MessagesRow, TextRow, column_map, normalized_text, parse_row
from twinctl.errors import ConfigError


def _parse(row: dict[str, Any], *mapping: str) -> Any:
    return parse_row(row, column_map(mapping), "posts.jsonl:7")


def turn(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def said(speaker: str, value: Any) -> dict[str, Any]:
    return {"from": speaker, "value": value}


Q, A = turn("user", "Why?"), turn("assistant", "So.")


def test_a_row_is_a_question_and_its_answer_byte_for_byte() -> None:
    assert _parse({"instruction": " Why?\n", "output": "\tBecause. ", "other": 3}) == MessagesRow(
        "instruction", [turn("user", " Why?\n"), turn("assistant", "\tBecause. ")]
    )


def test_an_input_stands_beside_its_instruction() -> None:
    row = {"instruction": "Sum up.", "input": " A tale.", "output": "Short."}
    assert _parse(row).messages == [turn("user", "Sum up.", input=" A tale."), turn("assistant", "Short.")]


@pytest.mark.parametrize("value", ["", "  \n", None])
def test_an_empty_input_is_none(value: str | None) -> None:
    assert _parse({"instruction": "a", "input": value, "output": "b"}) == _parse({"instruction": "a", "output": "b"})


@pytest.mark.parametrize(
    ("row", "shape"),
    [
        ({"instruction": "Why?", "output": "So."}, "instruction"),
        ({"instruction": "Why?", "answer": "So."}, "instruction"),
        ({"instruction": "Why?", "response": "So."}, "instruction"),
        ({"instruction": "Why?", "output": "So.", "response": "no", "text": "no", "messages": 3}, "instruction"),
        ({"prompt": "Why?", "completion": "So."}, "prompt"),
        ({"prompt": [Q], "completion": [A]}, "prompt"),
        ({"prompt": "Why?", "completion": "So.", "text": "no"}, "prompt"),
        ({"messages": [Q, A]}, "messages"),
        ({"messages": [Q, A], "conversations": 3, "prompt": "no"}, "messages"),
        ({"messages": [turn("user", [{"type": "text", "text": "Wh"}, {"text": "y?"}]), A]}, "messages"),
        ({"messages": [turn("User", "Why?"), turn("ASSISTANT", "So.")]}, "messages"),
        ({"messages": [said("human", "Why?"), said("gpt", "So.")]}, "messages"),
        ({"conversations": [said("human", "Why?"), said("gpt", "So.")]}, "sharegpt"),
        ({"conversations": [said("user", "Why?"), said("chatgpt", "So.")]}, "sharegpt"),
        ({"conversations": [said("human", "Why?"), said("bard", "So.")]}, "sharegpt"),
        ({"conversations": [said("human", "Why?"), said("model", "So.")]}, "sharegpt"),
        ({"conversations": [Q, A], "text": "no"}, "sharegpt"),
        ({"conversations": [{**Q, "from": None, "value": None}, {**said("gpt", "So."), "content": None}]}, "sharegpt"),
    ],
)
def test_the_shape_follows_from_the_columns(row: dict[str, Any], shape: str) -> None:
    assert _parse(row) == MessagesRow(shape, [Q, A])


def test_plain_text_has_perhaps_a_title_and_a_format() -> None:
    assert _parse({"text": " Once.\n"}) == TextRow("text", " Once.\n", "", "txt")
    assert _parse({"text": "# O", "title": "Tale", "format": "md"}) == TextRow("text", "# O", "Tale", "md")
    assert _parse({"text": "a", "title": None, "format": None}) == TextRow("text", "a", "", "txt")
    assert _parse({"text": "a", "title": 3, "format": "HTML", "answers": 1}) == TextRow("text", "a", "", "html")
    assert _parse({"text": "a", "format": "Markdown"}).format == "md"
    assert _parse({"text": "a", "format": "pdf"}).format == "txt"
    assert _parse({"body": "a", "head": "b"}, "text=body", "title=head") == TextRow("text", "a", "b", "txt")


def test_a_text_beside_half_a_pair_counts_only_where_it_is_asked_for() -> None:
    for half in ("instruction", "output", "answer", "prompt", "completion"):
        with pytest.raises(ConfigError, match="has no column"):
            _parse({half: "a", "text": "b"})
        assert _parse({half: "a", "text": "b"}, "text=text") == TextRow("text", "b", "", "txt")


def test_columns_by_other_names_are_mapped() -> None:
    row = {"question": "Why?", "context": "Here.", "reply": "So.", "who": "Be brief.", "instruction": 3, "output": ""}
    mapped = _parse(row, "instruction=question", "input=context", "output=reply", "system=who")
    assert mapped.messages == [turn("system", "Be brief."), turn("user", "Why?", input="Here."), A]
    assert _parse({"question": "Why?", "answer": "So."}, "instruction=question").messages == [Q, A]
    assert _parse({"ask": "Why?", "say": "So."}, "prompt=ask", "completion=say") == MessagesRow("prompt", [Q, A])
    assert _parse({"talk": [Q, A]}, "messages=talk") == MessagesRow("messages", [Q, A])
    assert _parse({"talk": [Q, A]}, "conversations=talk") == MessagesRow("sharegpt", [Q, A])


def test_rows_of_several_shapes_go_through_one_map() -> None:
    rows = [{"question": "Why?", "answer": "So."}, {"messages": [Q, A]}, {"text": "a"}]
    shapes = [parse_row(row, {"instruction": "question"}, "row").shape for row in rows]  # type: ignore[union-attr]
    assert shapes == ["instruction", "messages", "text"]


@pytest.mark.parametrize(
    ("row", "mapping", "missing", "option"),
    [
        ({"question": "a", "output": "b"}, [], "instruction", "instruction"),
        ({"instruction": "a", "reply": "b"}, [], "output", "output"),
        ({"instruction": "a", "output": "b"}, ["input=context"], "context", "input"),
        ({"instruction": "a", "output": "b"}, ["output=answer"], "answer", "output"),
        ({"instruction": "a", "output": "b"}, ["system=who"], "who", "system"),
        ({"prompt": "a", "chosen": "b"}, [], "completion", "completion"),
        ({"text": "a"}, ["title=head"], "head", "title"),
        ({"text": "a"}, ["text=body"], "body", "text"),
        ({"messages": []}, ["messages=talk"], "talk", "messages"),
    ],
)
def test_a_missing_column_is_named_with_those_there_and_the_option(
    row: dict[str, Any], mapping: list[str], missing: str, option: str
) -> None:
    there = ", ".join(row)
    with pytest.raises(ConfigError) as caught:
        _parse(row, *mapping)
    assert caught.value.message == f"posts.jsonl:7 has no column “{missing}”; columns there: {there}"
    assert caught.value.hint == f"name it: --map {option}=COLUMN"
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("row", "there"), [({}, "none"), ({"question": "a", "reply": "b"}, "question, reply")])
def test_columns_of_no_known_shape_are_named(row: dict[str, Any], there: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _parse(row)
    assert caught.value.message == f"posts.jsonl:7 has unrecognized columns: {there}"
    assert "--map instruction=COLUMN" in caught.value.hint and "--map text=COLUMN" in caught.value.hint


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "", "output": "b"}, "empty instruction"),
        ({"instruction": " \n\t", "output": "b"}, "empty instruction"),
        ({"instruction": "a", "output": None}, "empty output"),
        ({"instruction": "a", "output": 3}, "not text"),
        ({"instruction": "a", "output": 0}, "not text"),
        ({"instruction": ["a"], "output": "b"}, "not text"),
        ({"instruction": "a", "input": {}, "output": "b"}, "not text"),
        ({"instruction": "a", "output": "b", "system": 3}, "not text"),
        ({"instruction": "a", "output": "half a pair \ud83d"}, "not Unicode"),
        ({"instruction": "\udc00", "output": "b"}, "not Unicode"),
        ({"instruction": "a", "input": "\udc00", "output": "b"}, "not Unicode"),
        ({"prompt": "", "completion": "b"}, "empty instruction"),
        ({"prompt": "a", "completion": [A]}, "not text"),
        ({"prompt": [], "completion": [A]}, "begins with an answer"),
        ({"prompt": [Q], "completion": []}, "no answer"),
        ({"messages": None}, "not text"),
        ({"messages": "Why?"}, "not text"),
        ({"messages": ["Why?"]}, "not text"),
        ({"messages": []}, "no answer"),
        ({"messages": [Q]}, "no answer"),
        ({"messages": [turn("system", "a"), Q, Q]}, "no answer"),
        ({"messages": [A, Q, A]}, "begins with an answer"),
        ({"messages": [turn("system", "a"), A]}, "begins with an answer"),
        ({"messages": [turn("tool", "a"), A]}, "begins with an answer"),
        ({"messages": [turn("critic", "a"), A]}, "unknown role"),
        ({"messages": [{"content": "a"}, A]}, "unknown role"),
        ({"messages": [turn("user", " "), A]}, "empty instruction"),
        ({"messages": [Q, A, turn("user", None), A]}, "empty instruction"),
        ({"messages": [Q, turn("assistant", "")]}, "empty output"),
        ({"messages": [Q, turn("assistant", None)]}, "empty output"),
        ({"messages": [Q, turn("assistant", 3)]}, "not text"),
        ({"messages": [Q, turn("assistant", None, tool_calls=[{"name": "look"}])]}, "not text"),
        ({"messages": [turn("user", [{"type": "image", "url": "a"}]), A]}, "not text"),
        ({"messages": [turn("user", ["a"]), A]}, "not text"),
        ({"messages": [Q, turn("assistant", "\ud83d")]}, "not Unicode"),
        ({"conversations": [said("human", "a"), said("gpt", "\udc00")]}, "not Unicode"),
        ({"text": ""}, "empty text"),
        ({"text": "\n "}, "empty text"),
        ({"text": None}, "empty text"),
        ({"text": ["a"]}, "not text"),
        ({"text": "a\ud83d"}, "not Unicode"),
        ({"text": "a", "title": "\ud83d"}, "not Unicode"),
    ],
)
def test_a_row_that_cannot_be_learnt_is_dropped_for_a_reason(row: dict[str, Any], reason: str) -> None:
    assert _parse(row) == reason


def test_what_follows_the_last_answer_is_left_out() -> None:
    assert _parse({"messages": [Q, A, turn("user", "And?"), turn("tool", "x")]}).messages == [Q, A]


def test_turns_of_one_role_in_a_row_are_one() -> None:
    turns = [turn("system", "a"), turn("system", ""), turn("system", "b"), Q, turn("system", " "), Q, A, A]
    expected = [turn("system", "a\n\nb"), turn("user", "Why?\n\nWhy?"), turn("assistant", "So.\n\nSo.")]
    assert _parse({"messages": turns}).messages == expected
    assert turns[0] == turn("system", "a")
    assert _parse({"messages": [Q, turn("user", ""), A]}).messages == [Q, A]


@pytest.mark.parametrize("tool", ["tool", "function", "observation"])
def test_tools_have_turns_of_their_own(tool: str) -> None:
    turns = [said("human", "Why?"), said("function_call", "look()"), said(tool, ""), said("gpt", "So.")]
    expected = [Q, turn("assistant", "look()"), turn("tool", ""), A]
    assert _parse({"conversations": turns}).messages == expected


@pytest.mark.parametrize(
    ("row", "system"),
    [
        ({"system": "Be brief.", "instruction": "Why?", "output": "So."}, "Be brief."),
        ({"system": "Be brief.", "prompt": "Why?", "completion": "So."}, "Be brief."),
        ({"system": "Be brief.", "conversations": [Q, A]}, "Be brief."),
        ({"system": "Be brief.", "messages": [turn("system", "And kind."), Q, A]}, "Be brief.\n\nAnd kind."),
        ({"tools": [{"name": "é"}], "messages": [Q, A]}, 'Tools: [{"name": "é"}]'),
        ({"tools": '[{"name": "é"}]', "messages": [turn("system", "a"), Q, A]}, 'Tools: [{"name": "é"}]\n\na'),
        ({"tools": ["look"], "system": "a", "instruction": "Why?", "output": "So."}, 'a\n\nTools: ["look"]'),
        ({"tools": [], "system": None, "messages": [Q, A]}, None),
        ({"tools": "[]", "system": " ", "instruction": "Why?", "output": "So."}, None),
        ({"tools": None, "prompt": [Q], "completion": [A]}, None),
    ],
)
def test_system_and_tools_columns_become_a_system_message(row: dict[str, Any], system: str | None) -> None:
    assert _parse(row).messages == [*([turn("system", system)] if system else []), Q, A]


def test_tools_that_no_json_text_can_hold_are_not_text() -> None:
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]
    for tools in (nested, [{"since": date(2024, 3, 1)}]):
        assert _parse({"tools": tools, "messages": [Q, A]}) == "not text"


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip())


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), st.one_of(st.none(), WORDS))
def test_the_same_talk_in_all_shapes_is_the_same(talk: list[tuple[str, str]], system: str | None) -> None:
    turns = [turn(role, text) for pair in talk for role, text in zip(("user", "assistant"), pair, strict=True)]
    lead = [turn("system", system)] if system else []
    before = {"system": system} if system else {}
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    rows: list[dict[str, Any]] = [
        {"messages": lead + turns},
        {"messages": [turn(m["role"], [{"type": "text", "text": m["content"]}]) for m in lead + turns]},
        {"conversations": [said(names[m["role"]], m["content"]) for m in lead + turns]},
        {"prompt": lead + turns[:-1], "completion": turns[-1:]},
        {**before, "messages": turns},
    ]
    if len(talk) == 1:
        (question, answer) = talk[0]
        rows += [{**before, "instruction": question, name: answer} for name in ("output", "answer", "response")]
        rows.append({**before, "prompt": question, "completion": answer})
    for row in rows:
        assert parse_row(json.loads(json.dumps(row)), {}, "row").messages == lead + turns  # type: ignore[union-attr]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(st.characters())),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
SPEECH = st.lists(
    st.fixed_dictionaries(
        {}, optional={"role": st.sampled_from(["user", "assistant", "system", "tool", None, 3]), "content": JSON}
    ),
    max_size=4,
)


@given(st.dictionaries(st.sampled_from([*OURS, "answer", "tools", "format"]), st.one_of(JSON, SPEECH), max_size=4))
def test_any_row_is_a_sound_talk_or_a_text_or_a_reason_or_refused(row: dict[str, Any]) -> None:
    try:
        parsed = parse_row(row, {}, "row")
    except ConfigError:
        return
    if isinstance(parsed, TextRow):
        assert parsed.text.strip() and parsed.format in ("txt", "md", "html")
        (parsed.text + parsed.title).encode()
    elif isinstance(parsed, MessagesRow):
        assert parsed.shape in SHAPES
        roles = [message["role"] for message in parsed.messages]
        assert roles[-1] == "assistant"
        assert next(role for role in roles if role != "system") == "user"
        assert all(first != second for first, second in pairwise(roles))
        for message in parsed.messages:
            assert message["content"].strip() or message["role"] == "tool"
            "".join(message.values()).encode()
    else:
        assert parsed in REASONS


REASONS = (
    "not text",
    "not Unicode",
    "unknown role",
    "empty instruction",
    "empty output",
    "empty text",
    "no answer",
    "begins with an answer",
)


@pytest.mark.parametrize("pair", ["question", "question=", "answer=question", "tools=a", "=question", ""])
def test_a_mapping_of_another_form_is_refused_with_an_example(pair: str) -> None:
    with pytest.raises(ConfigError, match="does not map a column") as caught:
        column_map((pair,))
    assert "--map instruction=question" in caught.value.hint


def test_a_column_s_name_may_hold_an_equals_sign() -> None:
    assert column_map(("output=a=b",)) == {"output": "a=b"}
    assert column_map(tuple(f"{name}=x" for name in OURS)) == dict.fromkeys(OURS, "x")


@pytest.mark.parametrize("other", ["what is it?", " What\u00a0is\n it? ", "WHAT IS IT?", "What is ｉｔ?"])
def test_texts_that_differ_in_case_space_or_form_are_one(other: str) -> None:
    assert normalized_text(other) == normalized_text("What is it?")


@pytest.mark.parametrize("other", ["What is it", "What was it?", "Whatisit?"])
def test_other_texts_stay_others(other: str) -> None:
    assert normalized_text(other) != normalized_text("What is it?")
