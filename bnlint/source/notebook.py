"""Notebooks: the code cells as one Python module, and where each of its rows comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bnlint.finding import Where
from bnlint.source.cells import cells, code, is_python, language, load
from bnlint.source.magics import Row, python
from bnlint.source.read import Unreadable, parse_text


@dataclass(frozen=True, slots=True)
class Notebook:
    """The Python of a notebook.

    `origins` holds, for each row of `source`, its cell (from 1, all kinds of cells counted), its row
    there, and how many columns it lost on its left. `cells` are the lines of the code cells as they
    were written. `fault` is about cells that are no Python, and `skipped` says why nothing of the
    notebook is.
    """

    source: str = ""
    origins: tuple[tuple[int, int, int], ...] = ()
    cells: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    fault: Unreadable | None = None
    skipped: str = ""

    def place(self, where: Where) -> Where:
        """A place in the module as a place in its cell; one that names a cell already stays."""
        if where.cell is not None or not 1 <= where.row <= len(self.origins):
            return where
        cell, row, shift = self.origins[where.row - 1]
        last = min(max(where.row, where.end_row), len(self.origins))
        _, end_row, end_shift = self.origins[last - 1]
        column, end_column = where.column + shift, where.end_column + end_shift
        return replace(where, cell=cell, row=row, column=column, end_row=end_row, end_column=end_column)


def read(data: bytes) -> Notebook:
    """Read a notebook of nbformat 3 or 4. Raises `Unreadable` where it is none.

    A cell that is no Python is left out, and the others make up a module without it.
    """
    book = load(data)
    found = list(cells(book))
    if not is_python(language(book)):
        return Notebook(skipped=f"its kernel is {language(book)}, not Python")
    module = _Module()
    for number, cell in enumerate(found, start=1):
        module.add(number, cell)
    return module.notebook()


@dataclass(slots=True)
class _Module:
    """The module that cells make up, one after the other."""

    rows: list[str] = field(default_factory=list)
    origins: list[tuple[int, int, int]] = field(default_factory=list)
    cells: dict[int, tuple[str, ...]] = field(default_factory=dict)
    faults: list[Unreadable] = field(default_factory=list)

    def add(self, number: int, cell: Any) -> None:
        """Add a cell, or what is wrong with it."""
        try:
            text = code(cell)
            if text is not None:
                self.cells[number] = lines = tuple(text.split("\n"))
                for at, row in enumerate(_rows(text, lines), start=1):
                    self.rows.append(row.text)
                    self.origins.append((number, at, row.shift))
        except Unreadable as fault:
            fault.cell = number
            self.faults.append(fault)

    def notebook(self) -> Notebook:
        """The module as it is now."""
        start = [_without_cookie(row) for row in self.rows[:2]]
        source = "\n".join(start + self.rows[2:])
        return Notebook(source, tuple(self.origins), self.cells, _sum(self.faults))


def _rows(text: str, lines: Sequence[str]) -> Iterator[Row]:
    """The rows of a cell that are Python, all or none; `Unreadable` where it is broken."""
    try:
        parse_text(text)
    except Unreadable:
        yield from python(lines) or ()
    else:
        yield from map(Row, lines)


def _sum(faults: Sequence[Unreadable]) -> Unreadable | None:
    """One fault for all: people repair the first, and look again."""
    if not faults:
        return None
    first, more = faults[0], len(faults) - 1
    if more:
        first.message += f"; {more} more {'cells' if more > 1 else 'cell'} cannot be read"
    return first


def _without_cookie(row: str) -> str:
    """A row that declares no encoding: whatever a cell says, a notebook is in UTF-8."""
    return row.replace("coding", "Coding") if row.lstrip().startswith("#") else row
