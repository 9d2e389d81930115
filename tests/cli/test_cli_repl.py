"""The conversation, in a real pseudo-terminal: what is on its screen, what was asked, and what was kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twinctl.chat import talks
from twinctl.chat.talks import Talk
from twinctl.workspace.workspace import Workspace

from .prepared import Prepare
from .talking import Terminal

Start = Callable[..., Terminal]
GREETING = "temperature 0.7, top-p 0.95, at most 256 tokens, seed 0; /help lists what there is, Ctrl-D leaves"
TWO = "[2 tokens, 4.0 tokens/s, ended by itself]"
KEPT = "kept as talk 1; to go on with it: twinctl chat --resume 1"


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """A conversation with these answers of the twin's, at its first prompt."""
    begun: list[Terminal] = []

    def begin(
        *answers: str,
        base: tuple[str, ...] | None = None,
        columns: int = 120,
        env: dict[str, str] | None = None,
        loads: float = 0.0,
        fails: bool = False,
        resume: int | None = None,
        sampling: dict[str, Any] | None = None,
        **speaker: Any,
    ) -> Terminal:
        said = {"tiny": answers} if base is None else {"base": base, "tiny": answers}
        how = {"answers": said, "loads": loads, "fails": fails, "resume": resume, "sampling": sampling or {}}
        terminal = Terminal(home, {**how, "speaker": speaker}, columns, env or {})
        begun.append(terminal)
        terminal.begin()
        return terminal

    yield begin
    for terminal in begun:
        terminal.kill()


def kept(home: Path) -> list[Talk]:
    return talks.kept(Workspace(home / "ws"), "tiny")


def questions(terminal: Terminal, speaker: str = "tiny") -> list[str]:
    return [said[-1]["content"] for said, _ in terminal.asked[speaker]]


def test_a_talk_remembers_and_its_whole_transcript(start: Start, home: Path) -> None:
    terminal = start("For ships.", "It does.")
    terminal.say("What is a harbour for?", "Does it help?")
    assert terminal.leave() == [
        GREETING,
        "tiny> What is a harbour for?",
        "For ships.",
        TWO,
        "tiny> Does it help?",
        "It does.",
        TWO,
        "tiny>",
        KEPT,
    ]
    assert terminal.status == 0
    assert [message["content"] for message in terminal.asked["tiny"][1][0]] == [
        "What is a harbour for?",
        "For ships.",
        "Does it help?",
    ]
    assert [(turn.question, turn.answer and turn.answer.text) for turn in kept(home)[0].turns] == [
        ("What is a harbour for?", "For ships."),
        ("Does it help?", "It does."),
    ]


def test_nothing_said_keeps_nothing(start: Start, home: Path) -> None:
    terminal = start()
    terminal.say("", "   ")
    assert terminal.leave() == [GREETING, "tiny>", "tiny>", "tiny>"]
    assert kept(home) == []


# Ctrl-C and Ctrl-D


def test_ctrl_c_stops_the_answer_and_not_the_program(start: Start, home: Path) -> None:
    terminal = start("It began <wait> never", "It goes on.")
    terminal.type("Tell me\r")
    terminal.until("It began")
    terminal.ctrl_c()
    terminal.prompt()
    terminal.say("More?")
    assert terminal.leave()[1:-1] == [
        "tiny> Tell me", "It began", "[2 tokens, 4.0 tokens/s, stopped]",
        "tiny> More?", "It goes on.", "[3 tokens, 6.0 tokens/s, ended by itself]", "tiny>",
    ]  # fmt: skip
    answer = kept(home)[0].turns[0].answer
    assert answer and (answer.text, answer.finish) == ("It began ", "interrupted")


def test_an_answer_that_was_stopped_before_its_first_word_is_as_if_never_asked(start: Start, home: Path) -> None:
    terminal = start("<wait>", "Yes.")
    terminal.type("Tell me\r")
    terminal.until("…")
    terminal.ctrl_c()
    terminal.prompt()
    terminal.say("Well?")
    terminal.leave()
    assert terminal.asked["tiny"][1][0] == [{"role": "user", "content": "Well?"}]
    assert [turn.question for turn in kept(home)[0].turns] == ["Well?"]


