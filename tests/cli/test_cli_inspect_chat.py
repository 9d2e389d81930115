"""`inspect chat`: what was said with a run, and what its checks found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Cli
from twinctl.chat import transcripts
from twinctl.config.sampling import Sampling
from twinctl.inference.chat_model import Answer
from twinctl.workspace.workspace import Workspace

HOW = Sampling(system="Be kind.")


@pytest.fixture
def spoken(prepared: dict[str, Any], home: Path) -> Workspace:
    """Two talks, the second compared and mended, and two checks."""
    workspace = Workspace(home / ".twinctl")
    for questions in (["What is a harbour for?"], ["Who?", "And \x1b[31m[b]now[/b]?"]):
        talk = transcripts.begin(workspace, "tiny")
        for question in questions:
            talk.ask(question, HOW)
            talk.answer("base", Answer("I am the base.", 5, "length", 0.5), HOW, beside=True)
            talk.answer("tiny", Answer("I am \x1b[2Jthe twin.", 5, "stop", 0.5, seed=3), HOW)
    talk.edit("I am I.")
    transcripts.append_check(
        workspace, "tiny", {"speaker": "tiny", "passed": False, "failures": ["2 of 12 answers: loops"]}
    )
    transcripts.append_check(workspace, "tiny", {"speaker": "tiny", "passed": True, "failures": []})
    return workspace


def test_the_talks_the_last_in_full_and_the_checks(cli: Cli, spoken: Workspace) -> None:
    lines = cli("inspect", "chat").ok().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["conversation", "1", "2"]
    assert lines[1].endswith("1      tiny, base  What is a harbour for?")
    assert "failed  2 of 12 answers: loops" in lines[5] and lines[6].endswith("passed")
    assert lines[8:] == [
        "conversation 2; to resume it: twinctl chat --run tiny --resume 2",
        "",
        "system: Be kind.",
        "",
        "> Who?",
        "base (5 tokens, seed 0, cut):",
        "I am the base.",
        "tiny (5 tokens, seed 3):",
        "I am [2Jthe twin.",
        "",
        "> And [31m[b]now[/b]?",
        "base (5 tokens, seed 0, cut):",
        "I am the base.",
        "tiny (5 tokens, seed 3, edited):",
        "I am I.",
    ]


def test_one_talk(cli: Cli, spoken: Workspace) -> None:
    assert "\n> What is a harbour for?\n" in cli("inspect", "chat", "--talk", "1").ok().out
    shown = cli("inspect", "chat", "--talk", "9")
    assert (shown.code, shown.err) == (4, "error: run “tiny” has no conversation 9\n  → there: 1, 2\n")
    assert cli("inspect", "prepare", "--talk", "1").code == 2


def test_as_a_document(cli: Cli, spoken: Workspace) -> None:
    document = cli("inspect", "chat", "--json").ok().document
    assert [len(talk["turns"]) for talk in document["talks"]] == [1, 2]
    turn = document["talks"][1]["turns"][1]
    assert (turn["answer"]["text"], turn["beside"][0]["speaker"], turn["system"]) == ("I am I.", "base", "Be kind.")
    assert [check["passed"] for check in document["checks"]] == [False, True]
    assert len(cli("inspect", "chat", "--talk", "2", "--json").ok().document["talks"]) == 1


def test_nothing_was_said(cli: Cli, prepared: dict[str, Any]) -> None:
    shown = cli("inspect", "chat")
    assert (shown.code, shown.err) == (
        4,
        "error: run “tiny” has no conversation and no check yet\n  → twinctl chat --run tiny\n",
    )


def test_what_a_renamed_run_said(cli: Cli, spoken: Workspace) -> None:
    cli("runs", "rename", "tiny", "mine").ok()
    assert "--run mine --resume 2" in cli("inspect", "chat", "--run", "mine").ok().out
