"""What a person types: questions, lines, Ctrl-C, Ctrl-D, and what was typed before."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.support.repl import GREETING, KEPT, TWO, Start, kept, questions


def test_a_talk_remembers_and_its_whole_transcript(start_chat: Start, home: Path) -> None:
    terminal = start_chat("For ships.", "It does.")
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


def test_nothing_said_keeps_nothing(start_chat: Start, home: Path) -> None:
    terminal = start_chat()
    terminal.say("", "   ")
    assert terminal.leave() == [GREETING, "tiny>", "tiny>", "tiny>"]
    assert kept(home) == []


def test_ctrl_c_stops_the_answer_and_not_the_program(start_chat: Start, home: Path) -> None:
    terminal = start_chat("It began <wait> never", "It goes on.")
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


def test_an_answer_that_was_stopped_before_its_first_word_is_as_if_never_asked(start_chat: Start, home: Path) -> None:
    terminal = start_chat("<wait>", "Yes.")
    terminal.type("Tell me\r")
    terminal.until("…")
    terminal.ctrl_c()
    terminal.prompt()
    terminal.say("Well?")
    terminal.leave()
    assert terminal.asked["tiny"][1][0] == [{"role": "user", "content": "Well?"}]
    assert [turn.question for turn in kept(home)[0].turns] == ["Well?"]


def test_ctrl_c_at_a_prompt_drops_the_line_or_says_how_to_leave(start_chat: Start) -> None:
    terminal = start_chat("Yes.")
    terminal.type("half a quest")
    terminal.until("half a quest")
    terminal.type("\x03")
    terminal.prompt()
    terminal.type("\x03")
    terminal.prompt()
    assert terminal.leave()[1:] == [
        "tiny> half a quest", "tiny>", "Ctrl-D leaves; Ctrl-C stops an answer", "tiny>",
    ]  # fmt: skip


def test_what_is_typed_during_an_answer_waits_unseen_for_the_prompt(start_chat: Start) -> None:
    terminal = start_chat("It began <wait>", "Yes.")
    terminal.type("Tell me\r")
    terminal.until("It began")
    terminal.type("next")
    time.sleep(0.3)
    terminal.ctrl_c()
    terminal.prompt()
    assert "It beg" in terminal.lines[2] and "next" not in terminal.lines[2]


def test_who_is_told_to_end_ends(start_chat: Start, home: Path) -> None:
    terminal = start_chat("Yes.", "It began <wait>")
    terminal.say("Is it?")
    terminal.type("And?\r")
    terminal.until("It began")
    terminal.signal(signal.SIGTERM)
    assert terminal.end()[-1].startswith("terminated → ")
    assert [turn.answer is not None for turn in kept(home)[0].turns] == [True, False]
    terminal = start_chat(loads=30)
    terminal.signal(signal.SIGTERM)
    assert (terminal.end()[-1], terminal.status) == ("terminated", 143)


def test_a_question_of_many_lines(start_chat: Start) -> None:
    terminal = start_chat("a", "b", "c", "d")
    terminal.type("one\\\rtwo\x1b\rthree\r")
    terminal.prompt()
    terminal.type('"""first\rsecond\r"""\r')
    terminal.prompt()
    terminal.type("\x1b[200~pasted \\\n/lines\n\nall\x1b[201~\r")
    terminal.prompt()
    assert terminal.leave()[1:4] == ["tiny> one", "... two", "... three"]
    assert questions(terminal) == ["one\ntwo\nthree", "first\nsecond", "pasted \\\n/lines\n\nall"]


def test_what_was_typed_is_there_in_the_next_session_without_secrets(start_chat: Start, home: Path) -> None:
    env = {"HF_TOKEN": "hf_secretsecret"}
    terminal = start_chat("a", env=env)
    terminal.say("my token is hf_secretsecret", "/undo")
    terminal.leave()
    terminal = start_chat("b", env=env)
    terminal.type("\x1b[A\x1b[A\r")
    terminal.prompt()
    terminal.leave()
    assert questions(terminal) == ["my token is <HF_TOKEN>"]
    assert (home / "ws" / "history").stat().st_mode & 0o777 == 0o600
    for path in (home / "ws").rglob("*"):
        assert path.is_dir() or b"secretsecret" not in path.read_bytes(), path


def test_tab_completes_commands_and_what_they_take(start_chat: Start, home: Path) -> None:
    (home / "mine.jsonl").touch()
    terminal = start_chat("Yes.", sampling={"seed": 3})
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
