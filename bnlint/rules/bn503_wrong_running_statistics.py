"""A home-made BatchNorm updates its running statistics in another way.

What it finds
-------------
A layer whose running mean or variance is, after a batch, not that of the reference: the variance is the
biased one, momentum means the share that is kept (as in Keras) and not that of the new batch, a statistic is
never moved, starts elsewhere, or stays in the graph.

Why it is wrong
---------------
Nothing shows in training, as only eval mode uses the running statistics. A biased variance is too small by
(m - 1) / m, which is a half at two values per channel. A momentum of 0.1 in the convention of Keras leaves
statistics that come to 90 % from the last batch. Statistics in the graph keep every batch in memory.

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
                mean, var = x.mean(0), x.var(0, unbiased=False)
                with torch.no_grad():
                    self.running_mean += self.momentum * (mean - self.running_mean)
                    self.running_var += self.momentum * (var - self.running_var)
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
Update both under `torch.no_grad()` as new = (1 - momentum) * old + momentum * batch, with the unbiased
variance (`x.var(...)`, which divides by m - 1), starting at 0 and 1.

When it is fine
---------------
Where a layer is to follow another framework: Keras keeps the biased variance and its own momentum. Weights
then do not go from one to the other as they are.

References
----------
- Ioffe and Szegedy, Batch Normalization, algorithm 2: https://arxiv.org/abs/1502.03167
- PyTorch, `BatchNorm2d`, on momentum: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
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
    """Running statistics that are not those of the reference."""
    for layer in facts.homemade:
        match layer.averages:
            case Deviation(largest=float() as largest) as found if largest > AGREEMENT:
                yield Claim(
                    layer.where,
                    _message(layer.cls, found.cause),
                    found.shown,
                    measured={"difference": largest},
                )


def _message(cls: str, cause: str) -> str:
    cause = cause or "no known mistake explains it; make it new = (1 - momentum) * old + momentum * batch"
    return f"The running statistics of `{cls}` are not those of torch: {cause}."


SIZES = (2, 8, 32)
BATCHES = 100


def demonstrate(lab: Laboratory) -> Demonstration:
    """Running variances of data whose variance is 1, and what eval mode makes of them."""
    kinds = _homemade(lab), lab.BatchNorm1d
    wrong, right = ([_tracked(lab, kind, size) for size in SIZES] for kind in kinds)
    variances = [[one[0][-1] for one in side] for side in (wrong, right)]
    deviations = [[one[1] for one in side] for side in (wrong, right)]
    return Demonstration(
        setting=(
            f"{BATCHES} batches from N(0, 1) pass in train mode; then 1000 such samples are evaluated. The "
            "running variance should be 1, and so should the standard deviation of the output. The home-made "
            "layer averages the biased variance, which it rightly normalises with."
        ),
        columns=("wrong: biased", "right: unbiased"),
        rows=tuple(
            Row(f"{what}, batches of {size}", f"{values[0][at]:.2f}", f"{values[1][at]:.2f}")
            for what, values in (("running variance", variances), ("deviation in eval mode", deviations))
            for at, size in enumerate(SIZES)
        ),
        claim=(
            f"After {BATCHES} batches of 2 the running variance is {variances[0][0]:.2f} where the true one "
            f"is 1 and the unbiased one {variances[1][0]:.2f}, and outputs in eval mode have a deviation of "
            f"{deviations[0][0]:.2f} and not of {deviations[1][0]:.2f}; after batches of 32 it is "
            f"{variances[0][2]:.2f}."
        ),
        holds=all(
            abs(biased - (1 - 1 / size)) < 0.1
            and abs(unbiased - 1) < 0.1
            and large > small
            and abs((large / small) ** 2 - size / (size - 1)) < 0.1
            for size, biased, unbiased, large, small in zip(SIZES, *variances, *deviations, strict=True)
        ),
        picture=Picture(
            kind="lines",
            title="Running variance over batches of 2; the true variance is 1",
            x="batch",
            y="running_var, mean of the channels",
            series=(
                Series("wrong", wrong[0][0], name="biased"),
                Series("right", right[0][0], name="unbiased"),
            ),
        ),
    )


def _homemade(lab: Laboratory) -> Any:
    """The layer of the Bad example."""

    class HomeMade(lab.HomeMade):  # type: ignore[misc, name-defined]
        def tracked(self, x: Any) -> tuple[Any, Any]:
            return x.mean(0), x.var(0, unbiased=False)

    return HomeMade


def _tracked(lab: Laboratory, kind: Any, size: int) -> tuple[list[float], float]:
    """The running variance before and after each batch, over 256 channels, and the deviation in eval mode."""
    lab.restart()
    norm = kind(256)
    variances = [1.0]
    for _ in range(BATCHES):
        norm(lab.torch.randn(size, 256))
        variances.append(float(norm.running_var.mean()))
    return variances, float(norm.eval()(lab.torch.randn(1000, 256)).detach().std())
