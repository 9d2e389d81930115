"""An answer's text while it grows: what can be shown already, and where it ends.

What must stay true: the pieces that were shown are, together, the text; no part of a stop text is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class StopSequenceFilter:
    """Takes pieces of text and passes them on to `show` as soon as they cannot belong to a stop text."""

    def __init__(self, stop: Sequence[str], show: Callable[[str], None]) -> None:
        self._stop, self._show = [text for text in stop if text], show
        self._held = ""
        self.text = ""
        self.stopped = False

    def add(self, piece: str) -> None:
        """The next piece; what comes after a stop text is dropped."""
        if self.stopped or not piece:
            return
        self._held += piece
        ends = [start for text in self._stop if (start := self._held.find(text)) >= 0]
        if ends:
            self.stopped = True
            self._held = self._held[: min(ends)]
        self._pass_on(len(self._held) - (0 if self.stopped else self._possible_stop()))

    def end(self) -> None:
        """The answer is complete: what was held back is text."""
        self._pass_on(len(self._held))

    def _possible_stop(self) -> int:
        """How many of the last characters could be the beginning of a stop text."""
        longest = max(map(len, self._stop), default=1) - 1
        sizes = range(min(longest, len(self._held)), 0, -1)
        return next((size for size in sizes if any(text.startswith(self._held[-size:]) for text in self._stop)), 0)

    def _pass_on(self, count: int) -> None:
        piece, self._held = self._held[:count], self._held[count:]
        if piece:
            self.text += piece
            self._show(piece)
