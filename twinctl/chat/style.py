"""A few plain measures of style, and how far a text is from an author's by them.

What must stay true: the measures count words and marks and know no language: the words that are compared are the
author's own most frequent ones; a measure of a longer text is not larger for that.

The distance is Burrows's Delta: over the author's most frequent words, by how many of the author's own standard
deviations (between pieces of a few hundred words) a text uses each more or less often, on average. Texts by one hand
are nearer than texts by two; it needs some hundred words to mean anything.

Source: J. Burrows, “‘Delta’: a measure of stylistic difference and a guide to likely authorship”, 2002.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import pstdev

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
        words = [word for text in texts for word in _words(text)]
        self.is_known = len(words) >= ENOUGH
        frequent = [word for word, _ in Counter(words).most_common(FREQUENT)]
        pieces = [words[start : start + PIECE] for start in range(0, max(len(words) - PIECE, 0) + 1, PIECE)]
        rates = [_rates(piece, frequent) for piece in pieces]
        self._rates = _rates(words, frequent)
        self._spread = {word: max(pstdev(rate[word] for rate in rates), 0.5 / PIECE) for word in frequent}

    def distance(self, texts: Sequence[str]) -> float | None:
        """Burrows's Delta of the texts together; None if the author or the texts have too few words."""
        words = [word for text in texts for word in _words(text)]
        if not self.is_known or len(words) < SOME:
            return None
        rates = _rates(words, list(self._rates))
        gaps = [abs(rates[word] - rate) / self._spread[word] for word, rate in self._rates.items()]
        return sum(gaps) / len(gaps)

    def measure(self, texts: Sequence[str]) -> Style:
        """The style of the texts together."""
        words = [word for text in texts for word in _words(text)]
        count = len(words) or 1
        ends = [len(_SENTENCE_END.findall(text)) or bool(_words(text)) for text in texts]
        marks = Counter(letter for text in texts for letter in text)
        return Style(
            words=count / max(len(texts), 1),
            sentence=count / (sum(ends) or 1),
            variety=_variety(words),
            pauses=100 * sum(marks[mark] for mark in _PARTS_OF_SENTENCES) / count,
            questions=100 * sum(marks[mark] for mark in "?!？！") / count,
            distance=self.distance(texts),
        )


def _words(text: str) -> list[str]:
    return [word.casefold() for word in WORD.findall(text) if word[0].isalnum()]


def _rates(words: Sequence[str], frequent: Sequence[str]) -> dict[str, float]:
    counts = Counter(words)
    return {word: counts[word] / max(len(words), 1) for word in frequent}


def _variety(words: Sequence[str]) -> float:
    """The mean share of different words in windows of VARIETY_WINDOW words."""
    starts = range(0, max(len(words) - VARIETY_WINDOW, 0) + 1, 5)
    windows = [words[start : start + VARIETY_WINDOW] for start in starts]
    shares = [len(set(window)) / max(len(window), 1) for window in windows]
    return sum(shares) / len(shares)
