"""The loss as a picture: training's as a line with its cloud, the held-out rows' in marks.

What must stay true: the same losses give the same pixels. It is a PNG because the Hub does not show the SVG of a
repository; Pillow draws it, which Unsloth brings along, and matplotlib would be 60 MB for two lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from twinctl.pipeline.loss_curve import Points, smoothed

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Position = tuple[float, float]
SIZE, FINER = (960, 480), 2  # drawn twice as large, then made smaller: that is what makes its edges smooth
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 52, 56
INK, GRID, CLOUD, LINE, MARK = "#24292f", "#d8dee4", "#b6d4f2", "#0969da", "#bc4c00"
MOST = 2000


@dataclass(frozen=True)
class PlotArea:
    """Where a step and a loss are in the picture."""

    steps: tuple[float, float]
    losses: tuple[float, float]

    def at(self, step: float, loss: float) -> Position:
        """In pixels of the drawing; a loss beyond the bounds is on the edge."""
        (first, last), (low, high) = self.steps, self.losses
        across = (step - first) / ((last - first) or 1)
        down = (high - min(max(loss, low), high)) / ((high - low) or 1)
        width, height = SIZE[0] - LEFT - RIGHT, SIZE[1] - TOP - BOTTOM
        return (LEFT + across * width) * FINER, (TOP + down * height) * FINER


def loss_curve(losses: Points, evaluations: Mapping[int, float]) -> bytes:
    """The picture, as a PNG file. There must be a loss or an evaluation."""
    from PIL import Image, ImageDraw

    losses = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    marks = [(step, loss) for step, loss in evaluations.items() if math.isfinite(loss)]
    losses = losses[:: -(-len(losses) // MOST) or 1]
    frame = _plot_area(losses, marks)
    image = Image.new("RGB", (SIZE[0] * FINER, SIZE[1] * FINER), "white")
    draw = ImageDraw.Draw(image)
    _axes(draw, frame)
    _curves(draw, frame, losses, marks)
    _legend(draw, bool(losses), bool(marks))
    file = BytesIO()
    image.resize(SIZE, Image.Resampling.LANCZOS).quantize(64).save(file, "PNG", optimize=True)
    return file.getvalue()


def _plot_area(losses: Points, marks: Points) -> PlotArea:
    """From zero to the highest loss, but for the few that would press the rest flat; the marks are always inside."""
    steps = [step for step, _ in [*losses, *marks]] or [0]
    values = sorted(loss for _, loss in losses)
    highest = values[-1 - len(values) // 50] if values else 0.0
    top = max([highest, *(loss for _, loss in marks)], default=1.0) * 1.05 or 1.0
    ticks = _ticks(top)
    return PlotArea((min(steps), max(steps)), (0.0, max(top, ticks[-1])))


def _ticks(top: float) -> list[float]:
    """Round values from 0 to just below or at `top`, about five."""
    rough = top / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    return [number * step for number in range(math.floor(top / step + 1e-9) + 1)]


def _axes(draw: ImageDraw, frame: PlotArea) -> None:
    (first, last), (_, high) = frame.steps, frame.losses
    for loss in _ticks(high):
        start, end = frame.at(first, loss), frame.at(last, loss)
        draw.line([start, (max(end[0], start[0] + FINER), end[1])], fill=GRID, width=FINER)
        _write(draw, (start[0] - 10 * FINER, start[1]), f"{loss:g}", anchor="rm")
    for step in sorted({round(first + (last - first) * part / 4) for part in range(5)}):
        x, y = frame.at(step, 0)
        _write(draw, (x, y + 10 * FINER), f"{step:,}", anchor="mt")
    _write(draw, ((SIZE[0] - RIGHT) * FINER, (SIZE[1] - 14) * FINER), "optimizer step", anchor="rs")
    _write(draw, (LEFT * FINER, 20 * FINER), "loss, nats a token", anchor="lm")


def _curves(draw: ImageDraw, frame: PlotArea, losses: Points, marks: Sequence[Position]) -> None:
    for point in losses:
        _dot(draw, frame.at(*point), 2 * FINER, CLOUD)
    line = [frame.at(*point) for point in smoothed(losses)]
    if len(line) > 1:
        draw.line(line, fill=LINE, width=2 * FINER, joint="curve")
    placed = [frame.at(*point) for point in marks]
    if len(placed) > 1:
        draw.line(placed, fill=MARK, width=FINER)
    for x, y in placed:
        size = 5 * FINER
        draw.polygon([(x, y - size), (x + size, y), (x, y + size), (x - size, y)], fill=MARK)


def _legend(draw: ImageDraw, has_losses: bool, has_marks: bool) -> None:
    x, y = (SIZE[0] - RIGHT - 250) * FINER, 20 * FINER
    for text, colour, there in (("training", LINE, has_losses), ("held-out rows", MARK, has_marks)):
        if there:
            _dot(draw, (x, y), 5 * FINER, colour)
            _write(draw, (x + 12 * FINER, y), text, anchor="lm")
        x += 110 * FINER


def _dot(draw: ImageDraw, at: Position, radius: float, colour: str) -> None:
    x, y = at
    draw.ellipse([(x - radius, y - radius), (x + radius, y + radius)], fill=colour)


def _write(draw: ImageDraw, at: Position, text: str, *, anchor: str) -> None:
    from PIL import ImageFont

    draw.text(at, text, fill=INK, font=ImageFont.load_default(14 * FINER), anchor=anchor)
