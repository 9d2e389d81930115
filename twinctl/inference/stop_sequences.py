"""An answer's text while it grows: what may be shown already, and where it ends.

What must stay true: the pieces that were shown are the text, one after the other; no part of a stop text is among them.
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
        """The next piece; what comes behind a stop text is dropped."""
        if self.stopped or not piece:
            return
        self._held += piece
        at = min((place for text in self._stop if (place := self._held.find(text)) >= 0), default=None)
        if at is not None:
            self.stopped = True
            self._held = self._held[:at]
        self._pass_on(len(self._held) - (0 if self.stopped else self._doubtful()))

    def end(self) -> None:
        """Nothing comes any more: what was held back is text."""
        self._pass_on(len(self._held))

    def _doubtful(self) -> int:
        """How many of the last characters could begin a stop text."""
        longest = max(map(len, self._stop), default=1) - 1
        sizes = range(min(longest, len(self._held)), 0, -1)
        return next((size for size in sizes if any(text.startswith(self._held[-size:]) for text in self._stop)), 0)

    def _pass_on(self, count: int) -> None:
        piece, self._held = self._held[:count], self._held[count:]
        if piece:
            self.text += piece
            self._show(piece)
