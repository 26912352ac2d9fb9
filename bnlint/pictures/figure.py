"""Pictures by matplotlib: as files, and as SVG inside a page, whose colours are then the page's."""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
from typing import TYPE_CHECKING, Any, Final

from bnlint.picture import ORDER
from bnlint.pictures.scales import brief, counts, edges, spanning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bnlint.picture import Picture, Series, Side

SIZE: Final = (5.0, 3.4)
"""Width and height of one picture, in inches: so small that its letters can be read on a telephone."""
ABREAST: Final = 3
"""Pictures side by side in a file of many."""
INK: Final = "#26292e"
COLORS: Final[dict[Side, str]] = {"wrong": "#d35400", "right": "#0b6fb8", "truth": "#7d828a"}
"""Orange and blue are told apart by all eyes."""
DASHES: Final[dict[Side, str]] = {"wrong": "--", "right": "-", "truth": ":"}
MARKERS: Final[dict[Side, str]] = {"wrong": "x", "right": "o", "truth": "."}
HATCHES: Final[dict[Side, str]] = {"wrong": "///", "right": "", "truth": "..."}
"""Colours are never alone: prints and eyes differ."""
FORMATS: Final = ("png", "svg")
BINS: Final = 24
WIDE: Final = 42
"""Letters of a legend that fit into one line."""
TITLE: Final = 46
"""Letters of a title that fit into one line."""
LETTERS: Final = 60
"""Letters of the names of bars that fit below them."""
LABELED: Final = 16
"""Bars of which each can have its number above it."""
NARROWEST: Final = 3
"""Bars that fill the width; fewer are no wider than these."""
CELLS: Final = 150
"""Points of a cloud that can be told apart along each axis."""
FEW: Final = 40
"""Points of a line that are worth a marker each."""

STYLE: Final[dict[str, Any]] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
}


def drawable() -> bool:
    """Can matplotlib be imported?"""
    try:
        import matplotlib  # noqa: F401, ICN001
    except ImportError:
        return False
    return True


def save(pictures: Sequence[Picture], target: str) -> bytes:
    """All pictures in one file of the type that the name of the target ends with, PNG or SVG."""
    kind = target.rpartition(".")[2].lower()
    return _saved(pictures, kind, facecolor="white", dpi=150, metadata=_NO_DATE if kind == "svg" else {})


_NO_DATE: Final = {"Date": None}


def inline(picture: Picture, salt: str) -> str:
    """The picture as an SVG element, which takes its style from the page.

    `salt` keeps its ids apart from those of its neighbours.
    """
    text = _saved([picture], "svg", salt=salt, transparent=True, metadata=_NO_DATE).decode()
    text = re.sub(
        r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>",
        "",
        text[text.index("<svg") :],
        flags=re.DOTALL,
    )
    text = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', text, count=1)
    text = re.sub(
        r'<g id="[^"]*">', "<g>", text
    )  # they are the same in every picture, and nothing refers to them
    text = re.sub(r"font: [^;\"]*?([\d.]+)px[^;\"]*", r"font-size: \1px", text)
    for color, name in {INK: "ink", **{color: side for side, color in COLORS.items()}}.items():
        text = text.replace(color, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", text).strip()


def _saved(pictures: Sequence[Picture], kind: str, salt: str = "bnlint", **options: Any) -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    style: dict[Any, Any] = {**STYLE, "svg.hashsalt": salt}
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # what shows the SVG has fonts of its own
        _figure(pictures).savefig(buffer, format=kind, **options)
    return buffer.getvalue()


def _figure(pictures: Sequence[Picture]) -> Figure:
    """A figure with all pictures, row by row."""
    from matplotlib.figure import Figure

    abreast = min(ABREAST, len(pictures))
    rows = math.ceil(len(pictures) / abreast)
    figure = Figure(figsize=(SIZE[0] * abreast, SIZE[1] * rows), layout="constrained")
    places = list(figure.subplots(rows, abreast, squeeze=False).flat)
    for axes, picture in zip(places, pictures, strict=False):
        _draw(axes, picture)
    for axes in places[len(pictures) :]:
        axes.set_axis_off()
    return figure


def _draw(axes: Axes, picture: Picture) -> None:
    """One picture."""
    axes.set_xlabel(_plain(picture.x))
    axes.set_ylabel(_plain(picture.y))
    if picture.logarithmic:
        axes.set_yscale("log")
    if picture.logarithmic_x:
        axes.set_xscale("log")
    {"lines": _lines, "scatter": _scatter, "bars": _bars, "histogram": _histogram}[picture.kind](
        axes, picture
    )
    _widen(axes)
    rows = len(picture.series) if sum(len(one.label) for one in picture.series) > WIDE else 1
    axes.set_title(_plain(textwrap.fill(picture.title, TITLE)), loc="left", pad=6 + 15 * rows)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0,
        ncols=math.ceil(len(picture.series) / rows),
    )


