"""The blocks of a project from inside: which layer of its own makes what a block returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bnlint.source.interpret import OutOfFuel
from bnlint.source.layers import NEAR
from bnlint.source.values import ALWAYS, ClassVal, Flow, Obj

if TYPE_CHECKING:
    from bnlint.source.structure import Structure

Flows = tuple[Flow, ...]

DEEPEST_BLOCK: Final = 6
"""How many blocks are gone through, one within the other or one behind the other."""


class Inside(NamedTuple):
    """A chain that goes on inside of blocks, and the calls of those, outermost first."""

    chain: Flows
    calls: Flows = ()


class Blocks:
    """Follows chains of operations into the blocks where they end."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure

    def inside(self, flows: Flows) -> Inside:
        """A chain up to the layer that makes the tensor at its near end, as far as there is one way only."""
        found = Inside(flows)
        try:
            with self.structure.alone():
                for _ in range(DEEPEST_BLOCK):
                    deeper = self.deeper(found)
                    if deeper is None:
                        break
                    found = deeper
        except OutOfFuel:
            pass
        return found

    def deeper(self, found: Inside) -> Inside | None:
        """One block further, if the chain ends in one that the project writes.

        A block that only moves what it is given (it interpolates) hands on to what comes before it.
        """
        last = end(found.chain)
        block = None if last is None else block_of(last)
        if last is None or block is None:
            return None
        near = self.way_through(block)
        if near is None:
            return None
        before = found.chain[: found.chain.index(last)]
        if near[-1].kind != "input":
            return Inside((*before, *near), (*found.calls, last))
        behind = only_way(self.structure.chains(last.inputs[0], ALWAYS)) if last.inputs else None
        return None if behind is None else Inside((*before, *near[:-1], *behind), found.calls)

    def way_through(self, block: Obj) -> Flows | None:
        """The near end of what a block returns, if there is one way only."""
        self.structure.run.objects.prepare(block)
        inside = self.structure.output(block)
        return None if inside is None else only_way(self.structure.chains(inside, ALWAYS))


def only_way(ways: list[Flows]) -> Flows | None:
    """The near end of all ways, up to the layer that makes the tensor, if that is the same in each."""
    ends = {id(last): last for way in ways for last in [end(way)]}
    last = next(iter(ends.values()), None)
    if len(ends) != 1 or last is None:
        return None
    return ways[0][: ways[0].index(last) + 1]


def block_of(flow: Flow) -> Obj | None:
    """The block of the project that an operation is a call of."""
    block = flow.layer if flow.kind == "other" else None
    return block if block is not None and isinstance(block.cls, ClassVal) else None


def end(chain: Flows) -> Flow | None:
    """The operation that makes the tensor at the near end of a chain."""
    return next((flow for flow in chain if flow.kind not in NEAR), None)
