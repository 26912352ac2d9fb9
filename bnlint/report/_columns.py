"""Rows of a table by rich: cells side by side, in the width of the terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.report import View
    from bnlint.report.table import Line, Row

HEADS: Final = ("Rule", "Where", "What is wrong, and what to do")
LINES: Final = Box("    \n    \n -- \n    \n -- \n    \n    \n    \n", ascii=True)
"""A line below the heads and between rows, of a sign that every encoding has."""
RULE: Final = 22
"""Columns for the names of rules: longer ones are broken."""
WHERE: Final = 0.4
"""The share of the width that layers and places may take."""


def columns(rows: Sequence[Row], view: View) -> str:
    """The table; colours and links are those that the view knows."""
    heads = [_painted(view.paint(head, "path")) for head in HEADS]
    table = Table(box=LINES, show_lines=True, show_edge=False, pad_edge=False, header_style="")
    longest = max(len(text) for row in rows for text, _ in row.rule)
    table.add_column(heads[0], overflow="fold", min_width=min(longest, RULE))
    table.add_column(heads[1], overflow="fold", max_width=int(view.width * WHERE))
    table.add_column(heads[2], overflow="fold", ratio=1)
    for row in rows:
        head = _painted(f"{view.code(row.code)} {view.paint(row.severity, row.severity)}")
        rule = Text("\n").join([head, _cell(row.rule, view)])
        table.add_row(rule, _cell(row.where, view), _cell(row.what, view))
    file = io.StringIO()
    console = Console(
        file=file,
        width=view.width,
        force_terminal=True,  # whether there are colours has been decided
        color_system="standard",
        legacy_windows=False,
        highlight=False,
        _environ={},
    )
    console.print(table)
    lines = (line.rstrip() for line in file.getvalue().splitlines())
    return "\n".join(view.paint(line, "line") if set(line) == {"-"} else line for line in lines) + "\n\n"


def _cell(lines: Sequence[Line], view: View) -> Text:
    """Lines below each other."""
    return Text("\n").join(_painted(view.paint(text, style) if style else text) for text, style in lines)


def _painted(text: str) -> Text:
    """A text with the colours and links that a terminal would make of it."""
    return Text.from_ansi(text)
