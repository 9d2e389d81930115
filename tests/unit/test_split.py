"""Which rows are held out depends on the row and the seed, and on nothing else."""

from __future__ import annotations

import pytest

from twinctl.data.tokens import EVAL, TRAIN
from twinctl.phases.prepare import split_of

PROMPTS = [f"Question {number}: what is the matter?" for number in range(5000)]


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
