"""A layer under test: how it is built, what its tensors are, and the reference layer beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from bnlint import reference
from bnlint.facts import AGREEMENT
from bnlint.homemade.batches import spread
from bnlint.reference.steps import each_channel, mini_batch_mean, mini_batch_variance

if TYPE_CHECKING:
    from bnlint.homemade.build import Trial
    from bnlint.homemade.roles import Roles
    from bnlint.homemade.specimen import Specimen
    from bnlint.reference.layers import BatchNorm

USUAL_EPS: Final = 1e-5
LAYERS: Final = {
    2: reference.BatchNorm1d,
    3: reference.BatchNorm1d,
    4: reference.BatchNorm2d,
    5: reference.BatchNorm3d,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A layer under test; `gamma` and `beta` are the scale and the shift that it is given."""

    trial: Trial
    roles: Roles
    gamma: Tensor = field(init=False)
    beta: Tensor = field(init=False)

    def __post_init__(self) -> None:
        channels, dtype = self.trial.plan.channels, self.trial.dtype
        gamma = spread(channels, 1, 0.5, 2.0) if self.roles.scale else torch.ones(channels)
        beta = spread(channels, 2, -1.0, 1.0) if self.roles.shift else torch.zeros(channels)
        object.__setattr__(self, "gamma", gamma.to(dtype))
        object.__setattr__(self, "beta", beta.to(dtype))

    def fresh(self) -> Specimen:
        """A new layer with that scale and shift, in train mode."""
        layer = self.trial.fresh()
        if {self.roles.scale, self.roles.shift} - {None, *layer.tensors()}:
            layer(self.trial.batch(9))  # the first call makes them
        layer.write(self.roles.scale, self.gamma)
        layer.write(self.roles.shift, self.beta)
        return layer

    def twin(self, eps: float, momentum: float = 0.1) -> BatchNorm:
        """The reference layer with the same scale and shift, in train mode."""
        twin = LAYERS[self.trial.dims](self.trial.plan.channels, eps, momentum, dtype=self.trial.dtype)
        twin.load_state_dict({"weight": self.gamma, "bias": self.beta}, strict=False)
        return twin

    def batches(self) -> tuple[Tensor, Tensor]:
        """Two batches of different variance: what fits one of them by chance does not fit the other."""
        return self.trial.batch(3), 3 * self.trial.batch(4)


def own_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the variance of a batch, as they meet its channels."""
    mean = mini_batch_mean(x)
    return each_channel(mean, x), each_channel(mini_batch_variance(x, mean), x)


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, in units of the largest number that is expected, or of 1 if that is larger.

    Infinite where only one of both is a number.
    """
    if found.numel() != expected.numel():
        return float("inf")
    found = found.detach().double().reshape(expected.shape)
    expected = expected.detach().double()
    if not torch.equal(found.isfinite(), expected.isfinite()):
        return float("inf")
    both = expected.isfinite()
    if not both.any():
        return 0.0
    return float((found - expected)[both].abs().max() / expected[both].abs().max().clamp(min=1.0))


def agrees(found: Tensor, expected: Tensor) -> bool:
    """Are they the same up to rounding?"""
    return apart(found, expected) <= AGREEMENT
