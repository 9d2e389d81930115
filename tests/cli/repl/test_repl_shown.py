"""What is on the screen, whatever the model says and the window is."""

from __future__ import annotations

import pytest

from tests.support.repl import KEPT, TWO, Start, questions


def test_answers_are_text_and_never_commands_to_the_terminal(start_chat: Start) -> None:
    wild = "[bold]No[/bold] \x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x9b2J\x00\x7f\u202egnp.\u2066 :smile: \\[x]"
    terminal = start_chat(wild, "line\nline\tend", base=(wild,))
    terminal.say("Who?", "And?")
    answer_begins = terminal.raw.index("[bold]")
    answered = terminal.raw[answer_begins : terminal.raw.index("\\[x]")]
    assert not set("\x1b\x07\x9b\x00\x7f\u202e\u2066") & set(answered)
    lines = terminal.leave()
    assert lines[2] == "[bold]No[/bold] [31mred[0m ]0;title [2J2Jgnp. :smile: \\[x]"
    assert lines[5:7] == ["line", "line    end"]


def test_side_by_side_they_are_text_as_well(start_chat: Start) -> None:
    wild = "[b]No[/b] \x1b[31mred :smile:"
    terminal = start_chat(wild, base=(wild,), columns=80)
    terminal.say("/compare Who?")
    assert f"{'[b]No[/b] [31mred :smile:':<40}[b]No[/b] [31mred :smile:" in terminal.leave()


@pytest.mark.parametrize("columns", [40, 120])
def test_wide_and_right_to_left_characters(start_chat: Start, columns: int) -> None:
    text = "東京の港 שלום עולם مرحبا café👍🏽"
    terminal = start_chat(text, text, base=(text,), columns=columns)
    terminal.say("漢字は読めますか？ שלום", "/compare 港？")
    lines = terminal.leave()
    assert questions(terminal) == ["漢字は読めますか？ שלום", "港？"]
    assert any("東京の港" in line and "עולם" in line for line in lines)
    assert terminal.status == 0


def test_forty_columns(start_chat: Start) -> None:
    terminal = start_chat("A harbour is for the ships that come in with the tide.", columns=40)
    terminal.say("What is a harbour for, when all is said and done?", "/help")
    lines = terminal.leave()
    assert max(map(len, lines)) <= 40
    at = lines.index("A harbour is for the ships that come in")
    assert lines[at + 1 : at + 4] == ["with the tide.", "[12 tokens, 24.0 tokens/s, ended by", "itself]"]
    assert "/base" in lines and lines[lines.index("/base") + 2] == "    the twin"
    assert "/set [NAME VALUE]" in lines and not any(line.startswith("...") for line in lines)


def test_no_color_means_none(start_chat: Start) -> None:
    terminal = start_chat("For ships.", env={"NO_COLOR": "1"})
    terminal.say("What?", "/nothing")
    terminal.leave()
    assert "\x1b[2m" not in terminal.raw and "\x1b[3" not in terminal.raw
    coloured = start_chat("For ships.")
    coloured.say("What?")
    coloured.leave()
    assert "\x1b[2m[2 tokens" in coloured.raw


def test_a_dumb_terminal_gets_plain_lines(start_chat: Start) -> None:
    terminal = start_chat("For ships.", "Yes.", env={"TERM": "dumb"})
    terminal.say("What for?")
    terminal.type("one\\\r")
    terminal.until("...")
    terminal.say("two")
    terminal.ctrl_c()
    terminal.prompt()
    lines = terminal.leave()
    assert [line.replace(" ^C", "") for line in lines if not line.startswith("loading")][1:] == [
        "tiny> What for?", "For ships.", TWO, "tiny> one\\", "... two", "Yes.",
        "[1 token, 2.0 tokens/s, ended by itself]", "tiny>", "Ctrl-D leaves; Ctrl-C stops an answer", "tiny>", KEPT,
    ]  # fmt: skip
    assert "\x1b" not in terminal.raw
    assert questions(terminal) == ["What for?", "one\ntwo"]