def test_ctrl_c_at_a_prompt_drops_the_line_or_says_how_to_leave(start: Start) -> None:
    terminal = start("Yes.")
    terminal.type("half a quest")
    terminal.until("half a quest")
    terminal.type("\x03")
    terminal.prompt()
    terminal.type("\x03")
    terminal.prompt()
    assert terminal.leave()[1:] == [
        "tiny> half a quest", "tiny>", "Ctrl-D leaves; Ctrl-C stops an answer", "tiny>",
    ]  # fmt: skip


def test_what_is_typed_during_an_answer_waits_unseen_for_the_prompt(start: Start) -> None:
    terminal = start("It began <wait>", "Yes.")
    terminal.type("Tell me\r")
    terminal.until("It began")
    terminal.type("next")
    time.sleep(0.3)
    terminal.ctrl_c()
    terminal.prompt()
    assert "It beg" in terminal.lines[2] and "next" not in terminal.lines[2]


def test_who_is_told_to_end_ends(start: Start, home: Path) -> None:
    terminal = start("Yes.", "It began <wait>")
    terminal.say("Is it?")
    terminal.type("And?\r")
    terminal.until("It began")
    terminal.signal(signal.SIGTERM)
    assert terminal.end()[-1].startswith("terminated → ")
    assert [turn.answer is not None for turn in kept(home)[0].turns] == [True, False]
    terminal = start(loads=30)
    terminal.signal(signal.SIGTERM)
    assert (terminal.end()[-1], terminal.status) == ("terminated", 143)


# Lines


def test_a_question_of_many_lines(start: Start) -> None:
    terminal = start("a", "b", "c", "d")
    terminal.type("one\\\rtwo\x1b\rthree\r")
    terminal.prompt()
    terminal.type('"""first\rsecond\r"""\r')
    terminal.prompt()
    terminal.type("\x1b[200~pasted \\\n/lines\n\nall\x1b[201~\r")
    terminal.prompt()
    assert terminal.leave()[1:4] == ["tiny> one", "... two", "... three"]
    assert questions(terminal) == ["one\ntwo\nthree", "first\nsecond", "pasted \\\n/lines\n\nall"]


def test_what_was_typed_is_there_in_the_next_session_without_secrets(start: Start, home: Path) -> None:
    env = {"HF_TOKEN": "hf_secretsecret"}
    terminal = start("a", env=env)
    terminal.say("my token is hf_secretsecret", "/undo")
    terminal.leave()
    terminal = start("b", env=env)
    terminal.type("\x1b[A\x1b[A\r")
    terminal.prompt()
    terminal.leave()
    assert questions(terminal) == ["my token is <HF_TOKEN>"]
    assert (home / "ws" / "history").stat().st_mode & 0o777 == 0o600
    for path in (home / "ws").rglob("*"):
        assert path.is_dir() or b"secretsecret" not in path.read_bytes(), path


def test_tab_completes_commands_and_what_they_take(start: Start, home: Path) -> None:
    (home / "mine.jsonl").touch()
    terminal = start("Yes.", sampling={"seed": 3})
    terminal.type("/s\t")
    terminal.until(lambda lines: [line.strip() for line in lines[2:]] == ["/system", "/set", "/save"])
    terminal.type("\x15")
    for begun, whole, rest in (
        ("/sy", "/system ", "Be kind."), ("/set repe", "/set repetition_penalty ", "1.5"), ("/p", "/prompts ", "2"),
        ("/save mi", "/save mine.jsonl", ""),
    ):  # fmt: skip
        terminal.type(f"{begun}\t")
        terminal.until(f"> {whole}".rstrip())
        terminal.say(rest)
    terminal.leave()
    assert terminal.asked["tiny"][0] == [
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who bakes the bread?"}],
        {"seed": 3, "repetition_penalty": 1.5, "system": "Be kind."},
    ]
    assert "Yes." in (home / "mine.jsonl").read_text()


# Commands


def test_help_lists_every_command(start: Start) -> None:
    terminal = start()
    terminal.say("/help")
    listed = terminal.leave()[2:-1]
    assert [line.split()[0] for line in listed[:-3]] == [
        "/help", "/base", "/compare", "/system", "/set", "/retry", "/edit", "/undo", "/clear", "/save", "/prompts",
        "/exit",
    ]  # fmt: skip
    assert "/set [NAME VALUE]  the sampling, as it is or changed" in listed


