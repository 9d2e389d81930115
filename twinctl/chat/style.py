"""A few plain measures of style, and how far a text is from an author's by them.

What must stay true: the measures count words and marks and know no language: the words that are compared are the
author's own most frequent ones; a measure of a longer text is not larger for that.

The distance is Burrows's Delta: over the author's most frequent words, by how many of the author's own standard
deviations (between pieces of a few hundred words) a text uses each more or less often, on average. Texts by one hand
are nearer than texts by two; it needs some hundred words to mean anything.

Source: J. Burrows, “‘Delta’: a measure of stylistic difference and a guide to likely authorship”, 2002.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from twinctl.chat.quality_checks import WORD

FREQUENT = 60  # words that are compared
PIECE = 150  # words in a piece of the author's text
VARIETY_WINDOW = 50  # words, in which variety is counted
ENOUGH = 300  # words of the author's, below which nothing is said
SOME = 100  # words of a text that is compared
_SENTENCE_END = re.compile(r"[.!?…。！？]+")
_PARTS_OF_SENTENCES = ",;:—–-()"


@dataclass(frozen=True)
class Style:
    """`words` of an answer, of a `sentence`; `variety`: the share of different words among 50 in a row; marks within
    and at the end of sentences, for every 100 words; `distance`: Burrows's Delta from the author, None if unknown.
    """

    words: float
    sentence: float
    variety: float
    pauses: float
    questions: float
    distance: float | None

    def rounded(self) -> dict[str, float | None]:
        """For a document."""
        return {name: value if value is None else round(value, 3) for name, value in asdict(self).items()}


class Author:
    """How the author writes, from texts that the model has not seen."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = [_words(text) for text in texts]
        every = [word for each in words for word in each]
        self.is_known = len(every) >= ENOUGH
        frequent = [word for word, _ in Counter(every).most_common(FREQUENT)]
        pieces = [every[start : start + PIECE] for start in range(0, max(len(every) - PIECE, 0) + 1, PIECE)]
        rates = [_rates(piece, frequent) for piece in pieces]
        self._whole = _rates(every, frequent)
        self._spread = {word: max(_deviation([rate[word] for rate in rates]), 0.5 / PIECE) for word in frequent}

    def distance(self, texts: Sequence[str]) -> float | None:
        """Burrows's Delta of the texts together; None where either side has too few words."""
        words = [word for text in texts for word in _words(text)]
        if not self.is_known or len(words) < SOME:
            return None
        found = _rates(words, list(self._whole))
        gaps = [abs(found[word] - rate) / self._spread[word] for word, rate in self._whole.items()]
        return sum(gaps) / len(gaps)

    def measure(self, texts: Sequence[str]) -> Style:
        """The style of the texts together."""
        words = [_words(text) for text in texts]
        count = sum(map(len, words)) or 1
        ends = [len(_SENTENCE_END.findall(text)) or bool(_words(text)) for text in texts]
        marks = Counter(letter for text in texts for letter in text)
        return Style(
            words=count / max(len(texts), 1),
            sentence=count / (sum(ends) or 1),
            variety=_variety([word for each in words for word in each]),
            pauses=100 * sum(marks[mark] for mark in _PARTS_OF_SENTENCES) / count,
            questions=100 * sum(marks[mark] for mark in "?!？！") / count,
            distance=self.distance(texts),
        )


def _words(text: str) -> list[str]:
    return [word.casefold() for word in WORD.findall(text) if word[0].isalnum()]


def _rates(words: Sequence[str], frequent: Sequence[str]) -> dict[str, float]:
    counts = Counter(words)
    return {word: counts[word] / max(len(words), 1) for word in frequent}


def _deviation(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def _variety(words: Sequence[str]) -> float:
    """The mean share of different words in every window of so many."""
    starts = range(0, max(len(words) - VARIETY_WINDOW, 0) + 1, 5)
    shares = [
        len(set(words[start : start + VARIETY_WINDOW])) / max(len(words[start : start + VARIETY_WINDOW]), 1)
        for start in starts
    ]
    return sum(shares) / len(shares)
