"""Text that breaks between words while it streams.

What must stay true: what is on the terminal is the text, whatever the pieces were; only a word that was begun at a
line's end is ever erased, to be written again on the next line, and never one whose width differs among terminals.
"""

from __future__ import annotations


class Wrapping:
    """Turns pieces of text into what to write, for lines of so many columns; the cursor is at a line's beginning."""

    def __init__(self, columns: int) -> None:
        self._room = max(columns - 1, 1)  # terminals differ in what a cursor does in the last column
        self._at = 0
        self._word = ""

    def add(self, piece: str) -> str:
        """What to write for the next piece, whose only control characters are line ends and tabs."""
        return "".join(map(self._next, piece))

    def _next(self, character: str) -> str:
        if character == "\n":
            self._at, self._word = 0, ""
            return character
        width = 8 - self._at % 8 if character == "\t" else _columns(character)
        is_over = self._at + width > self._room
        if character in " \t":
            self._at, self._word = 0 if is_over else self._at + width, ""
            return "\n" if is_over else character  # the line's end replaces it
        before = self._broken() if is_over else ""
        # Among wide characters a line can break anywhere; one of no width belongs to the one before.
        is_wide = width > 1 or not (width or self._word)
        self._at, self._word = self._at + width, "" if is_wide else self._word + character
        return before + character

    def _broken(self) -> str:
        """What moves to the next line, together with the current word unless it fills this line alone."""
        taken = sum(map(_columns, self._word))
        word = self._word if taken < self._at else ""
        self._at, self._word = taken if word else 0, word
        return f"\x1b[{taken}D\x1b[K\n{word}" if word else "\n"


def _columns(character: str) -> int:
    from prompt_toolkit.utils import get_cwidth

    return get_cwidth(character)