def test_unknown_command_says_what_was_meant(start: Start) -> None:
    terminal = start("It is.")
    terminal.say("/retri", " /etc is what?")
    lines = terminal.leave()
    assert lines[2:4] == [
        "error: there is no /retri", "  → did you mean /retry? (a question can begin with a space and then a slash)",
    ]  # fmt: skip
    assert questions(terminal) == ["/etc is what?"]


def test_base_and_back(start: Start) -> None:
    terminal = start("I am the twin.", "Again I.", base=("I am the base.",))
    terminal.say("Who?")
    terminal.say("/base", "And who?", label="base")
    terminal.say("/base", "And now?")
    assert [line for line in terminal.leave() if not line.startswith("[")][1:-1] == [
        "tiny> Who?", "I am the twin.", "tiny> /base", "base answers now", "base> And who?", "I am the base.",
        "base> /base", "tiny answers now", "tiny> And now?", "Again I.", "tiny>",
    ]  # fmt: skip
    assert [message["content"] for message in terminal.asked["base"][0][0]] == ["Who?", "I am the twin.", "And who?"]


def test_compare_is_side_by_side_with_the_same_talk_and_seed(start: Start, home: Path) -> None:
    terminal = start("I am the twin.", "I go on.", base=("I am the base of it all.",), columns=80)
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


def test_compare_from_now_on_in_a_narrow_window(start: Start) -> None:
    terminal = start("Twin.", "Alone.", base=("Base.",), columns=40)
    terminal.say("/compare", label="tiny + all")
    terminal.say("Who?", label="tiny + all")
    terminal.say("/compare", "And?")
    lines = terminal.leave()
    at = lines.index("tiny + all> Who?")
    assert [line for line in lines[at + 1 :] if line[0] not in "[i"][:4] == [
        "── base ──", "Base.", "── tiny ──", "Twin.",
    ]  # fmt: skip


def test_nobody_to_compare_with(start: Start) -> None:
    terminal = start()
    terminal.say("/compare", "/base")
    assert terminal.leave().count("error: nobody but tiny is here") == 2


def test_set_changes_shows_and_explains(start: Start) -> None:
    terminal = start("Yes.")
    terminal.say("/set temperature 0.2", "/set stop '###' END", "/set temperature hot", "/set top_p 2", "/set temp 1")
    terminal.say("/set", "/set seed", "Well?")
    text = "\n".join(terminal.leave())
    assert 'stop = ["###", "END"]' in text
    assert "error: temperature cannot be “hot”: Input should be a valid number" in text
    assert "  → temperature: 0 is greedy: always the likeliest token" in text
    assert "error: top_p cannot be “2”: Input should be less than or equal to 1" in text
    assert "error: there is no “temp” to set\n  → did you mean temperature?" in text
    assert "seed = 0  the same seed and prompt give the same answer" in text
    assert terminal.asked["tiny"][0][1] == {"temperature": 0.2, "stop": ["###", "END"]}


def test_system_is_seen_shown_and_taken_out(start: Start, home: Path) -> None:
    terminal = start("Arr.", "Yes.")
    terminal.say("/system Talk like a pirate.", "Who?", "/system", "/system none", "And?")
    lines = terminal.leave()
    assert lines[2] == "system: Talk like a pirate.; to have none: /system none"
    assert "system: none" in lines
    assert [said[0]["role"] for said, _ in terminal.asked["tiny"]] == ["system", "user"]


def test_retry_is_another_answer_to_the_same_in_place_of_the_first(start: Start, home: Path) -> None:
    terminal = start("One.", "Two.", "Three.", "Four.")
    terminal.say("/retry", "Count.", "/retry", "/retry", "And?")
    lines = terminal.leave()
    assert lines[2:4] == ["error: nothing was asked yet", "  → type a question, or /prompts for some"]
    assert "[1 tokens, 2.0 tokens/s, ended by itself, seed 2]" in lines
    assert [how.get("seed", 0) for _, how in terminal.asked["tiny"]] == [0, 1, 2, 0]
    assert [message["content"] for message in terminal.asked["tiny"][3][0]] == ["Count.", "Three.", "And?"]


