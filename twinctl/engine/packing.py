"""Rows of one full length, filled with several samples that cannot see each other.

What must stay true: every sample stands whole in exactly one row; a segment's first label is not learnt (it would be
predicted from the sample before); a row's pads are a segment of their own that is not learnt. The rows depend on the
tokens alone, so they are the same on every device.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from twinctl.data.tokens import IGNORED


@dataclass(frozen=True)
class Row:
    """A packed row: equally long ids and labels, its segments' lengths, and how many of the ids are no pads."""

    input_ids: list[int]
    labels: list[int]
    seq_lengths: list[int]
    tokens: int


def best_fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Which samples share a row: best-fit decreasing (Johnson 1974), each into the fullest row that still holds it.

    Returns lists of indices; every index stands in exactly one. Lengths over `room` raise ValueError.
    """
    rows: list[list[int]] = []
    gaps: list[tuple[int, int]] = []  # (room left, row), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > room:
            raise ValueError(f"a sample of {length} tokens does not fit a row of {room}")
        place = bisect_left(gaps, (length, -1))
        if place < len(gaps):
            gap, row = gaps.pop(place)
        else:
            gap, row = room, len(rows)
            rows.append([])
        rows[row].append(index)
        insort(gaps, (gap - length, row))
    return [sorted(row) for row in rows]


def pack(samples: Sequence[tuple[list[int], list[int]]], room: int, pad_id: int) -> list[Row]:
    """Samples of (ids, labels) as rows of exactly `room` tokens."""
    return [
        _row([samples[index] for index in row], room, pad_id)
        for row in best_fit([len(ids) for ids, _ in samples], room)
    ]


def _row(samples: Sequence[tuple[list[int], list[int]]], room: int, pad_id: int) -> Row:
    input_ids: list[int] = []
    labels: list[int] = []
    seq_lengths: list[int] = []
    for ids, sample_labels in samples:
        input_ids += ids
        labels += [IGNORED, *sample_labels[1:]]
        seq_lengths.append(len(ids))
    tokens = len(input_ids)
    if gap := room - tokens:
        input_ids += [pad_id] * gap
        labels += [IGNORED] * gap
        seq_lengths.append(gap)
    return Row(input_ids, labels, seq_lengths, tokens)
