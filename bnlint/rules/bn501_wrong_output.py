"""A home-made BatchNorm gives another output in train mode than the definition.

What it finds
-------------
A layer whose output in train mode, or with the scale and the shift that it starts with, differs from that
of the reference for the same input. `bnlint conforms` builds the layer, runs it, and names the mistake that
gives exactly these numbers: the unbiased variance, `std + eps`, no eps, statistics over the wrong dimensions.

Why it is wrong
---------------
What the layer computes is then not batch normalisation, and neither the literature nor pretrained weights
hold for it. Small batches suffer most: at two values per channel the unbiased variance is twice the biased
one, and outputs are 0.71 instead of 1.

Bad
---
    import torch
    from torch import nn


    class BatchNorm(nn.Module):
        def __init__(self, num_features, eps=1e-5, momentum=0.1):
            super().__init__()
            self.eps, self.momentum = eps, momentum
            self.weight = nn.Parameter(torch.ones(num_features))
            self.bias = nn.Parameter(torch.zeros(num_features))
            self.register_buffer("running_mean", torch.zeros(num_features))
            self.register_buffer("running_var", torch.ones(num_features))

        def forward(self, x):
            if self.training:
                if len(x) == 1:
                    raise ValueError("expected more than 1 value per channel")
                mean, var = x.mean(0), x.var(0)
                with torch.no_grad():
                    self.running_mean += self.momentum * (mean - self.running_mean)
                    self.running_var += self.momentum * (x.var(0) - self.running_var)
            else:
                mean, var = self.running_mean, self.running_var
            return self.weight * (x - mean) / torch.sqrt(var + self.eps) + self.bias

Good
----
    import torch
    from torch import nn


    class BatchNorm(nn.Module):
        def __init__(self, num_features, eps=1e-5, momentum=0.1):
            super().__init__()
            self.eps, self.momentum = eps, momentum
            self.weight = nn.Parameter(torch.ones(num_features))
            self.bias = nn.Parameter(torch.zeros(num_features))
            self.register_buffer("running_mean", torch.zeros(num_features))
            self.register_buffer("running_var", torch.ones(num_features))

        def forward(self, x):
            if self.training:
                if len(x) == 1:
                    raise ValueError("expected more than 1 value per channel")
                mean, var = x.mean(0), x.var(0, unbiased=False)
                with torch.no_grad():
                    self.running_mean += self.momentum * (mean - self.running_mean)
                    self.running_var += self.momentum * (x.var(0) - self.running_var)
            else:
                mean, var = self.running_mean, self.running_var
            return self.weight * (x - mean) / torch.sqrt(var + self.eps) + self.bias

How to fix it
-------------
Follow Algorithm 1 of the paper: subtract the mean over the batch and all positions, divide by the root of the
biased variance (`unbiased=False`) plus eps, multiply with the scale, add the shift.

When it is fine
---------------
A layer that is meant to be something else, such as an instance or a batch renormalisation, does not
conform, and need not.

References
----------
- Ioffe and Szegedy, Batch Normalization, algorithm 1: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import AGREEMENT, Deviation, Facts
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "H"


def check(facts: Facts) -> Iterator[Claim]:
    """An output that is not that of the reference."""
    for layer in facts.homemade:
        match layer.output:
            case Deviation(largest=float() as largest) as found if largest > AGREEMENT:
                yield Claim(
                    layer.where,
                    _message(layer.cls, found.cause),
                    found.shown,
                    measured={"difference": largest},
                )


def _message(cls: str, cause: str) -> str:
    cause = cause or "no known mistake explains it; check each step against Algorithm 1"
    return f"The output of `{cls}` in train mode is not that of batch normalisation: {cause}."


SIZES = (2, 4, 8, 16, 32, 64)


def demonstrate(lab: Laboratory) -> Demonstration:
    """Batches of several sizes, normalised by either variance."""
    wrong, right = (
        [_deviation(lab, kind, size) for size in SIZES] for kind in (_homemade(lab), lab.BatchNorm1d)
    )
    small, middle, large = (SIZES.index(size) for size in (2, 8, 32))
    lost = [1 - one / other for one, other in zip(wrong, right, strict=True)]
    return Demonstration(
        setting=(
            "Batches from N(0, 1) are normalised in train mode, by a home-made layer that divides by the "
            "root of x.var(0), which is unbiased, and by BatchNorm. The output should have a standard "
            "deviation of 1, whatever the size of the batch."
        ),
        columns=("wrong: x.var(0)", "right: unbiased=False"),
        rows=tuple(
            Row(f"deviation of the output, batches of {size}", f"{wrong[at]:.3f}", f"{right[at]:.3f}")
            for at, size in enumerate(SIZES)
        ),
        claim=(
            f"With the unbiased variance outputs are {100 * lost[small]:.1f} % too small in batches of 2, "
            f"{100 * lost[middle]:.1f} % in batches of 8 and {100 * lost[large]:.1f} % in batches of 32."
        ),
        holds=(
            all(
                abs(1 - share - (1 - 1 / size) ** 0.5) < 0.005
                for share, size in zip(lost, SIZES, strict=True)
            )
            and min(right) > 0.97
        ),
        picture=Picture(
            kind="lines",
            title="Standard deviation of the output in train mode",
            x="samples in a batch",
            y="deviation",
            series=(
                Series("wrong", wrong, SIZES, "x.var(0)"),
                Series("right", right, SIZES, "unbiased=False"),
            ),
        ),
    )


def _homemade(lab: Laboratory) -> Any:
    """The layer of the Bad example."""

    class HomeMade(lab.HomeMade):  # type: ignore[misc, name-defined]
        def statistics(self, x: Any) -> tuple[Any, Any]:
            return x.mean(0), x.var(0)

    return HomeMade


def _deviation(lab: Laboratory, kind: Any, size: int) -> float:
    """The standard deviation of what the layer gives for batches of this size, the same for each layer."""
    lab.restart()
    norm = kind(64)
    outputs = [norm(lab.torch.randn(size, 64)).detach() for _ in range(20)]
    return float(lab.torch.cat(outputs).std(unbiased=False))
