"""chat: answers to stdout, figures to stderr, and a conversation in a real terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from twinctl.chat.speaker import Answer

from .conftest import Cli
from .stand_ins import FakeSpeaker

Speak = Callable[..., FakeSpeaker]


@pytest.fixture
def speak(trained: object, monkeypatch: pytest.MonkeyPatch) -> Speak:
    """Let the twin give these answers."""

    def queue(*answers: str) -> FakeSpeaker:
        speaker = FakeSpeaker(answers)
        monkeypatch.setattr("twinctl.cli.chat.load_speaker", lambda *_, **__: speaker)
        return speaker

    return queue


def asked(speaker: FakeSpeaker) -> list[str]:
    """Each talk is one prompt of the user's."""
    assert all([message["role"] for message in talk] == ["user"] for talk, _ in speaker.history)
    return [talk[0]["content"] for talk, _ in speaker.history]


def test_answer_on_stdout_and_figures_on_stderr(cli: Cli, speak: Speak) -> None:
    speaker = speak("A harbour is for ships.")
    shown = cli("chat", "-p", "What is a harbour for?").ok()
    assert shown.out == "A harbour is for ships.\n"
    assert shown.err == "[5 tokens, 10.0 tokens/s, ended by itself]\n"
    assert asked(speaker) == ["What is a harbour for?"]


def test_quiet_leaves_the_answer_alone(cli: Cli, speak: Speak) -> None:
    speak("Yes.")
    shown = cli("chat", "-p", "Is it?", "--quiet").ok()
    assert (shown.out, shown.err) == ("Yes.\n", "")


def test_several_prompts_are_answered_each_on_its_own(cli: Cli, speak: Speak) -> None:
    speaker = speak("One.", "Two.")
    assert cli("chat", "-p", "a", "-p", "b").ok().out == "One.\nTwo.\n"
    assert asked(speaker) == ["a", "b"]


def test_json_is_a_line_an_answer(cli: Cli, speak: Speak) -> None:
    speak("One.", "Two words.")
    shown = cli("chat", "-p", "a", "-p", "b", "--seed", "5", "--json").ok()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    common = {"schema": 1, "finish": "stop", "seed": 5}
    assert lines == [
        {**common, "prompt": "a", "text": "One.", "tokens": 1, "tokens_per_second": 2.0},
        {**common, "prompt": "b", "text": "Two words.", "tokens": 2, "tokens_per_second": 4.0},
    ]
    assert shown.err == ""


def test_prompts_from_a_pipe_are_lines_and_empty_ones_are_skipped(cli: Cli, speak: Speak) -> None:
    speaker = speak("One.", "Two.")
    assert cli("chat", input="first\n\n   \n  second \n").ok().out == "One.\nTwo.\n"
    assert asked(speaker) == ["first", "second"]


def test_greedy_is_temperature_zero(cli: Cli, speak: Speak, home: Path) -> None:
    (home / "twinctl.toml").write_text("[chat]\ntemperature = 0.3\nmax_new_tokens = 9\n")
    speaker = speak("a", "b", "c")
    for words in ([], ["--greedy"], ["--temperature", "1.5"]):
        cli("chat", "-p", "x", *words).ok()
    assert [sampling.temperature for _, sampling in speaker.history] == [0.3, 0.0, 1.5]
    assert {sampling.max_new_tokens for _, sampling in speaker.history} == {9}


def test_answers_are_plain_text(cli: Cli, speak: Speak) -> None:
    text = "[bold]No[/bold] markup, [red]none[/], :smile: 東京 \\[x]"
    speak(text)
    assert cli("chat", "-p", "[b]?").ok().out == text + "\n"


def test_cut_answer_says_so(cli: Cli, speak: Speak, monkeypatch: pytest.MonkeyPatch) -> None:
    speaker = speak()
    monkeypatch.setattr(speaker, "answer", lambda *_: Answer("and so", tokens=7, finish="length", seconds=1.0))
    assert "cut at 7 tokens" in cli("chat", "-p", "x", "--max-new-tokens", "7").ok().err


def test_bad_sampling_is_refused_before_anything_is_loaded(
    cli: Cli, speak: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twinctl.cli.chat.load_speaker", lambda *_, **__: pytest.fail("the model was loaded"))
    shown = cli("chat", "-p", "x", "--top-p", "2")
    assert (shown.code, "chat.top_p = 2.0 (from --top-p)" in shown.err) == (3, True)


def test_ctrl_c_while_it_loads(cli: Cli, trained: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> FakeSpeaker:
        raise KeyboardInterrupt

    monkeypatch.setattr("twinctl.cli.chat.load_speaker", interrupted)
    shown = cli("chat", "-p", "x")
    assert (shown.code, shown.out, shown.err) == (130, "", "interrupted\n")
    assert cli("chat", "-p", "x", "--json").document["error"]["code"] == "Interrupted"


# In a terminal

TALK = """
import sys
from twinctl.cli import app, chat
sys.path.insert(0, {tests!r})
from cli.stand_ins import FakeSpeaker
chat.load_speaker = lambda *_, **__: FakeSpeaker({answers!r})
sys.argv = ["twinctl", "chat", *{words!r}]
app.main()
"""


@pytest.fixture
def terminal(trained: object, home: Path) -> Iterator[Callable[..., Any]]:
    """`twinctl chat` in a pseudo-terminal."""
    children = []

    def start(*answers: str, words: tuple[str, ...] = ()) -> Any:
        script = TALK.format(tests=str(Path(__file__).parents[1]), answers=answers, words=words)
        env = {**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1"}  # nobody answers where the cursor is
        child = pexpect.spawn(sys.executable, ["-c", script], env=env, encoding="utf-8", timeout=15)
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def test_conversation(terminal: Callable[..., Any]) -> None:
    child = terminal("For ships.", "For bread.")
    child.expect_exact("tiny>")
    child.send("What is a harbour for?\r")
    child.expect_exact("For ships.")
    child.expect_exact("ended by itself")
    child.expect_exact("tiny>")
    child.send("half a quest")
    child.expect_exact("half a quest")
    child.sendintr()  # clears the line and stays
    child.expect_exact("tiny>")
    child.send("And an oven?\r")
    child.expect_exact("For bread.")
    child.expect_exact("tiny>")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_terminal_gets_no_colour_with_no_color(terminal: Callable[..., Any]) -> None:
    child = terminal("[red]For ships.", words=("-p", "What for?"))
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0
    assert child.before.splitlines()[-2:] == ["[red]For ships.", "[2 tokens, 4.0 tokens/s, ended by itself]"]
    assert "\x1b[3" not in child.before
