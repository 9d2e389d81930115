"""A training that has gone wrong is ended before its next checkpoint; one that goes well never is."""

from __future__ import annotations

import math

import pytest

from twinctl.engine.health import FLOAT16_SKIPS, LOSS_WINDOW, Health
from twinctl.errors import CheckFailed

VOCABULARY = 1000


def _health(*, float16: bool = False) -> Health:
    return Health(VOCABULARY, float16=float16)


def test_a_training_that_goes_well_is_left_alone() -> None:
    health = _health()
    for step in range(1, 200):
        health.check(step, 3.0 / step + 1e-6, 0.5)
    assert health.last_good == 199


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_it(loss: float) -> None:
    with pytest.raises(CheckFailed, match=r"loss of step 7 is (nan|inf)"):
        _health().check(7, loss, 0.5)


def test_a_loss_of_exactly_zero_ends_it() -> None:
    with pytest.raises(CheckFailed, match="exactly zero"):
        _health().check(1, 0.0, 0.5)


def test_gradients_that_are_no_numbers_end_it_at_once() -> None:
    with pytest.raises(CheckFailed, match=r"gradients of step 3 are not numbers"):
        _health().check(3, 2.0, math.nan)


def test_the_scaler_of_float16_may_skip_steps_but_not_for_ever() -> None:
    health = _health(float16=True)
    for step in range(1, FLOAT16_SKIPS):
        health.check(step, 2.0, math.inf)
    with pytest.raises(CheckFailed, match="not numbers"):
        health.check(FLOAT16_SKIPS, 2.0, math.inf)


def test_a_skipped_step_now_and_then_is_no_fault() -> None:
    health = _health(float16=True)
    for step in range(1, 10 * FLOAT16_SKIPS):
        health.check(step, 2.0, math.inf if step % 2 else 1.0)
    assert health.last_good == 10 * FLOAT16_SKIPS - 1


def test_gradients_of_zero_end_it_when_they_stay() -> None:
    health = _health()
    for step in range(1, LOSS_WINDOW):
        health.check(step, 2.0, 0.0)
    with pytest.raises(CheckFailed, match="no weight changes"):
        health.check(LOSS_WINDOW, 2.0, 0.0)


def test_an_exploding_loss_ends_it_and_tells_the_last_good_step() -> None:
    health = _health()
    for step in range(1, 11):
        health.check(step, 3.0, 1.0)
    with pytest.raises(CheckFailed, match="explodes"):
        for step in range(11, 30):
            health.check(step, 30.0, 1.0)
    assert health.last_good == 10


def test_one_wild_step_is_no_explosion() -> None:
    health = _health()
    for step in range(1, 30):
        health.check(step, 12.0 if step == 10 else 3.0, 1.0)
    assert health.last_good == 29


def test_a_model_that_begins_worse_than_a_guess_may() -> None:
    health = _health()
    for step in range(1, 30):
        health.check(step, 12.0, 1.0)
    assert health.last_good == 29


def test_a_resumed_training_that_fails_at_once_keeps_what_it_went_on_from() -> None:
    health = Health(VOCABULARY, float16=False, begins=50)
    with pytest.raises(CheckFailed):
        health.check(51, math.nan, 1.0)
    assert health.last_good == 50
