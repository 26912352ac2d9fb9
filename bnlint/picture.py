"""A plot as plain data: demonstrations and findings hold it, `bnlint.pictures` draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

Side = Literal["wrong", "right", "truth"]
ORDER: tuple[Side, ...] = ("truth", "wrong", "right")
"""What is drawn later hides what was drawn before."""
BARS = 12
"""Bars of a distribution, at most."""
Kind = Literal["lines", "scatter", "bars", "histogram"]


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one side; `x` is 0, 1, 2, … where it is left out, `name` the side's."""

    side: Side
    y: Sequence[float]
    x: Sequence[float] = ()
    name: str = ""

    @property
    def label(self) -> str:
        """What a legend calls it."""
        return self.name or self.side

    @property
    def points(self) -> list[tuple[float, float]]:
        """All x with their y."""
        return list(zip(self.x or range(len(self.y)), self.y, strict=True))


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot as data, for every way of drawing it.

    Kinds:
        lines: y over x, joined in the order in which they come.
        scatter: y over x, not joined, but for the side "truth".
        bars: one value of each series for each of the `categories`; the axis `y` is that of the values.
        histogram: how often the values of a series (its `y`) fall where on the axis `x`.

    `x` and `y` are the titles of the axes, with units. `logarithmic` is about the values (y) and
    `logarithmic_x` about x, of lines and scatter; all of them are positive then. What is infinite or no
    number is left out.
    """

    kind: Kind
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    categories: tuple[str, ...] = ()
    logarithmic: bool = False
    logarithmic_x: bool = False

    def points(self, one: Series) -> list[tuple[float, float]]:
        """What can be drawn of a series: the numbers that are finite, and positive on a logarithmic axis."""
        return [
            (x, y)
            for x, y in one.points
            if isfinite(x)
            and isfinite(y)
            and (x > 0 or not self.logarithmic_x)
            and (y > 0 or not self.logarithmic)
        ]


def against(  # noqa: PLR0913  a picture has two axes
    title: str,
    x: str,
    y: str,
    true: Sequence[float],
    found: Sequence[float],
    *,
    name: str = "a channel",
    logarithmic: bool = False,
) -> Picture:
    """What was found over what is true, a point for each pair, with the line on which both are the same.

    Both axes are `logarithmic` where that is asked for, as for variances.
    """
    kind = Picture("scatter", title, x, y, (), logarithmic=logarithmic, logarithmic_x=logarithmic)
    points = Series("wrong", found, true, name)
    known = [value for pair in kind.points(points) for value in pair]
    ends = _ends(known, logarithmic=logarithmic)
    return replace(kind, series=(Series("truth", ends, ends, "the same"), points))


def _ends(known: Sequence[float], *, logarithmic: bool) -> tuple[float, ...]:
    """From where to where a line goes past all values; it has a length where they are one."""
    if not known:
        return ()
    least, most = min(known), max(known)
    if least < most:
        return least, most
    return (
        (least / 2, most * 2) if logarithmic else (least - abs(least) / 2 - 1e-3, most + abs(most) / 2 + 1e-3)
    )


def distribution(title: str, x: str, y: str, values: Iterable[int], *, name: str) -> Picture:
    """How often each whole number comes, as bars; where there are many, those that are close share one."""
    numbers = Counter(values)
    low, high = min(numbers, default=0), max(numbers, default=0)
    width = 1 if len(numbers) <= BARS else -(-(high - low + 1) // BARS)
    starts = sorted({low + (value - low) // width * width for value in numbers})
    counts = [float(sum(numbers[start + step] for step in range(width))) for start in starts]
    names = (f"{start}" if width == 1 else f"{start}–{start + width - 1}" for start in starts)
    return Picture("bars", title, x, y, (Series("wrong", counts, name=name),), tuple(names))
