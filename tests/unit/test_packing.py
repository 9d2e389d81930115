"""Packed rows: every sample whole, once, in a row of the full length, and unable to learn from its neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinctl.data.tokens import IGNORED
from twinctl.engine.packing import best_fit, pack

ROOM, PAD = 16, 99
lengths_ = st.lists(st.integers(1, ROOM), max_size=60)


def _samples(lengths: list[int]) -> list[tuple[list[int], list[int]]]:
    """Samples whose ids tell which sample and place they come from; labels are the ids."""
    return [([1000 * (index + 1) + place for place in range(length)],) * 2 for index, length in enumerate(lengths)]


@settings(deadline=None)
@given(lengths_)
def test_every_index_stands_in_exactly_one_row_that_holds_it(lengths: list[int]) -> None:
    rows = best_fit(lengths, ROOM)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[index] for index in row) <= ROOM for row in rows)


@settings(deadline=None)
@given(lengths_)
def test_no_two_rows_would_fit_in_one(lengths: list[int]) -> None:
    """What best-fit decreasing promises at least: at most one row is half empty or more."""
    totals = sorted(sum(lengths[index] for index in row) for row in best_fit(lengths, ROOM))
    assert len(totals) < 2 or totals[0] + totals[1] > ROOM


@settings(deadline=None)
@given(lengths_)
def test_a_row_is_its_samples_one_after_the_other_and_pads(lengths: list[int]) -> None:
    samples = _samples(lengths)
    seen = []
    for row in pack(samples, ROOM, PAD):
        assert len(row.input_ids) == len(row.labels) == sum(row.seq_lengths) == ROOM
        start = 0
        for length in row.seq_lengths:
            ids, labels = row.input_ids[start : start + length], row.labels[start : start + length]
            start += length
            if ids[0] == PAD:
                assert start == ROOM  # pads are the last segment, and one of their own
                assert ids == [PAD] * length
                assert labels == [IGNORED] * length
                assert row.tokens == ROOM - length
            else:
                seen.append(ids)
                assert labels == [IGNORED, *ids[1:]]
        assert row.tokens == ROOM - row.input_ids.count(PAD)
    assert sorted(seen) == sorted(ids for ids, _ in samples)


def test_labels_that_are_not_learnt_stay_so() -> None:
    (row,) = pack([([1, 2, 3, 4], [IGNORED, IGNORED, 3, 4]), ([5, 6], [IGNORED, 6])], 8, PAD)
    assert row.input_ids == [1, 2, 3, 4, 5, 6, PAD, PAD]
    assert row.labels == [IGNORED, IGNORED, 3, 4, IGNORED, 6, IGNORED, IGNORED]
    assert row.seq_lengths == [4, 2, 2]


@given(lengths_)
def test_the_rows_follow_from_the_samples_alone(lengths: list[int]) -> None:
    assert pack(_samples(lengths), ROOM, PAD) == pack(_samples(lengths), ROOM, PAD)


@pytest.mark.parametrize("lengths", [[ROOM + 1], [1, ROOM + 1, 2]])
def test_a_sample_longer_than_a_row_raises(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="17 tokens does not fit a row of 16"):
        pack(_samples(lengths), ROOM, PAD)


def test_no_samples_are_no_rows() -> None:
    assert pack([], ROOM, PAD) == []


def test_packing_leaves_little_room() -> None:
    lengths = [3 + (number * 7919) % 60 for number in range(2000)]
    assert sum(lengths) / (len(best_fit(lengths, 256)) * 256) > 0.99
