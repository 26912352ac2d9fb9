"""What a pass over batches has shown: each application of a BatchNorm, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bnlint.trace.nodes import Node
    from bnlint.trace.spots import Spot


@dataclass(slots=True, eq=False)
class Application:
    """One application of a BatchNorm to a batch.

    `module` is the layer, None where only its tensors are known; `owner` the innermost module that runs.
    `training` says whether the batch normalises, `asked` whether the owner is in train mode, `tracked`
    whether there are running statistics; `momentum` and `eps` are those of the call. `samples` is the size
    of the first dimension, `values` how many values each channel has. `mean` and `var` (unbiased) are those
    of the batch, of shape (channels,), None where they were not looked at. `spot` calls the layer, `inner`
    the function where that is the code of a module of the user's. `raises` says that torch would refuse this
    batch: each channel has one value.
    `keeps` says that the running statistics are buffers of `module`.
    """

    module: nn.Module | None
    owner: nn.Module | None
    training: bool
    asked: bool
    momentum: float | None
    eps: float
    tracked: bool
    samples: int
    values: int
    channels: int
    dimensions: int
    grad: bool
    batch: int
    spot: Spot | None
    inner: Spot | None = None
    mean: Tensor | None = None
    var: Tensor | None = None
    running_mean: Tensor | None = None
    running_var: Tensor | None = None
    weight: Tensor | None = None
    node: Node | None = None
    raises: bool = False
    keeps: bool = False

    @property
    def of_data(self) -> bool:
        """Is it the batch that is normalised? Some normalise their weights by the same function."""
        return self.node is not None and bool(self.node.inputs)


@dataclass(frozen=True, slots=True)
class Refused:
    """A BatchNorm that raised because of the shape of its input."""

    module: nn.Module
    shape: tuple[int, ...]
    error: BaseException
    node: Node | None


@dataclass(slots=True)
class Pass:
    """What one pass over batches has shown.

    `outputs` are the tensors of the first batch's answer, by their path in it. `called` are the modules that
    ran, by identity. `refused` is the layer that has ended the pass, if one did.
    """

    applications: list[Application] = field(default_factory=list)
    outputs: list[tuple[str, Tensor, Node | None]] = field(default_factory=list)
    called: set[int] = field(default_factory=set)
    refused: Refused | None = None
    batches: int = 0
