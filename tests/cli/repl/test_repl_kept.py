"""Talks that are kept, taken up again and killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.repl import Start, kept


def test_a_talk_is_taken_up_again(start_chat: Start, home: Path) -> None:
    terminal = start_chat("For ships.")
    terminal.say("/system Be kind.", "What is a harbour for?")
    terminal.leave()
    terminal = start_chat("It does.", resume=0)
    terminal.say("Does it help?")
    lines = terminal.leave()
    assert lines[1:6] == [
        "system: Be kind.", "conversation 1, 1 turn so far; the last:", "tiny> What is a harbour for?", "For ships.",
        "tiny> Does it help?",
    ]  # fmt: skip
    assert [message["content"] for message in terminal.asked["tiny"][0][0]] == [
        "Be kind.", "What is a harbour for?", "For ships.", "Does it help?",
    ]  # fmt: skip
    assert [len(talk.turns) for talk in kept(home)] == [2]


def test_a_kill_in_mid_answer_loses_only_that_answer(start_chat: Start, home: Path) -> None:
    terminal = start_chat("For ships.", "Well <wait>")
    terminal.say("What is a harbour for?")
    terminal.type("Does it help?\r")
    terminal.until("Well")
    terminal.kill()
    terminal = start_chat("It does.", resume=0)
    assert terminal.lines[2:4] == ["tiny> Does it help?", "(not answered; /retry asks it again)"]
    terminal.say("/retry")
    terminal.leave()
    assert [message["content"] for message in terminal.asked["tiny"][0][0]][1:] == ["For ships.", "Does it help?"]
    turns = kept(home)[0].turns
    assert [turn.answer and turn.answer.text for turn in turns] == ["For ships.", "It does."]


def test_a_folder_that_cannot_be_written_stops_no_talk(start_chat: Start, home: Path) -> None:
    (home / "ws").mkdir()
    (home / "ws" / "talks").write_text("in the way")
    terminal = start_chat("Yes.", "Yes.")
    terminal.say("Is it?", "And?")
    lines = terminal.leave()
    assert sum("this conversation is not saved: " in line for line in lines) == 1
    assert lines.count("Yes.") == 2


def test_a_closed_pipe_ends_it_without_a_traceback(home: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.support.terminal import Talker\n"
        "from twinctl.chat.repl import run_repl\n"
        "from twinctl.chat.transcripts import Transcript\n"
        "from twinctl.config.sampling import Sampling\n"
        "try: run_repl('tiny', lambda: [Talker(['word ' * 9000] * 9)], Sampling(), Transcript())\n"
        "except BrokenPipeError: sys.exit(3)\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-c", code, str(Path(__file__).parents[3])]
    done = subprocess.run(words, input="a\nb\n", stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30)
    os.close(writer)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)
