"""Small bar plots, as the coordinates of an SVG picture that a template draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

#: The size of a plot, the width that each day has, and the width of its bar, in units of the picture.
HEIGHT: Final = 60
STEP: Final = 10
BAR: Final = 8
#: The height of the smallest bar that is not 0: visible, and clickable for its tooltip.
_LEAST: Final = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of a plot.

    Attributes:
        value: what the bar shows; None if it is not known.
        x, y, height: the position and the height of the rectangle, whose width is ``BAR``.
    """

    day: date
    value: int | None
    x: int
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Plot:
    """The bars of some days, in order.

    Attributes:
        width: the width of the picture; its height is ``HEIGHT``.
        highest: the first bar with the largest value; None if there is nothing above 0.
    """

    bars: tuple[Bar, ...]
    width: int
    highest: Bar | None


def plot(values: Iterable[tuple[date, int | None]]) -> Plot:
    """Makes a plot of a value a day. The scale begins at 0."""
    days = list(values)
    most = max((value for _, value in days if value is not None), default=0)
    bars = tuple(_bar(number, day, value, most) for number, (day, value) in enumerate(days))
    highest = next((bar for bar in bars if bar.value == most), None) if most else None
    return Plot(bars, STEP * len(days), highest)


def _bar(number: int, day: date, value: int | None, most: int) -> Bar:
    height = max(_LEAST, round(HEIGHT * value / most, 1)) if value else 0
    return Bar(day, value, STEP * number + (STEP - BAR) // 2, HEIGHT - height, height)
