"""Pictures by matplotlib: as files, and as SVG inside a page, whose colours are then the page's."""

from __future__ import annotations

import io
import math
import re
import textwrap
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from bnlint.picture import ORDER
from bnlint.pictures.scales import counts, edges

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
    """Is matplotlib installed? It is not imported to find out."""
    return find_spec("matplotlib") is not None


def save(pictures: Sequence[Picture], target: str) -> bytes:
    """All pictures in one file of the type that the name of the target ends with, PNG or SVG."""
    kind = target.rpartition(".")[2].lower()
    return _saved(pictures, kind, facecolor="white", dpi=150, metadata=_NO_DATE if kind == "svg" else {})


_NO_DATE: Final = {"Date": None}


def inline(picture: Picture, salt: str) -> str:
    """The picture as an SVG element; `salt` keeps its ids apart from those of its neighbours on the page."""
    text = _saved([picture], "svg", salt=salt, transparent=True, metadata=_NO_DATE).decode()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
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
    with rc_context(style):
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
    axes.set_xlabel(picture.x)
    axes.set_ylabel(picture.y)
    if picture.logarithmic:
        axes.set_yscale("log")
    {"lines": _lines, "scatter": _scatter, "bars": _bars, "histogram": _histogram}[picture.kind](
        axes, picture
    )
    rows = len(picture.series) if sum(len(one.label) for one in picture.series) > WIDE else 1
    axes.set_title(textwrap.fill(picture.title, TITLE), loc="left", pad=6 + 15 * rows)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        borderpad=0,
        ncols=math.ceil(len(picture.series) / rows),
    )


def _lines(axes: Axes, picture: Picture) -> None:
    for one in picture.series:
        few = len(one.y) <= FEW and one.side != "truth"
        _plot(axes, one, DASHES[one.side], MARKERS[one.side] if few else "")


def _scatter(axes: Axes, picture: Picture) -> None:
    for one in picture.series:
        truth = one.side == "truth"
        _plot(axes, one, DASHES["truth"] if truth else "", "" if truth else MARKERS[one.side])


def _plot(axes: Axes, one: Series, dashes: str, marker: str) -> None:
    """The points of a series, joined where there are dashes for it; the right ones lie on top."""
    from matplotlib.ticker import MaxNLocator

    x, y = zip(*one.points, strict=True)
    if all(float(value).is_integer() for value in x):  # steps, epochs: there is no half of one
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    look: dict[str, Any] = {
        "color": COLORS[one.side],
        "zorder": 2 + ORDER.index(one.side),
        "label": one.label,
    }
    axes.plot(x, y, linestyle=dashes, marker=marker, markersize=4, linewidth=1.4, **look)


def _bars(axes: Axes, picture: Picture) -> None:
    width = 0.8 / len(picture.series)
    for number, one in enumerate(picture.series):
        places = [place + (number - (len(picture.series) - 1) / 2) * width for place in range(len(one.y))]
        bars = axes.bar(
            places,
            one.y,
            width,
            color=COLORS[one.side],
            edgecolor="white",
            hatch=HATCHES[one.side],
            label=one.label,
        )
        axes.bar_label(bars, [f"{value:.3g}" for value in one.y], fontsize=8, padding=1)
    axes.set_xticks(range(len(picture.categories)), picture.categories)
    axes.margins(y=0.1)


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
            label=one.label,
        )
