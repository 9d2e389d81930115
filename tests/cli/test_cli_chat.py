"""chat for scripts: answers to stdout, figures to stderr, a JSON line an answer, and what one can be asked with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.support.commands import Cli
from tests.support.stand_ins import FakeSpeaker, write_rows
from twinctl.chat.model_selection import ModelGroup, ModelSelection
from twinctl.inference.chat_model import Answer, ChatModel

SCRIPT = """
import sys
from twinctl.chat.model_selection import ModelGroup, ModelSelection
from twinctl.cli import app, chat
sys.path.insert(0, {root!r})
from tests.support.stand_ins import FakeSpeaker
chat.select_models = lambda *_: [ModelGroup(("tiny",), lambda: [FakeSpeaker({answers})])]
sys.argv = ["twinctl", "chat", *{words!r}]
app.main()
"""
Speak = Callable[..., FakeSpeaker]


@pytest.fixture
def speak(trained: object, monkeypatch: pytest.MonkeyPatch) -> Speak:
    """Let the twin give these answers."""

    def queue(*answers: str) -> FakeSpeaker:
        speaker = FakeSpeaker(answers)
        monkeypatch.setattr(
            "twinctl.cli.chat.select_models", lambda *_: [ModelGroup((speaker.name,), lambda: [speaker])]
        )
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
    assert shown.err == "loading tiny …\n[5 tokens, 10.0 tokens/s, ended by itself]\n"
    assert speaker.closed
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
    common = {"schema": 1, "model": "tiny", "finish": "stop", "seed": 5, "seconds": 0.5, "first_token_seconds": 0.1}
    assert lines == [
        {**common, "prompt": "a", "prompt_tokens": 1, "text": "One.", "tokens": 1, "tokens_per_second": 2.0},
        {**common, "prompt": "b", "prompt_tokens": 1, "text": "Two words.", "tokens": 2, "tokens_per_second": 4.0},
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
    monkeypatch.setattr("twinctl.cli.chat.select_models", lambda *_: pytest.fail("the model was loaded"))
    shown = cli("chat", "-p", "x", "--top-p", "2")
    assert (shown.code, "chat.top_p = 2.0 (from --top-p)" in shown.err) == (3, True)


def test_ctrl_c_while_it_loads(cli: Cli, trained: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> list[ChatModel]:
        raise KeyboardInterrupt

    monkeypatch.setattr("twinctl.cli.chat.select_models", lambda *_: [ModelGroup(("tiny",), interrupted)])
    shown = cli("chat", "-p", "x")
    assert (shown.code, shown.out, shown.err) == (130, "", "loading tiny …\ninterrupted\n")
    assert cli("chat", "-p", "x", "--json").document["error"]["code"] == "Interrupted"


def test_ctrl_c_during_an_answer_keeps_what_came(cli: Cli, speak: Speak, monkeypatch: pytest.MonkeyPatch) -> None:
    speaker = speak()

    def stopped(messages: object, sampling: object, show: Callable[[str], None]) -> Answer:
        show("and then")
        return Answer("and then", tokens=2, finish="interrupted", seconds=1.0)

    monkeypatch.setattr(speaker, "answer", stopped)
    shown = cli("chat", "-p", "x", "-p", "y")
    assert (shown.code, shown.out) == (130, "and then\n")
    assert "[2 tokens, 2.0 tokens/s, stopped]" in shown.err


def test_sampling_reaches_the_speaker(cli: Cli, speak: Speak) -> None:
    speaker = speak("a")
    first = ["--top-k", 5, "--min-p", 0.1, "--repetition-penalty", 1.2, "--top-p", 0.5]
    cli("chat", "-p", "x", *first, "--stop", "END", "--stop", "FIN", "--system", "Short.").ok()
    (talk, sampling), *_ = speaker.history
    assert (sampling.top_k, sampling.min_p, sampling.repetition_penalty, sampling.top_p) == (5, 0.1, 1.2, 0.5)
    assert sampling.stop == ("END", "FIN")
    assert talk == [{"role": "system", "content": "Short."}, {"role": "user", "content": "x"}]


def test_a_dash_asks_the_whole_input_at_once(cli: Cli, speak: Speak) -> None:
    speaker = speak("Yes.")
    cli("chat", "-p", "-", input="Two lines:\nis it one question?\n").ok()
    assert asked(speaker) == ["Two lines:\nis it one question?"]


def test_a_file_of_prompts_is_answered_in_lines(cli: Cli, speak: Speak, home: Path) -> None:
    speaker = speak("1", "2", "3", "4")
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    rows = ["one", {"prompt": "two"}, {"instruction": "three", "input": "more"}, {"messages": talk}]
    write_rows(home / "asked.jsonl", [json.dumps(row) for row in rows])
    shown = cli("chat", "--prompts", "asked.jsonl").ok()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [(line["prompt"], line["text"]) for line in lines] == [
        ("one", "1"), ("two", "2"), ("three\n\nmore", "3"), ("c", "4")
    ]  # fmt: skip
    assert speaker.history[-1][0] == talk


@pytest.mark.parametrize("line", ["{}", "no quotes", '{"messages": []}', '{"messages": [{"role": "user"}]}', "3"])
def test_a_bad_line_of_prompts_is_named(cli: Cli, speak: Speak, home: Path, line: str) -> None:
    speaker = speak()
    write_rows(home / "asked.jsonl", ['"fine"', line])
    shown = cli("chat", "--prompts", "asked.jsonl")
    assert (shown.code, "asked.jsonl:2" in shown.err) == (3, True)
    assert not speaker.history


@pytest.mark.parametrize("form", ["-p", "--prompts"])
def test_a_prompt_that_does_not_fit_is_named_before_any_is_answered(
    cli: Cli, speak: Speak, home: Path, form: str
) -> None:
    speaker = speak("never")
    texts = ["fine", "rain " * 5000]
    write_rows(home / "asked.jsonl", map(json.dumps, texts))
    words = ["--prompts", "asked.jsonl"] if form == "--prompts" else ["-p", texts[0], "-p", texts[1]]
    shown = cli("chat", *words)
    assert (shown.code, shown.out, speaker.history) == (3, "", [])
    assert "prompt 2 (“rain rain" in shown.err and "has 5000 tokens, and the model's window is 4096" in shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-p", " "], "the prompt is empty"),
        (["-p", "-"], "the prompt is empty"),
        (["-p", "x", "--resume"], "a conversation is resumed in a terminal"),
        (["--check", "-p", "x"], "--check asks prompts of its own"),
    ],
)
def test_what_does_not_go_together_is_refused(cli: Cli, speak: Speak, words: list[str], said: str) -> None:
    speaker = speak("never")
    shown = cli("chat", *words, input="")
    assert (shown.code, said in shown.err, speaker.history) == (2, True, [])


def test_several_speakers_are_named_and_loaded_one_after_the_other(
    cli: Cli, trained: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, twin, gguf = (FakeSpeaker([name], name) for name in ("base", "tiny", "tiny-q8_0.gguf"))

    def last() -> list[ChatModel]:
        assert base.closed and twin.closed
        return [gguf]

    voices = [ModelGroup(("base", "tiny"), lambda: [base, twin]), ModelGroup(("tiny-q8_0.gguf",), last)]
    monkeypatch.setattr("twinctl.cli.chat.select_models", lambda *_: voices)
    shown = cli("chat", "-p", "x", "--all").ok()
    assert shown.out == "base:\nbase\ntiny:\ntiny\ntiny-q8_0.gguf:\ntiny-q8_0.gguf\n"
    assert "loading base and tiny …" in shown.err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--gguf"], ModelSelection(gguf="")),
        (["--gguf", "--greedy"], ModelSelection(gguf="")),
        (["--gguf", "q8_0"], ModelSelection(gguf="q8_0")),
        (["--all"], ModelSelection(all=True)),
        (["--compare", "--checkpoint", "12"], ModelSelection(compare=True, checkpoint=12)),
        (["--merged", "--base", "--4bit"], ModelSelection(merged=True, base=True, four_bit=True)),
    ],
)
def test_who_is_asked(
    cli: Cli, trained: object, monkeypatch: pytest.MonkeyPatch, words: list[str], wanted: ModelSelection
) -> None:
    found = []

    def find(view: object, wanted: ModelSelection) -> list[ModelGroup]:
        found.append(wanted)
        return [ModelGroup(("tiny",), lambda: [FakeSpeaker(["a"])])]

    monkeypatch.setattr("twinctl.cli.chat.select_models", find)
    cli("chat", "-p", "x", *words).ok()
    assert found == [wanted]


def test_a_closed_pipe_ends_quietly(trained: object, home: Path) -> None:
    answers = "['word ' * 2000] * 300"
    script = SCRIPT.format(root=str(Path(__file__).parents[2]), answers=answers, words=["-p", "x"] * 300)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout and child.stderr
        child.stdout.read(10)
        child.stdout.close()
        err = child.stderr.read().decode()
    assert "Traceback" not in err and "rror" not in err


def test_a_terminal_gets_no_colour_with_no_color_and_no_commands(trained: object, home: Path) -> None:
    answers = ("[red]For \x1b[31mships.",)
    script = SCRIPT.format(root=str(Path(__file__).parents[2]), answers=answers, words=["-p", "What for?"])
    child = pexpect.spawn(sys.executable, ["-c", script], env={**os.environ}, encoding="utf-8", timeout=15)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert child.before.splitlines()[-2:] == ["[red]For [31mships.", "[2 tokens, 4.0 tokens/s, ended by itself]"]
    assert "\x1b[3" not in child.before
