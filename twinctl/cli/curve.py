"""Pictures out of characters: two curves, the loss in dots of braille and the eval loss in marks; and a bar.

What must stay true: exactly as many lines as were asked for, none wider than asked; distinguishable without colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from twinctl.pipeline.loss_curve import Points, smoothed

if TYPE_CHECKING:
    from rich.text import Text

# A character has 2 × 4 dots of braille; the bit of each, by row and column.
BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
BLANK = 0x2800
MARK, PLAIN_MARK = "◆", "o"
LINE_STYLE, CLOUD_STYLE, MARK_STYLE, AXIS_STYLE = "cyan", "bright_black", "bold yellow", "bright_black"
# Points beyond this many are thinned out: no terminal has as many columns, and a picture must cost nothing.
MOST = 1000


class Canvas:
    """Dots in a grid of characters."""

    def __init__(self, width: int, height: int, span: tuple[int, int], bounds: tuple[float, float]) -> None:
        self.width, self.height = width, height
        self._span, self._bounds = span, bounds
        self._dots: dict[tuple[int, int], int] = {}
        self._styles: dict[tuple[int, int], str] = {}
        self._marks: set[tuple[int, int]] = set()

    def place(self, step: float, value: float) -> tuple[int, int]:
        """The dot of a value; one beyond the bounds is on the edge."""
        (first, last), (low, high) = self._span, self._bounds
        x = (step - first) / max(last - first, 1) * (2 * self.width - 1)
        y = (high - value) / (high - low) * (4 * self.height - 1)
        return round(min(max(x, 0), 2 * self.width - 1)), round(min(max(y, 0), 4 * self.height - 1))

    def dot(self, x: int, y: int, style: str) -> None:
        """Set one; the style of the last in a character is the character's."""
        cell = (x // 2, y // 4)
        self._dots[cell] = self._dots.get(cell, 0) | BITS[y % 4][x % 2]
        self._styles[cell] = style

    def scatter(self, points: Points, style: str) -> None:
        """Each point by itself, where no other style is: a character has one colour, and a line should stay one."""
        for x, y in (self.place(step, value) for step, value in points):
            if self._styles.get((x // 2, y // 4), style) == style:
                self.dot(x, y, style)

    def connect(self, points: Points, style: str) -> None:
        """The points and a line through them."""
        placed = [self.place(step, value) for step, value in points]
        for (x, y), (to_x, to_y) in zip(placed, placed[1:] or placed, strict=False):
            length = max(abs(to_x - x), abs(to_y - y), 1)
            for part in range(length + 1):
                self.dot(x + round((to_x - x) * part / length), y + round((to_y - y) * part / length), style)

    def mark(self, points: Iterable[tuple[int, float]]) -> None:
        """A mark over whatever is there."""
        for step, value in points:
            x, y = self.place(step, value)
            self._marks.add((x // 2, y // 4))

    def row(self, y: int, *, plain: bool) -> list[tuple[str, str]]:
        """A line's characters with their styles."""
        cells: list[tuple[str, str]] = []
        for cell in ((x, y) for x in range(self.width)):
            if cell in self._marks:
                cells.append((PLAIN_MARK if plain else MARK, MARK_STYLE))
            elif cell in self._dots:
                cells.append(("." if plain else chr(BLANK + self._dots[cell]), self._styles[cell]))
            else:
                cells.append((" ", ""))
        return cells


def draw_curve(losses: Points, evaluations: Mapping[int, float], width: int, height: int, *, plain: bool) -> list[Text]:
    """The picture with its axes; `plain`: for a terminal that has no braille."""
    from rich.text import Text

    losses = losses[:: -(-len(losses) // MOST) or 1]
    low, high = bounds = _bounds([loss for _, loss in losses], list(evaluations.values()))
    steps = [step for step, _ in losses] + list(evaluations)
    span = (min(steps), max(steps))
    labels = _labels(low, high, height - 1)
    side = max(map(len, labels)) + 1
    canvas = Canvas(max(width - side - 1, 1), height - 1, span, bounds)
    smooth = smoothed(losses)
    canvas.connect(smooth, LINE_STYLE)
    canvas.scatter(losses, CLOUD_STYLE)
    canvas.mark(evaluations.items())
    edge = ("|", "|") if plain else ("┤", "│")
    lines = [
        Text.assemble((f"{label:>{side - 1}} {edge[not label]}", AXIS_STYLE), *canvas.row(y, plain=plain))
        for y, label in enumerate(labels)
    ]
    ends = f"{span[0]}".ljust(canvas.width - len(str(span[1]))) + f"{span[1]}"
    return [*lines, Text(" " * (side + 1) + ends, style=AXIS_STYLE)]


def bar(part: float, width: int, *, plain: bool = False) -> Text:
    """A bar that is full at 1."""
    from rich.text import Text

    width = max(width, 1)
    done = round(min(max(part, 0.0), 1.0) * width)
    full, rest = ("#", "-") if plain else ("━", "─")
    return Text.assemble((full * done, "green"), (rest * (width - done), "bright_black"), no_wrap=True)


def _bounds(losses: Sequence[float], evaluations: Sequence[float]) -> tuple[float, float]:
    """From the lowest to the highest value, but for few that would press the rest flat."""
    values = sorted([*losses, *evaluations])
    low, most = values[0], values[-1 - len(values) // 50]
    high = max(most, *(value for value in evaluations if value <= low + 3 * (most - low)), low)
    around = max(abs(low) / 10, 0.5)
    return (low, high) if high > low else (low - around, low + around)


def _labels(low: float, high: float, height: int) -> list[str]:
    """The axis' text for each line: the ends, and some between."""
    is_far = max(abs(low), abs(high)) >= 1e5
    form = ".1e" if is_far else ".2f" if high - low >= 0.1 else ".3f" if high - low >= 0.01 else ".4f"
    every = 2 if height <= 6 else 3 if height <= 12 else 4
    rows = range(height)
    values = [high - (high - low) * y / max(height - 1, 1) for y in rows]
    is_labelled = [y == height - 1 or (y % every == 0 and y < height - every // 2 - 1) or y == 0 for y in rows]
    return [f"{value:{form}}" if labelled else "" for value, labelled in zip(values, is_labelled, strict=True)]
