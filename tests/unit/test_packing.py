"""Packed rows: every sample whole, once, in a row of the full length, and unable to learn from its neighbours."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinctl.data.packing import best_fit
from twinctl.data.tokens import IGNORED
from twinctl.engine.rows import packed_row

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


def _pack(lengths: list[int]) -> list[dict[str, Any]]:
    samples = [(np.array(ids, np.int32), np.array(labels, np.int32)) for ids, labels in _samples(lengths)]
    return [packed_row([samples[index] for index in row], ROOM, PAD) for row in best_fit(lengths, ROOM)]


@settings(deadline=None)
@given(lengths_)
def test_a_row_is_its_samples_one_after_the_other_and_pads(lengths: list[int]) -> None:
    seen = []
    for row in _pack(lengths):
        assert len(row["input_ids"]) == len(row["labels"]) == sum(row["seq_lengths"]) == ROOM
        start = 0
        for length in row["seq_lengths"]:
            ids, labels = (row[name][start : start + length].tolist() for name in ("input_ids", "labels"))
            start += length
            if ids[0] == PAD:
                assert start == ROOM  # pads are the last segment, and one of their own
                assert ids == [PAD] * length
                assert labels == [IGNORED] * length
                assert row["tokens"] == ROOM - length
            else:
                seen.append(ids)
                assert labels == [IGNORED, *ids[1:]]
        assert row["tokens"] == ROOM - row["input_ids"].tolist().count(PAD)
    assert sorted(seen) == sorted(ids for ids, _ in _samples(lengths))


def test_labels_that_are_not_learnt_stay_so() -> None:
    samples = [([1, 2, 3, 4], [IGNORED, IGNORED, 3, 4]), ([5, 6], [IGNORED, 6])]
    row = packed_row([(np.array(ids), np.array(labels)) for ids, labels in samples], 8, PAD)
    assert row["input_ids"].tolist() == [1, 2, 3, 4, 5, 6, PAD, PAD]
    assert row["labels"].tolist() == [IGNORED, IGNORED, 3, 4, IGNORED, 6, IGNORED, IGNORED]
    assert row["seq_lengths"] == [4, 2, 2]


@pytest.mark.parametrize("lengths", [[ROOM + 1], [1, ROOM + 1, 2]])
def test_a_sample_longer_than_a_row_raises(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="17 tokens does not fit a row of 16"):
        best_fit(lengths, ROOM)


def test_no_samples_are_no_rows() -> None:
    assert best_fit([], ROOM) == []


@settings(deadline=None)
@given(lengths_)
def test_it_is_best_fit_decreasing(lengths: list[int]) -> None:
    """The same rows as the plain algorithm, which looks at every row for every sample."""
    rows: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        gaps = [(ROOM - sum(lengths[i] for i in row), place) for place, row in enumerate(rows)]
        fitting = [(gap, place) for gap, place in gaps if gap >= lengths[index]]
        if fitting:
            rows[min(fitting)[1]].append(index)
        else:
            rows.append([index])
    assert best_fit(lengths, ROOM) == [sorted(row) for row in rows]


def test_packing_leaves_little_room() -> None:
    lengths = [3 + (number * 7919) % 60 for number in range(2000)]
    assert sum(lengths) / (len(best_fit(lengths, 256)) * 256) > 0.99


def test_many_samples_are_packed_in_seconds() -> None:
    lengths = [3 + (number * 7919) % 2000 for number in range(200_000)]
    began = time.monotonic()
    rows = best_fit(lengths, 2048)
    assert sum(map(len, rows)) == len(lengths)
    assert time.monotonic() - began < 20
