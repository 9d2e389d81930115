"""What can be typed besides questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.prepared import Prepare
from tests.support.repl import Start, kept, questions


def test_help_lists_every_command(start_chat: Start) -> None:
    terminal = start_chat()
    terminal.say("/help")
    listed = terminal.leave()[2:-1]
    assert [line.split()[0] for line in listed[:-3]] == [
        "/help", "/base", "/compare", "/system", "/set", "/retry", "/edit", "/undo", "/clear", "/save", "/prompts",
        "/exit",
    ]  # fmt: skip
    assert "/set [NAME VALUE]  the sampling, as it is or changed" in listed


def test_unknown_command_says_what_was_meant(start_chat: Start) -> None:
    terminal = start_chat("It is.")
    terminal.say("/retri", " /etc is what?")
    lines = terminal.leave()
    assert lines[2:4] == [
        "error: there is no /retri", "  → did you mean /retry? (a question can begin with a space and then a slash)",
    ]  # fmt: skip
    assert questions(terminal) == ["/etc is what?"]


@pytest.mark.parametrize("word", ["/exit", "/quit", "/bye"])
def test_what_other_chats_call_leaving_leaves(word: str, start_chat: Start) -> None:
    terminal = start_chat()
    terminal.type(f"{word}\r")
    assert not any("there is no" in line for line in terminal.end())
    assert terminal.status == 0


def test_base_and_back(start_chat: Start) -> None:
    terminal = start_chat("I am the twin.", "Again I.", base=("I am the base.",))
    terminal.say("Who?")
    terminal.say("/base", "And who?", label="base")
    terminal.say("/base", "And now?")
    assert [line for line in terminal.leave() if not line.startswith("[")][1:-1] == [
        "tiny> Who?", "I am the twin.", "tiny> /base", "base answers now", "base> And who?", "I am the base.",
        "base> /base", "tiny answers now", "tiny> And now?", "Again I.", "tiny>",
    ]  # fmt: skip
    assert [message["content"] for message in terminal.asked["base"][0][0]] == ["Who?", "I am the twin.", "And who?"]


def test_compare_is_side_by_side_with_the_same_talk_and_seed(start_chat: Start, home: Path) -> None:
    terminal = start_chat("I am the twin.", "I go on.", base=("I am the base of it all.",), columns=80)
    terminal.say("/compare Who?", "And?")
    lines = terminal.leave()
    assert lines[2:6] == [
        "tiny> /compare Who?",
        "base                                    tiny",
        "I am the base of it all.                I am the twin.",
        "[7 tokens, 14.0 tokens/s, ended by      [4 tokens, 8.0 tokens/s, ended by",
    ]
    assert terminal.asked["base"] == terminal.asked["tiny"][:1]
    assert terminal.asked["tiny"][1][0][1]["content"] == "I am the twin."
    turn = kept(home)[0].turns[0]
    assert [each.text for each in turn.beside] == ["I am the base of it all."]


def test_compare_from_now_on_in_a_narrow_window(start_chat: Start) -> None:
    terminal = start_chat("Twin.", "Alone.", base=("Base.",), columns=40)
    terminal.say("/compare", label="tiny + all")
    terminal.say("Who?", label="tiny + all")
    terminal.say("/compare", "And?")
    lines = terminal.leave()
    at = lines.index("tiny + all> Who?")
    assert [line for line in lines[at + 1 :] if line[0] not in "[i"][:4] == [
        "── base ──", "Base.", "── tiny ──", "Twin.",
    ]  # fmt: skip


def test_nobody_to_compare_with(start_chat: Start) -> None:
    terminal = start_chat()
    terminal.say("/compare", "/base")
    assert terminal.leave().count("error: tiny is the only model") == 2


def test_set_changes_shows_and_explains(start_chat: Start) -> None:
    terminal = start_chat("Yes.")
    terminal.say("/set temperature 0.2", "/set stop '###' END", "/set temperature hot", "/set top_p 2", "/set temp 1")
    terminal.say("/set", "/set seed", "Well?")
    text = "\n".join(terminal.leave())
    assert 'stop = ["###", "END"]' in text
    assert "error: temperature cannot be “hot”: Input should be a valid number" in text
    assert "  → temperature: 0 is greedy: always the likeliest token" in text
    assert "error: top_p cannot be “2”: Input should be less than or equal to 1" in text
    assert "error: there is no “temp” to set\n  → did you mean “temperature”?" in text
    assert "seed = 0  the same seed and prompt give the same answer" in text
    assert terminal.asked["tiny"][0][1] == {"temperature": 0.2, "stop": ["###", "END"]}


def test_system_is_seen_shown_and_taken_out(start_chat: Start, home: Path) -> None:
    terminal = start_chat("Arr.", "Yes.")
    terminal.say("/system Talk like a pirate.", "Who?", "/system", "/system none", "And?")
    lines = terminal.leave()
    assert lines[2] == "system: Talk like a pirate.; to have none: /system none"
    assert "system: none" in lines
    assert [said[0]["role"] for said, _ in terminal.asked["tiny"]] == ["system", "user"]


def test_retry_is_another_answer_to_the_same_in_place_of_the_first(start_chat: Start, home: Path) -> None:
    terminal = start_chat("One.", "Two.", "Three.", "Four.")
    terminal.say("/retry", "Count.", "/retry", "/retry", "And?")
    lines = terminal.leave()
    assert lines[2:4] == ["error: nothing was asked yet", "  → type a question, or /prompts for some"]
    assert "[1 token, 2.0 tokens/s, ended by itself, seed 2]" in lines
    assert [how.get("seed", 0) for _, how in terminal.asked["tiny"]] == [0, 1, 2, 0]
    assert [message["content"] for message in terminal.asked["tiny"][3][0]] == ["Count.", "Three.", "And?"]


def test_retry_when_greedy_says_that_it_is_no_use(start_chat: Start) -> None:
    terminal = start_chat("One.", "One.", sampling={"temperature": 0})
    terminal.say("Count.", "/retry")
    lines = terminal.leave()
    assert lines[0].startswith("greedy, ")
    assert "greedy answers do not depend on the seed; to get others: /set temperature 0.7" in lines


def test_undo_and_clear(start_chat: Start) -> None:
    terminal = start_chat("a", "b", "c", "d")
    terminal.say("one", "two", "/undo", "three", "/clear", "four", "/undo", "/undo")
    lines = terminal.leave()
    assert "undone: two" in lines and "cleared: the next question starts a new conversation" in lines
    assert lines[-4:-2] == ["error: nothing was asked yet", "  → type a question, or /prompts for some"]
    assert [len(said) for said, _ in terminal.asked["tiny"]] == [1, 3, 3, 1]


def test_prompts_are_numbered_and_asked(start_chat: Start) -> None:
    terminal = start_chat("Ada.")
    terminal.say("/prompts", "/prompts 2", "/prompts 3")
    lines = terminal.leave()
    assert lines[2:5] == ["  1  What is a harbour for?", "  2  Who bakes the bread?", "to ask one: /prompts NUMBER"]
    assert lines[5:8] == ["tiny> /prompts 2", "Who bakes the bread?", "Ada."]
    assert "error: there is no prompt “3”" in lines


def test_a_mended_answer_becomes_a_row_that_prepare_takes(start_chat: Start, home: Path, prepares: Prepare) -> None:
    terminal = start_chat("For shops.", "Yes.", "cut <wait>")
    terminal.say("What is a harbour for?")
    terminal.type("/edit\r")
    terminal.prompt("edited")
    terminal.until("edited> For shops.")
    terminal.type("\x7f" * len("shops.") + "ships.\r")
    terminal.prompt()
    terminal.type("/edit\r")
    terminal.prompt("edited")
    terminal.say("")
    assert "the answer stays as it was" in terminal.lines
    terminal.say("/save rows.jsonl", "Always?")
    terminal.type("More?\r")
    terminal.until("cut")
    terminal.ctrl_c()
    terminal.prompt()
    terminal.say("/save rows.jsonl")
    lines = terminal.leave()
    assert "saved; to train on it: twinctl prepare -d rows.jsonl" in lines
    assert (
        "saved without 1 turn that has no whole answer (/edit corrects one); "
        "to train on it: twinctl prepare -d rows.jsonl" in " ".join(lines)
    )
    assert [json.loads(line) for line in (home / "rows.jsonl").read_text().splitlines()] == [
        {
            "messages": [
                {"role": "user", "content": "What is a harbour for?"},
                {"role": "assistant", "content": "For ships."},
                {"role": "user", "content": "Always?"},
                {"role": "assistant", "content": "Yes."},
            ],
            "talk": "tiny/1",
        }
    ]
    assert [message["content"] for message in terminal.asked["tiny"][1][0]][1] == "For ships."
    assert "### Response:\nFor ships." in prepares("-d", "rows.jsonl").samples[0].learnt[0]


def test_save_leaves_other_files_alone(start_chat: Start, home: Path) -> None:
    (home / "notes.md").write_text("My notes.\n")
    (home / "rows.jsonl").write_text('{"text": "Mine."}\n')
    terminal = start_chat("Yes.")
    terminal.say("/save", "Is it?", "/save notes.md", "/save no/where.jsonl", "/save rows.jsonl", "/save")
    lines = terminal.leave()
    assert "error: nothing was asked yet" in lines
    assert "error: notes.md is there and holds no JSON Lines" in lines
    assert "error: no/where.jsonl: No such file or directory" in lines
    assert (home / "notes.md").read_text() == "My notes.\n"
    first, second = (home / "rows.jsonl").read_text().splitlines()
    assert first == '{"text": "Mine."}' and (home / "talk-tiny-1.jsonl").read_text() == second + "\n"
