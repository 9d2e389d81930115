"""Sizes and near matches as messages say them."""

from __future__ import annotations

import pytest

from twinctl.wording import GIB, MIB, did_you_mean, near_match, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 MiB"), (1.5 * MIB, "1.5 MiB"), (GIB - 1, "1,024.0 MiB"), (GIB, "1.0 GiB"), (2048 * GIB, "2,048.0 GiB")],
)
def test_a_size_is_said_in_the_unit_that_fits(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("name", "near"),
    [("rnak", "rank"), ("ra", "rank"), ("RANK", ""), ("max", "max_length"), ("zzz", ""), ("", "")],
)
def test_a_near_match_begins_like_the_name_or_is_spelt_like_it(name: str, near: str) -> None:
    assert near_match(name, ["alpha", "rank", "max_length"]) == near


def test_the_hint_is_a_question_or_what_is_said_otherwise() -> None:
    assert did_you_mean("rnak", ["rank"], "known: rank") == "did you mean “rank”?"
    assert did_you_mean("zzz", ["rank"], "known: rank") == "known: rank"
