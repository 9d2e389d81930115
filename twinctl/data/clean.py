"""Text without what no reader sees, and rows without their repetitions.

What must stay true: the author's words are never changed; of several equal rows the first one stays.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal

from twinctl.data.shapes import normalized_text

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
_UNCLEAN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufeff]")
SHINGLE, ALIKE = 5, 0.8
# 12 bands of 5: two texts that are 0.8 alike have a whole band in common in 99 of 100 cases, and then are compared.
PERMUTATIONS, BANDS = 60, (12, 5)


def without_controls(text: str) -> str:
    """The text with line ends as \\n, and without control characters and byte-order marks."""
    if not _UNCLEAN.search(text):
        return text
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


class Duplicates:
    """Remembers what was seen: `repeats` says why a text is a repetition, None if it is new."""

    def __init__(self, kind: Literal["exact", "near", "none"]) -> None:
        self._kind = kind
        self._seen: set[bytes] = set()
        self._near = _NearDuplicates() if kind == "near" else None

    def repeats(self, text: str) -> str | None:
        """ "duplicate", "near duplicate" or None."""
        if self._kind == "none":
            return None
        # Two texts share a digest of 96 bits only if they are equal.
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        if digest in self._seen:
            return "duplicate"
        self._seen.add(digest)
        return "near duplicate" if self._near and self._near.repeats(text) else None


class _NearDuplicates:
    """MinHash over word 5-grams of the normalised text (Broder 1997), an estimated Jaccard similarity of 0.8 and up."""

    def __init__(self) -> None:
        from datasketch import MinHash, MinHashLSH

        self._index: Any = MinHashLSH(num_perm=PERMUTATIONS, params=BANDS)
        self._empty: Any = MinHash(num_perm=PERMUTATIONS, seed=1)
        self._sketches: list[Any] = []

    def repeats(self, text: str) -> bool:
        sketch = self._empty.copy()
        words = normalized_text(text).split()
        starts = range(max(len(words) - SHINGLE + 1, 1))
        sketch.update_batch([" ".join(words[start : start + SHINGLE]).encode() for start in starts])
        values = sketch.hashvalues.astype("uint32")  # they have no more bits
        if any((values == self._sketches[number]).mean() >= ALIKE for number in self._index.query(sketch)):
            return True
        self._index.insert(len(self._sketches), sketch)
        self._sketches.append(values)
        return False
