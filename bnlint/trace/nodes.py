"""The dataflow of a forward: an operation for each tensor that it made, found by the tensor's identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from bnlint.facts import Kind
    from bnlint.trace.spots import Spot


@dataclass(slots=True, eq=False)
class Node:
    """One operation on tensors: what made a tensor, and from what.

    `inputs` are the operations that made what goes in, without parameters and constants. `module` is the
    innermost module that runs, or the one whose weights these are. `rate` is the probability of a dropout,
    `bias` says whether a convolution or a linear map has one, `made` how many channels it makes. `call` is
    the application of a BatchNorm, for `kind` "batchnorm".
    """

    kind: Kind
    name: str
    inputs: tuple[Node, ...] = ()
    spot: Spot | None = None
    module: nn.Module | None = None
    rate: float | None = None
    bias: bool | None = None
    made: int | None = None
    call: Any = None

    @property
    def is_data(self) -> bool:
        """Does it depend on what the model was given? Constants and parameters do not."""
        return bool(self.inputs) or self.kind in {"input", "unknown"}

    def ancestors(self) -> Iterator[Node]:
        """This operation and all before it, each once."""
        seen, waiting = {id(self)}, [self]
        while waiting:
            node = waiting.pop()
            yield node
            for before in node.inputs:
                if id(before) not in seen:
                    seen.add(id(before))
                    waiting.append(before)


class Provenance:
    """What made each tensor that is alive. Nothing is kept alive by it."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[ref[Tensor], Node]] = {}

    def of(self, tensor: Tensor) -> Node | None:
        """The operation that made a tensor; None for one that was not seen being made."""
        found = self._made.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None  # an identity is used again

    def note(self, tensor: Tensor, node: Node) -> None:
        """This operation made, or changed, this tensor."""
        self._made[id(tensor)] = ref(tensor), node

    def clear(self) -> None:
        """Forget all: another batch comes."""
        self._made.clear()
