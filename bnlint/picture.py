"""A plot as plain data: demonstrations and findings hold it, `bnlint.pictures` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Side = Literal["wrong", "right", "truth"]
ORDER: tuple[Side, ...] = ("truth", "wrong", "right")
"""What is drawn later hides what was drawn before."""
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

    `x` and `y` are the titles of the axes, with units. `logarithmic` is about the values (y); all of them
    are positive then. Values that are infinite or not numbers are left out.
    """

    kind: Kind
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    categories: tuple[str, ...] = ()
    logarithmic: bool = False