def test_retry_when_greedy_says_that_it_is_no_use(start: Start) -> None:
    terminal = start("One.", "One.", sampling={"temperature": 0})
    terminal.say("Count.", "/retry")
    lines = terminal.leave()
    assert lines[0].startswith("greedy, ")
    assert "greedy answers do not depend on the seed; to have others: /set temperature 0.7" in lines


def test_undo_and_clear(start: Start) -> None:
    terminal = start("a", "b", "c", "d")
    terminal.say("one", "two", "/undo", "three", "/clear", "four", "/undo", "/undo")
    lines = terminal.leave()
    assert "undone: two" in lines and "cleared: the next question begins anew" in lines
    assert lines[-4:-2] == ["error: nothing was asked yet", "  → type a question, or /prompts for some"]
    assert [len(said) for said, _ in terminal.asked["tiny"]] == [1, 3, 3, 1]


def test_prompts_are_numbered_and_asked(start: Start) -> None:
    terminal = start("Ada.")
    terminal.say("/prompts", "/prompts 2", "/prompts 3")
    lines = terminal.leave()
    assert lines[2:5] == ["  1  What is a harbour for?", "  2  Who bakes the bread?", "to ask one: /prompts NUMBER"]
    assert lines[5:8] == ["tiny> /prompts 2", "Who bakes the bread?", "Ada."]
    assert "error: there is no prompt “3”" in lines


def test_a_mended_answer_becomes_a_row_that_prepare_takes(start: Start, home: Path, prepares: Prepare) -> None:
    terminal = start("For shops.", "Yes.", "cut <wait>")
    terminal.say("What is a harbour for?")
    terminal.type("/edit\r")
    terminal.prompt("mended")
    terminal.until("mended> For shops.")
    terminal.type("\x7f" * len("shops.") + "ships.\r")
    terminal.prompt()
    terminal.type("/edit\r")
    terminal.prompt("mended")
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
        "saved without 1 turn that has no whole answer (/edit mends one); to train on it: twinctl prepare -d rows.jsonl"
        in " ".join(lines)
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


def test_save_leaves_other_files_alone(start: Start, home: Path) -> None:
    (home / "notes.md").write_text("My notes.\n")
    (home / "rows.jsonl").write_text('{"text": "Mine."}\n')
    terminal = start("Yes.")
    terminal.say("/save", "Is it?", "/save notes.md", "/save no/where.jsonl", "/save rows.jsonl", "/save")
    lines = terminal.leave()
    assert "error: nothing was asked yet" in lines
    assert "error: notes.md is there and holds no JSON Lines" in lines
    assert "error: no/where.jsonl: No such file or directory" in lines
    assert (home / "notes.md").read_text() == "My notes.\n"
    first, second = (home / "rows.jsonl").read_text().splitlines()
    assert first == '{"text": "Mine."}' and (home / "talk-tiny-1.jsonl").read_text() == second + "\n"


# What the model can see


def test_the_oldest_turns_are_dropped_and_said_so(start: Start) -> None:
    terminal = start("a b c d", "a b c d", "a b c d", context=32, sampling={"max_new_tokens": 16})
    terminal.say("1 2 3 4", "5 6 7 8", "9 10 11 12")
    lines = terminal.leave()
    assert [line for line in lines if line.startswith("the oldest")] == [
        "the oldest turn is not seen any more: the window is 32 tokens"
    ]
    assert [said[0]["content"] for said, _ in terminal.asked["tiny"]] == ["1 2 3 4", "1 2 3 4", "5 6 7 8"]


def test_a_template_of_single_turns_is_used_as_such_and_said_once(start: Start, home: Path) -> None:
    terminal = start("a", "b", "c", is_single_turn=True)
    terminal.say("one", "two", "three", "/save rows.jsonl")
    lines = terminal.leave()
    assert lines.count("tiny’s template is made for single turns: it sees this question alone") == 1
    assert [len(said) for said, _ in terminal.asked["tiny"]] == [1, 1, 1]
    rows = [json.loads(line) for line in (home / "rows.jsonl").read_text().splitlines()]
    assert [len(row["messages"]) for row in rows] == [2, 2, 2]


