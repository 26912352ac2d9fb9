"""A picture made of characters. Colours help, but its marks alone tell wrong from right."""

from __future__ import annotations

import math
import textwrap
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Final

from bnlint.picture import ORDER
from bnlint.pictures.scales import Scale, brief, counts, edges, spanning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bnlint.demonstration import Shown
    from bnlint.picture import Picture, Side

MARKS: Final[dict[Side, str]] = {"wrong": "x", "right": "o", "truth": "·"}
BARS: Final[dict[Side, str]] = {"wrong": "▒", "right": "█", "truth": "·"}
STYLES: Final[dict[Side, str]] = {"wrong": "error", "right": "good", "truth": "line"}
"""The names of styles, as the terminal has them."""
HEIGHT = 15
"""Rows of a plot."""
BINS = 14
"""Rows of a histogram, about."""


def plain(text: str, _style: str) -> str:
    """Without colours."""
    return text


def render(picture: Picture, columns: int, paint: Callable[[str, str], str] = plain) -> str:
    """The picture in so many columns."""
    draw = {"lines": _plane, "scatter": _plane, "bars": _bars, "histogram": _histogram}[picture.kind]
    lines = [*textwrap.wrap(picture.title, columns), *draw(picture, columns, paint)]
    return "\n".join(line.rstrip() for line in lines)


def _legend(picture: Picture, columns: int, paint: Callable[[str, str], str]) -> Iterator[str]:
    """The axis of the values, and which mark stands for what, in as many lines as they need."""
    texts = [
        (f"{picture.y}:", ""),
        *((f"{MARKS[one.side]} {one.label}", STYLES[one.side]) for one in picture.series),
    ]
    line, room = "", columns
    for text, style in texts:
        if line and room < len(text):
            yield line.rstrip()
            line, room = "", columns
        line += (paint(text, style) if style else text) + "   "
        room -= len(text) + 3
    yield line.rstrip()


def _numbered(ticks: list[float]) -> list[str]:
    """Round numbers as short as they can be."""
    return [f"{tick:.4g}" for tick in ticks]


# Lines and scatter -------------------------------------------------------------------------------------