def _widen(axes: Axes) -> None:
    """Give a logarithmic axis a decade at least, and numbers for whole decades only: more are crowded."""
    from matplotlib.ticker import NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() != "log":
            continue
        axis.set_minor_formatter(NullFormatter())
        low, high = axis.get_view_interval()
        if 0 < low < high < 10 * low:
            scale = spanning((low, high), logarithmic=True)
            axis.set_view_interval(scale.least, scale.most, ignore=True)


def _plain(text: str) -> str:
    """A text of which no sign is mathematics."""
    return text.replace("$", r"\$")


def _lines(axes: Axes, picture: Picture) -> None:
    for one in picture.series:
        few = len(one.y) <= FEW and one.side != "truth"
        _plot(axes, one, picture.points(one), DASHES[one.side], MARKERS[one.side] if few else "")


def _scatter(axes: Axes, picture: Picture) -> None:
    for one in picture.series:
        points = picture.points(one)
        if one.side == "truth":
            _plot(axes, one, points, DASHES["truth"], "")
        else:
            _plot(axes, one, _apart(points, picture), "", MARKERS[one.side])


def _apart(points: Sequence[tuple[float, float]], picture: Picture) -> list[tuple[float, float]]:
    """Points of which none lies on another: thousands of channels make a cloud, not a larger file."""
    across = spanning((x for x, _ in points), logarithmic=picture.logarithmic_x)
    up = spanning((y for _, y in points), logarithmic=picture.logarithmic)
    cells = {(round(across.share(x) * CELLS), round(up.share(y) * CELLS)): (x, y) for x, y in points}
    return list(cells.values())


def _plot(axes: Axes, one: Series, points: Sequence[tuple[float, float]], dashes: str, marker: str) -> None:
    """The points of a series, joined where there are dashes for it; the right ones lie on top."""
    from matplotlib.ticker import MaxNLocator

    x, y = [x for x, _ in points], [y for _, y in points]
    if axes.get_xscale() == "linear" and all(float(value).is_integer() for value in x):
        # steps, epochs: there is no half of one
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    look: dict[str, Any] = {
        "color": COLORS[one.side],
        "zorder": 2 + ORDER.index(one.side),
        "label": _plain(one.label),
    }
    axes.plot(x, y, linestyle=dashes, marker=marker, markersize=4, linewidth=1.4, **look)


def _bars(axes: Axes, picture: Picture) -> None:
    number = len(picture.categories)
    width = 0.8 / len(picture.series)
    for index, one in enumerate(picture.series):
        heights = [value if math.isfinite(value) else 0.0 for value in one.y]
        places = [place + (index - (len(picture.series) - 1) / 2) * width for place in range(number)]
        bars = axes.bar(
            places,
            heights,
            width,
            color=COLORS[one.side],
            edgecolor="white",
            hatch=HATCHES[one.side],
            label=_plain(one.label),
        )
        if number * len(picture.series) <= LABELED:
            axes.bar_label(bars, [brief(value) for value in one.y], fontsize=8, padding=1)
    stride = math.ceil(sum(len(name) + 1 for name in picture.categories) / LETTERS) or 1
    axes.set_xticks(range(0, number, stride), [_plain(name) for name in picture.categories[::stride]])
    axes.margins(y=0.1)
    room = max(0.0, (NARROWEST - number) / 2)
    axes.set_xlim(-0.5 - room, number - 0.5 + room)
    if picture.logarithmic:
        lowest = spanning((value for one in picture.series for value in one.y), logarithmic=True).least
        axes.set_ylim(bottom=lowest / 2)


def _histogram(axes: Axes, picture: Picture) -> None:
    borders = edges((one.y for one in picture.series), BINS)
    axes.locator_params(axis="x", nbins=7)
    for one in picture.series:
        axes.stairs(
            counts(one.y, borders),
            borders,
            fill=True,
            alpha=0.55,
            facecolor=COLORS[one.side],
            edgecolor=COLORS[one.side],
            hatch=HATCHES[one.side],
            label=_plain(one.label),
        )
