"""The loss of a training as a curve that can be read: what the terminal's drawing and the card's picture share.

What must stay true: the same losses give the same curve, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

Points = Sequence[tuple[int, float]]


def smoothed(points: Points) -> Points:
    """Each value the mean of itself and some before it, of the more the more there are; few stay as they are."""
    window = max(len(points) // 25, 1)
    if window == 1:
        return points
    sums = [0.0, *accumulate(value for _, value in points)]
    # At the left end a window half as wide as there are points: else the first, steep steps look like a jump.
    starts = [max(index + 1 - window, (index + 1) // 2) for index in range(len(points))]
    return [
        (step, (sums[index + 1] - sums[start]) / (index + 1 - start))
        for index, ((step, _), start) in enumerate(zip(points, starts, strict=True))
    ]
