"""What no reader sees is taken out; repetitions are found, the near ones by how much they share."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinctl.data.clean import Duplicates, without_controls

RANDOM = random.Random(0)
WORDS = [f"word{number}" for number in range(3000)]


@given(st.text(st.sampled_from("ab\r\n\t\x00\x0b\x1b\x7f\ufeffé") | st.characters()))
def test_only_line_ends_and_controls_change(text: str) -> None:
    cleaned = without_controls(text)
    assert without_controls(cleaned) == cleaned
    hidden = {*map(chr, range(32)), "\x7f", "\ufeff"} - {"\n", "\t"}
    assert not hidden & set(cleaned)
    kept = text.replace("\r\n", "\n").replace("\r", "\n")
    assert cleaned == "".join(sign for sign in kept if sign not in hidden)


def _text(count: int = 104) -> list[str]:
    return RANDOM.sample(WORDS, count)


def _changed(words: list[str], alike: float) -> str:
    """The text with other words at its end, so that it shares so much of its 5-grams with the first one."""
    grams = len(words) - 4
    shared = round(2 * grams * alike / (1 + alike))
    return " ".join([*words[: shared + 4], *_text(grams - shared)])


@pytest.mark.parametrize(
    ("alike", "low", "high"), [(1.0, 1.0, 1.0), (0.95, 0.97, 1.0), (0.6, 0.0, 0.05), (0.2, 0.0, 0.0)]
)
def test_near_duplicates_are_those_that_share_most(alike: float, low: float, high: float) -> None:
    seen, found = Duplicates("near"), 0
    for number in range(200):
        words = _text()
        assert seen.repeats(" ".join(words)) is None
        found += seen.repeats(f"{_changed(words, alike)}{' ' * (number % 2 + 1)}") == "near duplicate"
    assert low <= found / 200 <= high


@pytest.mark.parametrize("form", [str.upper, "  {}\n".format, lambda text: text.replace(" ", "\n\n")])
def test_another_form_of_a_text_is_a_near_duplicate_and_no_exact_one(form: object) -> None:
    assert callable(form)
    text = " ".join(_text(30))
    for kind, found in (("near", "near duplicate"), ("exact", None), ("none", None)):
        seen = Duplicates(kind)  # type: ignore[arg-type]
        assert [seen.repeats(text), seen.repeats(form(text))] == [None, found]


def test_the_same_text_is_a_duplicate() -> None:
    for kind, found in (("near", "duplicate"), ("exact", "duplicate"), ("none", None)):
        seen = Duplicates(kind)  # type: ignore[arg-type]
        assert [seen.repeats("a b"), seen.repeats("a b"), seen.repeats("a")] == [None, found, None]


@pytest.mark.parametrize("texts", [["", "a"], ["yes", "no"], ["a b c d e", "a b c d f"]])
def test_short_texts_are_compared_as_a_whole(texts: list[str]) -> None:
    seen = Duplicates("near")
    assert [seen.repeats(text) for text in texts] == [None, None]
