"""For people: a row for all findings that say the same, such as one bug in each layer of a live model."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnlint.report import count
from bnlint.report._excerpt import visible
from bnlint.report._groups import ROOT, grouped, located, measurements, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.finding import Finding, Severity
    from bnlint.report import View
    from bnlint.report._groups import Group

SUMMARY = True
WIDE = 90
"""Columns from which on cells stand side by side."""
NARROWEST = 40
FEW = 4
"""Places that are named; of more, the first ones are."""


Line = tuple[str, str]
"""A text without line breaks, and its style, which is empty for plain text."""


@dataclass(frozen=True, slots=True)
class Row:
    """A group as cells: its rule, the layers and places, and what is wrong with them."""

    code: str
    severity: Severity
    rule: tuple[Line, ...]
    where: tuple[Line, ...]
    what: tuple[Line, ...]


def render(findings: Sequence[Finding], view: View) -> str:
    """A table by rich where that is installed and the view is wide; else its rows below each other."""
    rows = [_row(group, view) for group in grouped(findings)]
    if rows and view.width >= WIDE:
        try:
            from bnlint.report._columns import columns
        except ImportError:  # rich comes with the extra "torch"
            return _stacked(rows, view)
        return columns(rows, view)
    return _stacked(rows, view)


def _row(group: Group, view: View) -> Row:
    one = group.worst
    sure = one.confidence == "high"
    rule = [(one.name, ""), *([] if sure else [(f"{one.confidence} confidence", "line")])]
    cells = (rule, _where(group, view), _what(group))
    return Row(
        one.code, one.severity, *(tuple((visible(text), style) for text, style in cell) for cell in cells)
    )


def _what(group: Group) -> list[Line]:
    """The message, whose it is if each has its own, and all that was measured."""
    one = group.worst
    lines = [(one.message, "")]
    if group.differ:
        lines.append((f"({one.where.module or ROOT}, the {group.which} of {len(group.findings)})", "line"))
    if numbers := measurements(group):
        lines.append((f"measured: {numbers}", "step"))
    if one.fix is not None:
        lines.append((f"fix ({one.fix.applicability}): {one.fix.message}", "help"))
    return lines


def _where(group: Group, view: View) -> list[Line]:
    """How many layers, which ones, and the lines that build or call them."""
    lines: list[Line] = []
    if layers := group.layers:
        lines = [(count(len(layers), "layer"), "")] * (len(layers) > 1) + [(named(layers), "path")]
    places = [located(where, view) for where in group.places]
    few = 1 if layers else FEW
    lines += [(place, "step" if layers else "path") for place in places[:few]]
    if len(places) > few:
        lines.append((f"and {count(len(places) - few, 'place')} more", "line"))
    return lines


def _stacked(rows: Sequence[Row], view: View) -> str:
    """The cells of each row below each other."""
    return "".join("".join(_block(row, view)) + "\n" for row in rows)


def _block(row: Row, view: View) -> Iterator[str]:
    (name, _), *more = row.rule
    yield f"{view.paint(row.severity, row.severity)} {view.code(row.code)} {name}\n"
    where = ", ".join(text for text, _ in row.where)
    for text, style in ((where, "path"), *more, *row.what):
        lines = textwrap.wrap(
            text,
            max(view.width, NARROWEST),
            initial_indent="  ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield from (f"  {view.paint(line[2:], style) if style else line[2:]}\n" for line in lines)
