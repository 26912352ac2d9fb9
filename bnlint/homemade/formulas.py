"""Batch normalisation with a step changed: what a mistake makes of a batch, to be known by its numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor

from bnlint.reference.steps import each_channel

if TYPE_CHECKING:
    from collections.abc import Iterator

Over = (
    Literal["channel", "position", "sample and channel", "sample", "all", "sample and position", "features"]
    | tuple[int, ...]
)
"""What the values have in common that share a mean and a variance, or the dimensions averaged over."""
Affine = Literal["scale, shift", "shift, scale", "nothing", "scale", "shift"]
Root = Literal[
    "sqrt(var + eps)", "std + eps", "std", "var + eps", "std * eps", "max(var, eps)", "1", "deviation"
]


@dataclass(frozen=True, slots=True)
class Formula:
    """How a batch is normalised; the defaults are the definition."""

    mean_over: Over = "channel"
    var_over: Over = "channel"
    correction: int = 0
    root: Root = "sqrt(var + eps)"
    centred: bool = True
    about_zero: bool = False
    affine: Affine = "scale, shift"
    rectified: bool = False
    detached: frozenset[str] = frozenset()

    @property
    def by_channel(self) -> bool:
        """Does each channel have a mean and a variance of its own, over all of its values?"""
        return self.mean_over == self.var_over == "channel"

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the variance, in shapes that meet that of x."""
        mean = x.mean(_dims(self.mean_over, x), keepdim=True)
        dims = _dims(self.var_over, x)
        if self.about_zero:
            variance = (x**2).mean(dims, keepdim=True)
        elif self.root == "deviation":
            variance = (x - x.mean(dims, keepdim=True)).abs().mean(dims, keepdim=True) ** 2
        else:
            variance = x.var(dims, correction=self.correction, keepdim=True)
        return mean, variance

    def output(self, x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        """What it makes of a batch with the batch's own statistics."""
        mean, variance = self.moments(x)
        mean = mean.detach() if "mean" in self.detached else mean
        variance = variance.detach() if "variance" in self.detached else variance
        return self.with_statistics(x, (mean, variance), gamma, beta, eps)

    def with_statistics(
        self, x: Tensor, statistics: tuple[Tensor, Tensor], gamma: Tensor, beta: Tensor, eps: float
    ) -> Tensor:
        """What it makes of a batch with a given mean and variance."""
        mean, variance = statistics
        difference = x - mean if self.centred else x
        y = self._affine(
            difference / self._divisor(variance, eps), each_channel(gamma, x), each_channel(beta, x)
        )
        return y.relu() if self.rectified else y

    def _divisor(self, variance: Tensor, eps: float) -> Tensor:
        match self.root:
            case "sqrt(var + eps)" | "deviation":
                return (variance + eps).sqrt()
            case "std + eps":
                return variance.sqrt() + eps
            case "std":
                return variance.sqrt()
            case "var + eps":
                return variance + eps
            case "std * eps":
                return 1 / (variance + eps).sqrt()
            case "max(var, eps)":
                return variance.clamp(min=eps).sqrt()
            case "1":
                return torch.ones_like(variance)

    def _affine(self, x_hat: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        match self.affine:
            case "scale, shift":
                return gamma * x_hat + beta
            case "shift, scale":
                return gamma * (x_hat + beta)
            case "scale":
                return gamma * x_hat
            case "shift":
                return x_hat + beta
            case "nothing":
                return x_hat


def _dims(over: Over, x: Tensor) -> list[int]:
    """The dimensions that are averaged over."""
    if isinstance(over, tuple):
        return list(over)
    positions = list(range(2, x.dim()))
    return {
        "channel": [0, *positions],
        "position": [0],
        "sample and channel": positions or [1],
        "sample": [1, *positions],
        "all": [0, 1, *positions],
        "sample and position": [1],
        "features": [0, 1],
    }[over]


RIGHT: Final = Formula()

UNITS: Final[dict[Over, str]] = {
    "position": "over the batch only, not over the positions",
    "sample": "for each sample over its channels (that is layer normalisation)",
    "sample and channel": "for each sample and channel (that is instance normalisation)",
    "all": "over all channels together",
    "sample and position": "over the channels at each position (that is layer normalisation)",
    "features": "over batch and channels, not over the positions",
}

WHAT: Final = {
    "mean and variance are": ("mean_over", "var_over"),
    "its variance is": ("var_over",),
    "its mean is": ("mean_over",),
}

CHANGES: Final[dict[str, list[tuple[str, dict[str, Any]]]]] = {
    "correction": [
        (
            (
                "it normalises with the unbiased variance, which divides by m - 1, as `x.var()` does: the "
                "definition divides by m (`correction=0` or `unbiased=False`)"
            ),
            {"correction": 1},
        ),
        ("its variance is the mean of the squares: the mean is not subtracted before", {"about_zero": True}),
    ],
    "root": [
        ("it divides by std + eps instead of sqrt(var + eps)", {"root": "std + eps"}),
        ("eps is missing: a constant channel is divided by 0", {"root": "std"}),
        ("it divides by var + eps: the square root is missing", {"root": "var + eps"}),
        ("it multiplies with the standard deviation instead of dividing by it", {"root": "std * eps"}),
        ("it divides by sqrt(max(var, eps)) instead of sqrt(var + eps)", {"root": "max(var, eps)"}),
        ("it does not divide by the standard deviation", {"root": "1"}),
        ("it divides by the mean absolute deviation", {"root": "deviation"}),
    ],
    "centred": [("the mean is not subtracted", {"centred": False})],
    "over": [
        (f"{what} taken {text}", dict.fromkeys(steps, over))
        for what, steps in WHAT.items()
        for over, text in UNITS.items()
    ],
    "affine": [
        ("the shift is added before the scale is multiplied", {"affine": "shift, scale"}),
        ("scale and shift are not applied", {"affine": "nothing"}),
        ("the shift is not added", {"affine": "scale"}),
        ("the scale is not multiplied", {"affine": "shift"}),
        ("a ReLU is part of it", {"rectified": True}),
    ],
}  # fmt: skip
"""Mistakes that are made, by the step in which they are made: how they are said, and what they change."""


def mistakes(dims: int) -> Iterator[tuple[str, Formula]]:
    """Every mistake alone, then any two in different steps."""
    for changes in CHANGES.values():
        for text, change in changes:
            yield text, replace(RIGHT, **change)
    right = (0, *range(2, dims))
    for size in range(1, dims):
        for over in combinations(range(dims), size):
            if over != right:
                text = (
                    f"mean and variance are taken over the dimensions {list(over)} instead of {list(right)}"
                )
                yield text, replace(RIGHT, mean_over=over, var_over=over)
    steps = list(CHANGES)
    for index, first in enumerate(steps):
        for second in steps[index + 1 :]:
            for (one, change), (other, more) in product(CHANGES[first], CHANGES[second]):
                yield f"{one}; and {other}", replace(RIGHT, **change, **more)
