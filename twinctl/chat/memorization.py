"""The longest run of tokens that an answer has in common with the rows it was trained on.

What must stay true: the run that is found is the longest one, whatever the corpus's size; a run never crosses from one
row's answer into another.

Method: every NGRAM consecutive tokens of the corpus have a hash, and the hashes are sorted once (13,000 rows: under a
second). An answer's hashes are looked up there, and the matches grow token by token until none is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinctl.data.tokens import IGNORED, TRAIN, read_tokens, samples

if TYPE_CHECKING:
    import numpy as np

NGRAM = 6  # tokens; shorter runs occur in every text
_FACTOR = 0x9E3779B97F4A7C15


class Corpus:
    """The learnt tokens of all training rows, in which runs are searched."""

    def __init__(self, rows: Sequence[Any]) -> None:
        """`rows`: each row's token ids as an array; ids that are IGNORED match nothing."""
        import numpy as np

        wall = np.array([IGNORED], np.int64)
        parts = [part for row in rows for part in (np.asarray(row, np.int64), wall)]
        self._ids = np.concatenate([wall, *parts])
        hashes = _hashes(self._ids)
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        """The training rows of a tokens folder."""
        return cls([labels for _, labels in samples(read_tokens(folder, TRAIN))])

    def longest_run(self, ids: Sequence[int]) -> tuple[int, int]:
        """(start in `ids`, length) of the longest run that is also in the corpus; (0, 0) if under NGRAM tokens."""
        import numpy as np

        own = np.asarray(ids, np.int64)
        if len(own) < NGRAM:
            return 0, 0
        here, there = self._matches(own)
        length, start = 0, 0
        while len(here):  # the first NGRAM are compared as well: equal hashes are not equal tokens
            length, start = length + 1, int(here[0])
            inside = (here + length < len(own)) & (there + length < len(self._ids))
            here, there = here[inside], there[inside]
            same = own[here + length] == self._ids[there + length]
            here, there = here[same], there[same]
        return (start, length) if length >= NGRAM else (0, 0)

    def _matches(self, own: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Where runs begin, in the answer and in the corpus: one pair for each position in the corpus."""
        import numpy as np

        wanted = _hashes(own)
        first = np.searchsorted(self._hashes, wanted, "left")
        counts = np.searchsorted(self._hashes, wanted, "right") - first
        here = np.repeat(np.arange(len(wanted)), counts)
        behind = np.arange(len(here)) - np.repeat(np.cumsum(counts) - counts, counts)
        there = self._order[np.repeat(first, counts) + behind]
        same = own[here] == self._ids[there]
        return here[same], there[same]


def _hashes(ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """One hash for every NGRAM consecutive ids."""
    import numpy as np

    count = max(len(ids) - NGRAM + 1, 0)
    hashes = np.zeros(count, np.uint64)
    for at in range(NGRAM):
        hashes = hashes * np.uint64(_FACTOR) + ids[at : at + count].astype(np.uint64) + np.uint64(1)
    return hashes
