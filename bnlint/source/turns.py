"""The turns of loops over what is not known: which of them a condition was asked in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator
from typing import Final

from bnlint.source.values import Guards, Sym, fresh

OUTSIDE: Final = 0
"""The turn of what no such loop gave."""


class Turns:
    """Numbers are given in order: the turn that was on when one was given tells what it belongs to."""

    def __init__(self) -> None:
        self.starts: list[int] = [OUTSIDE]
        self.owners: list[int] = [OUTSIDE]

    def begin(self, turn: int) -> int:
        """From here on numbers belong to a turn; what they belonged to is returned, to go back to."""
        outer = self.owners[-1]
        if turn != outer:
            self.starts.append(fresh())
            self.owners.append(turn)
        return outer

    def index(self) -> Sym:
        """The number of a turn: it says where a turn stands, not what it is about."""
        outer = self.begin(OUTSIDE)
        found = Sym(fresh(), "index")
        self.begin(outer)
        return found

    def of(self, guards: Guards) -> set[int]:
        """The turns in which conditions were asked."""
        numbers = {number for key, _ in guards for number in numbers_in(key)}
        return {self.owners[bisect_right(self.starts, n) - 1] for n in numbers} - {OUTSIDE}

    def decide(self, guards: Guards, known: Guards) -> bool:
        """Whether conditions hang on a turn that says nothing of what is known to hold."""
        return bool(guards) and not self.of(guards) <= self.of(known)


def numbers_in(key: Hashable) -> Iterator[int]:
    """The numbers of the unknown values that a condition is about; constants that it names are none."""
    if type(key) is int:
        yield key
    elif isinstance(key, tuple) and key:
        first, *rest = key
        for part in rest[:1] if first == "==" else key:
            yield from numbers_in(part)
