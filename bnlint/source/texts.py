"""The texts of a run: what comments are looked for in, what excerpts show, and where places stand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.source.read import Unreadable, decode, is_notebook

if TYPE_CHECKING:
    from bnlint.finding import Finding, Step, Where
    from bnlint.source.notebook import Notebook


@dataclass
class Sources:
    """The files of a run, read when they are asked for.

    `contents` are given in place of what is on the disk. `notebooks` are those that were read: the
    engine speaks of the module that their cells make up, and people of cells.
    """

    contents: Mapping[str, bytes] = field(default_factory=dict)
    notebooks: dict[str, Notebook] = field(default_factory=dict)
    _lines: dict[str, Sequence[str]] = field(default_factory=dict, init=False, repr=False)

    def python(self, filename: str) -> bytes:
        """The Python of a file; none if it went away meanwhile."""
        notebook = self._notebook(filename)
        return self._bytes(filename) if notebook is None else notebook.source.encode("utf-8", "replace")

    def lines(self, where: Where) -> Sequence[str]:
        """The lines of the file or the cell that a place is in; none if it cannot be read."""
        notebook = self._notebook(where.filename)
        if notebook is not None:
            return notebook.cells.get(where.cell or 0, ())
        known = self._lines.get(where.filename)
        if known is None:
            known = self._lines[where.filename] = self._read(where.filename)
        return known

    def place(self, finding: Finding) -> Finding:
        """A finding whose places are those that people see."""
        places = (finding.where, *(step.where for step in finding.evidence))
        if not any(is_notebook(where.filename) for where in places):
            return finding
        return replace(
            finding,
            where=self._place(finding.where),
            evidence=tuple(self.place_step(step) for step in finding.evidence),
        )

    def _notebook(self, filename: str) -> Notebook | None:
        """A notebook; None for other files, and for what is called so and is none."""
        if not is_notebook(filename):
            return None
        if filename not in self.notebooks:
            from bnlint.source.notebook import read  # most projects have none

            try:
                self.notebooks[filename] = read(self._bytes(filename))
            except Unreadable:
                return None
        return self.notebooks[filename]

    def _bytes(self, filename: str) -> bytes:
        """A file as it is; nothing if it went away meanwhile."""
        try:
            return self.contents[filename] if filename in self.contents else Path(filename).read_bytes()
        except OSError:
            return b""

    def _read(self, filename: str) -> Sequence[str]:
        exists = filename in self.contents or os.path.isfile(filename)
        return decode(self.python(filename)) if exists else ()

    def _place(self, where: Where) -> Where:
        notebook = self._notebook(where.filename)
        return where if notebook is None else notebook.place(where)

    def place_step(self, step: Step) -> Step:
        """A step whose place is that which people see."""
        return replace(step, where=self._place(step.where))
