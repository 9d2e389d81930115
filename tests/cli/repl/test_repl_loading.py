"""A conversation whose model still loads, or cannot be loaded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.repl import KEPT, TWO, Start, questions


@pytest.mark.heavy
def test_a_question_can_be_typed_while_the_model_loads(start_chat: Start) -> None:
    terminal = start_chat("For ships.", loads=2)
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


def test_who_leaves_while_it_loads_does_not_wait(start_chat: Start) -> None:
    terminal = start_chat(loads=30)
    began = time.monotonic()
    terminal.leave()
    assert time.monotonic() - began < 5
    assert terminal.status == 0


@pytest.mark.heavy
def test_ctrl_c_while_it_loads_takes_the_question_back(start_chat: Start, home: Path) -> None:
    terminal = start_chat("Yes.", loads=3)
    terminal.type("Tell me\r")
    terminal.until(lambda lines: lines[-1].startswith("loading"))
    time.sleep(0.3)
    terminal.ctrl_c()
    terminal.prompt()
    terminal.say("Well?")
    terminal.leave()
    assert questions(terminal) == ["Well?"]


def test_a_model_that_cannot_be_loaded_ends_it_at_once(start_chat: Start) -> None:
    terminal = start_chat(loads=0.5, fails=True)
    lines = terminal.end()
    assert lines[-1] == "the adapter is damaged → train again: twinctl train"
    assert terminal.status == 1


def test_a_model_that_cannot_be_loaded_ends_it_also_when_it_is_waited_for(start_chat: Start) -> None:
    terminal = start_chat(loads=1, fails=True)
    terminal.type("Tell me\r")
    assert terminal.end()[-1] == "the adapter is damaged → train again: twinctl train"
