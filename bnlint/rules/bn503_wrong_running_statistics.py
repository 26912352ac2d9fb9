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

from bnlint.facts import AGREEMENT, Deviation, Facts
from bnlint.rule import Claim

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