def test_a_failed_answer_is_explained_and_the_talk_goes_on(start: Start, home: Path) -> None:
    terminal = start("<memory>", "Yes.")
    terminal.say("Who?", "And?")
    lines = terminal.leave()
    assert lines[2:4] == ["error: out of memory", "  → load fewer bits: twinctl chat --4bit"]
    assert [len(said) for said, _ in terminal.asked["tiny"]] == [1, 1]
    assert [turn.question for turn in kept(home)[0].turns] == ["And?"]


# What is shown


def test_answers_are_text_and_never_commands_to_the_terminal(start: Start) -> None:
    wild = "[bold]No[/bold] \x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x9b2J\x00\x7f\u202egnp.\u2066 :smile: \\[x]"
    terminal = start(wild, "line\nline\tend", base=(wild,))
    terminal.say("Who?", "And?")
    answer_begins = terminal.raw.index("[bold]")
    answered = terminal.raw[answer_begins : terminal.raw.index("\\[x]")]
    assert not set("\x1b\x07\x9b\x00\x7f\u202e\u2066") & set(answered)
    lines = terminal.leave()
    assert lines[2] == "[bold]No[/bold] [31mred[0m ]0;title [2J2Jgnp. :smile: \\[x]"
    assert lines[5:7] == ["line", "line    end"]


def test_side_by_side_they_are_text_as_well(start: Start) -> None:
    wild = "[b]No[/b] \x1b[31mred :smile:"
    terminal = start(wild, base=(wild,), columns=80)
    terminal.say("/compare Who?")
    assert f"{'[b]No[/b] [31mred :smile:':<40}[b]No[/b] [31mred :smile:" in terminal.leave()


@pytest.mark.parametrize("columns", [40, 120])
def test_wide_and_right_to_left_characters(start: Start, columns: int) -> None:
    text = "東京の港 שלום עולם مرحبا café👍🏽"
    terminal = start(text, text, base=(text,), columns=columns)
    terminal.say("漢字は読めますか？ שלום", "/compare 港？")
    lines = terminal.leave()
    assert questions(terminal) == ["漢字は読めますか？ שלום", "港？"]
    assert any("東京の港" in line and "עולם" in line for line in lines)
    assert terminal.status == 0


def test_forty_columns(start: Start) -> None:
    terminal = start("A harbour is for the ships that come in with the tide.", columns=40)
    terminal.say("What is a harbour for, when all is said and done?", "/help")
    lines = terminal.leave()
    assert max(map(len, lines)) <= 40
    at = lines.index("A harbour is for the ships that come in")
    assert lines[at + 1 : at + 4] == ["with the tide.", "[12 tokens, 24.0 tokens/s, ended by", "itself]"]
    assert "/base\n    talk to the base model, and back to the\ntwin" not in "\n".join(lines)
    assert "/base" in lines and "/set [NAME VALUE]" in lines


def test_no_color_means_none(start: Start) -> None:
    terminal = start("For ships.", env={"NO_COLOR": "1"})
    terminal.say("What?", "/nothing")
    terminal.leave()
    assert "\x1b[2m" not in terminal.raw and "\x1b[3" not in terminal.raw
    coloured = start("For ships.")
    coloured.say("What?")
    coloured.leave()
    assert "\x1b[2m[2 tokens" in coloured.raw


def test_a_dumb_terminal_gets_plain_lines(start: Start) -> None:
    terminal = start("For ships.", "Yes.", env={"TERM": "dumb"})
    terminal.say("What for?")
    terminal.type("one\\\r")
    terminal.until("...")
    terminal.say("two")
    terminal.ctrl_c()
    terminal.prompt()
    lines = terminal.leave()
    assert [line.replace(" ^C", "") for line in lines if not line.startswith("loading")][1:] == [
        "tiny> What for?", "For ships.", TWO, "tiny> one\\", "... two", "Yes.",
        "[1 tokens, 2.0 tokens/s, ended by itself]", "tiny>", "Ctrl-D leaves; Ctrl-C stops an answer", "tiny>", KEPT,
    ]  # fmt: skip
    assert "\x1b" not in terminal.raw
    assert questions(terminal) == ["What for?", "one\ntwo"]


# Loading