class _Canvas:
    """Cells with a mark and the side that it stands for; the first row is the lowest one."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.cells: dict[tuple[int, int], Side] = {}

    def put(self, x: float, y: float, side: Side) -> None:
        """Mark the cell at these shares of the width and the height."""
        self.cells[round(x * (self.width - 1)), round(y * (self.height - 1))] = side

    def join(self, start: tuple[float, float], end: tuple[float, float], side: Side) -> None:
        """Mark the cells from one point to another."""
        across, up = (end[0] - start[0]) * (self.width - 1), (end[1] - start[1]) * (self.height - 1)
        steps = max(1, math.ceil(max(abs(across), abs(up))))
        for step in range(steps + 1):
            part = step / steps
            self.put(start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1]), side)

    def row(self, number: int, paint: Callable[[str, str], str]) -> str:
        """One row as text."""
        sides = (self.cells.get((column, number)) for column in range(self.width))
        return "".join(paint(MARKS[side], STYLES[side]) if side else " " for side in sides)


def _plane(picture: Picture, columns: int, paint: Callable[[str, str], str]) -> Iterator[str]:
    """Values over x, on a canvas between two axes."""
    ordered = sorted(picture.series, key=lambda one: ORDER.index(one.side))
    points = [picture.points(one) for one in ordered]
    across = spanning((x for found in points for x, _ in found), logarithmic=picture.logarithmic_x)
    up = spanning((y for found in points for _, y in found), logarithmic=picture.logarithmic)
    ticks = up.ticks(5)
    labels = dict(
        zip((round(up.share(tick) * (HEIGHT - 1)) for tick in ticks), _numbered(ticks), strict=True)
    )
    margin = max(map(len, labels.values()), default=0)
    canvas = _Canvas(max(columns - margin - 3, 20), HEIGHT)
    for one, found in zip(ordered, points, strict=True):
        places = [(across.share(x), up.share(y)) for x, y in found]
        for place in places:
            canvas.put(*place, one.side)
        if picture.kind == "lines" or one.side == "truth":
            for start, end in pairwise(places):
                canvas.join(start, end, one.side)
    yield from _legend(picture, columns, paint)
    for number in reversed(range(HEIGHT)):
        label = labels.get(number, "")
        yield f"{label:>{margin}} {'┤' if label else '│'}{canvas.row(number, paint)}"
    yield f"{'':{margin}} └{'─' * canvas.width}"
    yield f"{'':{margin}}  {_below(across, canvas.width)}"
    yield f"{'':{margin}}  {picture.x:^{canvas.width}}"


def _below(scale: Scale, width: int) -> str:
    """The numbers below an axis, each with its middle where it belongs, as far as there is room."""
    line = ""
    ticks = scale.ticks(6)
    for tick, text in zip(ticks, _numbered(ticks), strict=True):
        start = min(round(scale.share(tick) * (width - 1)) - len(text) // 2, width - len(text))
        if start >= len(line) + bool(line):
            line = f"{line:<{max(start, 0)}}{text}"
    return line


# Bars --------------------------------------------------------------------------------------------------


def _bars(picture: Picture, columns: int, paint: Callable[[str, str], str]) -> Iterator[str]:
    """For each category a bar of each series, and its value behind it."""
    values = [value for one in picture.series for value in one.y]
    scale = spanning(values, logarithmic=picture.logarithmic, zero=not picture.logarithmic)
    texts = {value: brief(value) for value in values}
    names = [one.label for one in picture.series]
    left, middle = max(map(len, picture.categories)), max(map(len, names))
    room = max(columns - left - middle - 5 - max(map(len, texts.values())), 10)
    yield f"{picture.y}{' (logarithmic)' if picture.logarithmic else ''} by {picture.x}:"
    for number, category in enumerate(picture.categories):
        for one in picture.series:
            head = category if one is picture.series[0] else ""
            bar = _bar(scale, one.y[number], room, BARS[one.side])
            painted = paint(bar, STYLES[one.side])
            yield f"{head:<{left}}  {one.label:<{middle}}  {painted} {texts[one.y[number]]}"


def _bar(scale: Scale, value: float, room: int, mark: str) -> str:
    """A bar from 0, or from the left end where there is no 0; negative ones go to the left of it."""
    if not math.isfinite(value) or (scale.logarithmic and value <= 0):
        return ""
    zero = scale.least if scale.logarithmic else 0.0
    start, end = sorted((round(scale.share(zero) * room), round(scale.share(value) * room)))
    return " " * start + mark * (end - start)


# Histogram ---------------------------------------------------------------------------------------------


def _histogram(picture: Picture, columns: int, paint: Callable[[str, str], str]) -> Iterator[str]:
    """A row for each bin, a column for each series, in which the longest bar is the fullest bin."""
    borders = edges((one.y for one in picture.series), BINS)
    numbers = _numbered(borders)
    margin = max(map(len, numbers))
    room = max((columns - 2 * margin - 5) // len(picture.series) - 2, 6)
    found = [counts(one.y, borders) for one in picture.series]
    yield from textwrap.wrap(
        f"{picture.x}; bars: {picture.y}, at most {' and '.join(map(str, map(max, found)))}", columns
    )
    heads = (paint(f"{one.label[:room]:<{room}}", STYLES[one.side]) for one in picture.series)
    yield f"{'':{2 * margin + 5}}{'  '.join(heads)}"
    for row in range(len(borders) - 1):
        bars = (
            paint(f"{BARS[one.side] * math.ceil(room * count[row] / max(count)):<{room}}", STYLES[one.side])
            for one, count in zip(picture.series, found, strict=True)
        )
        yield f"{numbers[row]:>{margin}} … {numbers[row + 1]:<{margin}}  {'  '.join(bars)}"


# Table -------------------------------------------------------------------------------------------------


def table(shown: Shown, columns: int, paint: Callable[[str, str], str] = plain) -> Iterator[str]:
    """The numbers: a line for each quantity, wrong beside right; what does not fit goes on below itself."""
    rows = [("", *shown.columns), *((row.label, row.wrong, row.right) for row in shown.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    widths[0] = max(min(widths[0], columns - sum(widths[1:]) - 4), 16)
    narrow = max((columns - widths[0] - 4) // 2, 8)
    widths[1:] = [min(width, narrow) for width in widths[1:]]
    for number, row in enumerate(rows):
        cells = [textwrap.wrap(text, width) for text, width in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=""):
            texts = [f"{text:<{width}}" for text, width in zip(line, widths, strict=True)]
            if not number:
                for column, style in ((1, STYLES["wrong"]), (2, STYLES["right"])):
                    pad = " " * (widths[column] - len(line[column]))
                    texts[column] = paint(line[column], style) + pad
            yield "  ".join(texts).rstrip()
