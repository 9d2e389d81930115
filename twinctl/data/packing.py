"""Which samples share a packed row.

What must stay true: every sample stands whole in exactly one row; the rows depend on the samples' lengths alone, so
they are the same on every device.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from heapq import heappop, heappush


def best_fit(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Which samples share a row: best-fit decreasing (Johnson 1974), each into the fullest row that still holds it.

    Returns lists of indices; every index stands in exactly one. Lengths over `room` raise ValueError. Samples of one
    length are placed together, so the time grows with the number of samples, not with that of rows.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for index, length in enumerate(lengths):
        by_length[int(length)].append(index)
    rows: list[list[int]] = []
    gaps = _Gaps()
    for length in sorted(by_length, reverse=True):
        if length > room:
            raise ValueError(f"a sample of {length} tokens does not fit a row of {room}")
        waiting, start = by_length[length], 0
        while start < len(waiting):
            gap, row = gaps.take(length) or (room, len(rows))
            if row == len(rows):
                rows.append([])
            # Whatever is left of this gap is the tightest for the next one of the same length.
            group = waiting[start : start + (gap // length if length else len(waiting))]
            rows[row] += group
            start += len(group)
            gaps.put(gap - length * len(group), row)
    return [sorted(row) for row in rows]


class _Gaps:
    """Rows by the room that is left in them."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._rows: dict[int, list[int]] = {}

    def take(self, length: int) -> tuple[int, int] | None:
        """(room, row) of the fullest row with so much room, the first of equals; None when there is none."""
        index = bisect_left(self._sizes, length)
        if index == len(self._sizes):
            return None
        size = self._sizes[index]
        row = heappop(self._rows[size])
        if not self._rows[size]:
            del self._rows[size], self._sizes[index]
        return size, row

    def put(self, size: int, row: int) -> None:
        """Remember a row's room."""
        if size not in self._rows:
            self._rows[size] = []
            insort(self._sizes, size)
        heappush(self._rows[size], row)