def test_a_question_can_be_typed_while_the_model_loads(start: Start) -> None:
    terminal = start("For ships.", loads=2)
    terminal.until("loading the model … ")
    terminal.say("/set seed 4", "What for?")
    assert terminal.leave()[1:] == [
        "tiny> /set seed 4",
        "seed = 4",
        "tiny> What for?",
        "For ships.",
        TWO,
        "tiny>",
        KEPT,
    ]


def test_who_leaves_while_it_loads_does_not_wait(start: Start) -> None:
    terminal = start(loads=30)
    began = time.monotonic()
    terminal.leave()
    assert time.monotonic() - began < 5
    assert terminal.status == 0


def test_ctrl_c_while_it_loads_takes_the_question_back(start: Start, home: Path) -> None:
    terminal = start("Yes.", loads=3)
    terminal.type("Tell me\r")
    terminal.until(lambda lines: lines[-1].startswith("loading"))
    time.sleep(0.3)
    terminal.ctrl_c()
    terminal.prompt()
    terminal.say("Well?")
    terminal.leave()
    assert questions(terminal) == ["Well?"]


def test_a_model_that_cannot_be_loaded_ends_it_at_once(start: Start) -> None:
    terminal = start(loads=0.5, fails=True)
    lines = terminal.end()
    assert lines[-1] == "the adapter is damaged → train again: twinctl train"
    assert terminal.status == 1


def test_a_model_that_cannot_be_loaded_ends_it_also_when_it_is_waited_for(start: Start) -> None:
    terminal = start(loads=1, fails=True)
    terminal.type("Tell me\r")
    assert terminal.end()[-1] == "the adapter is damaged → train again: twinctl train"


# Kept


def test_a_talk_is_taken_up_again(start: Start, home: Path) -> None:
    terminal = start("For ships.")
    terminal.say("/system Be kind.", "What is a harbour for?")
    terminal.leave()
    terminal = start("It does.", resume=0)
    terminal.say("Does it help?")
    lines = terminal.leave()
    assert lines[1:6] == [
        "system: Be kind.", "talk 1, 1 turn so far; the last:", "tiny> What is a harbour for?", "For ships.",
        "tiny> Does it help?",
    ]  # fmt: skip
    assert [message["content"] for message in terminal.asked["tiny"][0][0]] == [
        "Be kind.", "What is a harbour for?", "For ships.", "Does it help?",
    ]  # fmt: skip
    assert [len(talk.turns) for talk in kept(home)] == [2]


def test_a_kill_in_mid_answer_loses_only_that_answer(start: Start, home: Path) -> None:
    terminal = start("For ships.", "Well <wait>")
    terminal.say("What is a harbour for?")
    terminal.type("Does it help?\r")
    terminal.until("Well")
    terminal.kill()
    terminal = start("It does.", resume=0)
    assert terminal.lines[2:4] == ["tiny> Does it help?", "(not answered; /retry asks it again)"]
    terminal.say("/retry")
    terminal.leave()
    assert [message["content"] for message in terminal.asked["tiny"][0][0]][1:] == ["For ships.", "Does it help?"]
    turns = kept(home)[0].turns
    assert [turn.answer and turn.answer.text for turn in turns] == ["For ships.", "It does."]


def test_a_folder_that_cannot_be_written_stops_no_talk(start: Start, home: Path) -> None:
    (home / "ws").mkdir()
    (home / "ws" / "talks").write_text("in the way")
    terminal = start("Yes.", "Yes.")
    terminal.say("Is it?", "And?")
    lines = terminal.leave()
    assert sum("this talk is not kept: " in line for line in lines) == 1
    assert lines.count("Yes.") == 2


def test_a_closed_pipe_ends_it_without_a_traceback(home: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from cli.talking import Talker\n"
        "from twinctl.chat.repl import talk\n"
        "from twinctl.chat.talks import Talk\n"
        "from twinctl.recipes.chat import Sampling\n"
        "try: talk('tiny', lambda: [Talker(['word ' * 9000] * 9)], Sampling(), Talk())\n"
        "except BrokenPipeError: sys.exit(3)\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-c", code, str(Path(__file__).parents[1])]
    done = subprocess.run(words, input="a\nb\n", stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30)
    os.close(writer)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
