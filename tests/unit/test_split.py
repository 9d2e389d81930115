"""Which rows are held out depends on the row and the seed, and on nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinctl.data.split import Split, split_hash
from twinctl.data.tokens import EVAL, TRAIN

PROMPTS = [f"Question {number}: what is the matter?" for number in range(5000)]


def split_of(text: str, seed: int, fraction: float) -> str:
    return EVAL if split_hash(text, seed) < fraction else TRAIN


def _held_out(prompts: list[str], seed: int = 0, fraction: float = 0.05) -> set[str]:
    return {prompt for prompt in prompts if split_of(prompt, seed, fraction) == EVAL}


@pytest.mark.parametrize("fraction", [0.05, 0.125, 0.5])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_share_held_out_is_about_right(fraction: float, seed: int) -> None:
    deviation = (fraction * (1 - fraction) / len(PROMPTS)) ** 0.5
    assert abs(len(_held_out(PROMPTS, seed, fraction)) / len(PROMPTS) - fraction) < 4 * deviation


def test_nothing_is_held_out_at_nought() -> None:
    assert _held_out(PROMPTS, fraction=0.0) == set()


def test_another_seed_holds_out_others() -> None:
    one, other = _held_out(PROMPTS, 0), _held_out(PROMPTS, 1)
    assert len(one & other) < len(one) / 4


def test_a_larger_share_keeps_what_was_held_out() -> None:
    assert _held_out(PROMPTS, fraction=0.05) < _held_out(PROMPTS, fraction=0.1)


@pytest.mark.parametrize(
    "form", [str.upper, str.title, lambda text: f"  {text}\n", lambda text: text.replace(" ", "\t")]
)
def test_one_text_in_another_form_is_in_the_same_split(form: object) -> None:
    assert callable(form)
    assert all(split_of(form(prompt), 0, 0.5) == split_of(prompt, 0, 0.5) for prompt in PROMPTS[:200])


def test_the_split_is_the_same_on_every_machine() -> None:
    """Python's own hash would change with every process."""
    assert [split_of(prompt, 0, 0.5) for prompt in PROMPTS[:8]] == [
        TRAIN,
        TRAIN,
        EVAL,
        TRAIN,
        TRAIN,
        TRAIN,
        TRAIN,
        EVAL,
    ]


def _sides(units: list[tuple[str, bool]], fraction: float) -> dict[str, list[str]]:
    """Which items went where; an item is (unit's text, whether it is the author's)."""
    found: dict[str, list[str]] = {TRAIN: [], EVAL: []}
    split: Split[str] = Split(fraction, lambda side, item: found[side].append(item))
    for text, is_author in units:
        split.add(text, split_hash(text, 0), is_author=is_author)
    split.end()
    return found


units_ = st.lists(st.tuples(st.sampled_from([f"unit {number}" for number in range(12)]), st.booleans()), max_size=40)


@given(units_, st.sampled_from([0.0, 0.01, 0.2, 0.9]))
def test_a_unit_lies_on_one_side_and_nothing_is_lost(units: list[tuple[str, bool]], fraction: float) -> None:
    of_author = [(text, True) for text, _ in units]
    found = _sides(of_author, fraction)
    assert sorted(found[TRAIN] + found[EVAL]) == sorted(text for text, _ in units)
    assert not set(found[TRAIN]) & set(found[EVAL])


@given(units_)
def test_at_least_one_unit_of_the_author_is_held_out_when_there_are_two(units: list[tuple[str, bool]]) -> None:
    of_author = {text for text, is_author in units if is_author}
    found = _sides([each for each in units if each[1]], 0.0001)
    assert len(set(found[EVAL])) == (1 if len(of_author) > 1 else 0)


def test_the_nearest_unit_is_the_one_held_out() -> None:
    texts = [f"document {number}" for number in range(20)]
    found = _sides([(text, True) for text in texts for _ in range(3)], 1e-9)
    assert found[EVAL] == [min(texts, key=lambda text: split_hash(text, 0))] * 3


def test_a_general_row_of_the_waiting_unit_goes_with_it() -> None:
    texts = [f"document {number}" for number in range(20)]
    nearest = min(texts, key=lambda text: split_hash(text, 0))
    found = _sides([*((text, True) for text in texts), *((text, False) for text in texts)], 1e-9)
    assert found[EVAL] == [nearest, nearest]
    assert len(found[TRAIN]) == 38


def test_nothing_waits_when_nothing_is_to_be_held_out() -> None:
    texts = [f"document {number}" for number in range(20)]
    assert _sides([(text, True) for text in texts], 0.0) == {TRAIN: texts, EVAL: []}


def test_adding_units_moves_no_other() -> None:
    texts = [f"document {number}" for number in range(200)]
    few, many = (_sides([(text, True) for text in texts[:count]], 0.1) for count in (100, 200))
    assert set(few[EVAL]) == set(many[EVAL]) & set(texts[:100])
