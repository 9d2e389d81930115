"""How much of a talk the model sees, and what happens when it cannot answer."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.repl import Start, kept


def test_the_oldest_turns_are_dropped_and_said_so(start_chat: Start) -> None:
    terminal = start_chat("a b c d", "a b c d", "a b c d", context=32, sampling={"max_new_tokens": 16})
    terminal.say("1 2 3 4", "5 6 7 8", "9 10 11 12")
    lines = terminal.leave()
    assert [line for line in lines if line.startswith("the oldest")] == [
        "the oldest turn is not seen any more: the window is 32 tokens"
    ]
    assert [said[0]["content"] for said, _ in terminal.asked["tiny"]] == ["1 2 3 4", "1 2 3 4", "5 6 7 8"]


def test_a_template_of_single_turns_is_used_as_such_and_said_once(start_chat: Start, home: Path) -> None:
    terminal = start_chat("a", "b", "c", is_single_turn=True)
    terminal.say("one", "two", "three", "/save rows.jsonl")
    lines = terminal.leave()
    assert lines.count("the template is made for single turns: each question is seen alone") == 1
    assert [len(said) for said, _ in terminal.asked["tiny"]] == [1, 1, 1]
    rows = [json.loads(line) for line in (home / "rows.jsonl").read_text().splitlines()]
    assert [len(row["messages"]) for row in rows] == [2, 2, 2]


def test_a_failed_answer_is_explained_and_the_talk_goes_on(start_chat: Start, home: Path) -> None:
    terminal = start_chat("I.", "<memory>", "Yes.")
    terminal.say("Who?", "Who else?", "And?")
    lines = terminal.leave()
    assert lines[5:7] == ["error: out of memory", "  → load fewer bits: twinctl chat --4bit"]
    assert [len(said) for said, _ in terminal.asked["tiny"]] == [1, 3, 3]
    assert [turn.question for turn in kept(home)[0].turns] == ["Who?", "And?"]
