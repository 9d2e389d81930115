"""Streamed text breaks between words, and is on the screen whatever its pieces were."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twinctl.chat.wrapping import Wrapping

COLUMNS = 20


def shown(*pieces: str, columns: int = COLUMNS) -> list[str]:
    """What a terminal shows of it."""
    wrapping, screen = Wrapping(columns), pyte.Screen(columns, 200)
    stream = pyte.Stream(screen)
    for piece in pieces:
        stream.feed(wrapping.add(piece).replace("\n", "\r\n"))
    return "\n".join(line.rstrip() for line in screen.display).rstrip().split("\n")


def test_a_word_goes_to_the_next_line_whole() -> None:
    assert shown("The harbour lies below the hill.") == ["The harbour lies", "below the hill."]
    assert shown("The har", "bour li", "es be", "low", " the hill.") == ["The harbour lies", "below the hill."]


def test_a_word_longer_than_a_line_is_broken() -> None:
    assert shown("a " + "x" * 45) == ["a", "x" * 19, "x" * 19, "x" * 7]


def test_lines_and_indents_stay() -> None:
    assert shown("one\n\n  two\n") == ["one", "", "  two"]


def test_wide_characters_break_anywhere() -> None:
    assert [line.replace(" ", "") for line in shown("東京の港は丘の下にある。船が来る。")] == [
        "東京の港は丘の下に",
        "ある。船が来る。",
    ]


@pytest.mark.parametrize(
    "text", ["שלום עולם לכולם ובכל מקום", "cafe\u0301 cafe\u0301 cafe\u0301 cafe\u0301 cafe\u0301"]
)
def test_right_to_left_and_combining_characters(text: str) -> None:
    assert " ".join(shown(text)).split() == text.replace("e\u0301", "é").split()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text("abc é,.-", min_size=1, max_size=9), max_size=30), st.integers(10, 40))
@example(["a" * 19, " b"], 20)
@example(["a" * 18, " ", "b"], 20)
def test_it_is_the_text_and_no_word_is_broken(pieces: list[str], columns: int) -> None:
    text = "".join(pieces)
    lines = shown(*pieces, columns=columns)
    assert max(map(len, lines)) < columns
    if max((len(word) for word in text.split()), default=0) < columns:
        assert " ".join(lines).split() == text.split()
    assert lines == shown(text, columns=columns)
