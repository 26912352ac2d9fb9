"""What a demonstration hands over: numbers of wrong beside numbers of right, a claim, and a plot.

How to write one
----------------
Below `check`, a rule's module has

    def demonstrate(lab: Laboratory) -> Demonstration:
        '''One channel of N(0, 1), tracked at either momentum.'''

`bnlint demo CODE` runs it and shows what it returns; `bnlint rule CODE` shows the numbers.

1. It does the bug of the rule's Bad example, and beside it what the Good example does, on the same data.
2. The layer is `lab.BatchNorm1d` (or 2d, 3d): the reference. `lab.torch`, `lab.nn` and `lab.functional` are
   torch; a rule imports none of it, since rules are loaded for linting. Types are floats in double precision
   unless another one is asked for.
3. Chance comes from torch's generator, which starts at `lab.seed`; `lab.restart()` starts it anew, so that
   wrong and right draw the same numbers. One CPU core is used. The tests run each demonstration on five
   seeds: a third of a second is a good size for one, and four seconds are the limit.
4. `setting` says in one or two sentences what is done. `columns` name wrong and right. Each `Row` is one
   quantity: its label with its unit, its values formatted. Three digits are plenty, and `percent` is for
   shares. Where there is nothing to say, a cell is empty.
5. `claim` is one sentence with the numbers in it; `holds` says whether they bear it out. It is computed from
   the numbers and not from their text, with margins that are kept on seeds 0 to 4, and would not be if the
   bug did no harm.
6. `picture` is one plot: series of the side "wrong", of the side "right", and of the side "truth" for what
   both are measured by. `Picture` says what its kinds show. It has to be read at 80 columns and
   without colour, so two or three series are enough.
7. `python tests/demonstrated.py CODE` writes the numbers down for the rule's page, also after a merge. Then
   look at `bnlint demo CODE` and at `bnlint demo CODE --plot FILE.png`.

Everything here is plain data, and importing it costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bnlint.picture import Picture, Series

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

__all__ = [
    "SEEDS",
    "Demonstration",
    "Picture",
    "Row",
    "Series",
    "Shown",
    "Subject",
    "demonstrated",
    "percent",
]

SEEDS = range(5)
"""The seeds on which every claim has to hold."""


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity, as it comes out wrong and right: a label with its unit, and numbers as text."""

    label: str
    wrong: str = ""
    right: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """The text of a demonstration: what was done, the numbers, and what they say."""

    setting: str
    rows: tuple[Row, ...]
    claim: str
    columns: tuple[str, str] = ("wrong", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration(Shown):
    """What one run came to."""

    holds: bool
    picture: Picture

    @property
    def numbers(self) -> dict[str, Any]:
        """The text as JSON."""
        return {
            "setting": self.setting,
            "columns": list(self.columns),
            "rows": [[row.label, row.wrong, row.right] for row in self.rows],
            "claim": self.claim,
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that can be demonstrated: a rule, or what belongs to no rule and has no code.

    `bad` and `good` are code that is wrong and right, where there is such code.
    """

    code: str
    name: str
    summary: str
    demonstrate: Callable[[Laboratory], Demonstration]
    bad: str = ""
    good: str = ""

    @property
    def title(self) -> str:
        """Its code, if it has one, and its name."""
        return f"{self.code} {self.name}".strip()


def percent(share: float) -> str:
    """0.25 as "25 %"."""
    return f"{100 * share:.0f} %"


DEMONSTRATED = os.path.join(os.path.dirname(__file__), "rules", "demonstrated.json")
"""The `numbers` of all rules' demonstrations by code, at seed 0; `tests/demonstrated.py` writes it."""


@cache
def demonstrated() -> Mapping[str, Shown]:
    """What the demonstrations printed when they were last run for the rules' pages, by code."""
    import json

    with open(DEMONSTRATED, encoding="utf-8") as file:
        found: dict[str, dict[str, Any]] = json.load(file)
    return {
        code: Shown(
            one["setting"],
            tuple(Row(*cells) for cells in one["rows"]),
            one["claim"],
            (one["columns"][0], one["columns"][1]),
        )
        for code, one in found.items()
    }
