"""Which samples are held out.

What must stay true: all samples of one unit (a document, or the rows that ask the same) are on one side; a unit's side
follows from its text and the seed alone, so adding rows moves no other unit. The one exception: where chance holds out
none of the author's units, the one that was nearest to it is held out, so that there always is something to measure by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from twinctl.data.shapes import normalized_text
from twinctl.data.tokens import EVAL, TRAIN

T = TypeVar("T")


def split_hash(unit: str, seed: int) -> float:
    """A number in [0, 1) that is the unit's own: a hash of its normalized text and the seed."""
    key = hashlib.blake2b(f"{seed}\0{normalized_text(unit)}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(key, "big") / 2**64


@dataclass
class Split(Generic[T]):
    """Hands each item to `write` with its side; the nearest unit waits until it is known whether it is needed."""

    fraction: float
    write: Callable[[str, T], None]
    _held: list[T] = field(default_factory=list)
    _nearest: float = 1.0
    _wrote: dict[str, bool] = field(default_factory=lambda: {TRAIN: False, EVAL: False})

    def add(self, item: T, unit_hash: float, *, is_author: bool) -> None:
        """Decide the item's side by its unit's `split_hash`."""
        if unit_hash < self.fraction:
            self._put(EVAL, item, is_author)
        elif self._held and unit_hash == self._nearest:
            self._held.append(item)  # whosever it is
        elif not is_author or not self.fraction or self._wrote[EVAL] or unit_hash > self._nearest:
            self._put(TRAIN, item, is_author)
        else:
            self._release(TRAIN)
            self._nearest = unit_hash
            self._held.append(item)

    def end(self) -> None:
        """No more items: the waiting unit finds its side."""
        self._release(EVAL if self._wrote[TRAIN] and not self._wrote[EVAL] else TRAIN)

    def _release(self, side: str) -> None:
        held, self._held = self._held, []
        for item in held:
            self._put(side, item, True)

    def _put(self, side: str, item: T, is_author: bool) -> None:
        self._wrote[side] = self._wrote[side] or is_author
        self.write(side, item)
