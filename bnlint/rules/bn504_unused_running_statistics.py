"""A home-made BatchNorm does not use its running statistics in eval mode.

What it finds
-------------
A layer whose output in eval mode is not what its own running mean and variance give: it normalises with the
batch in both modes, looks at `torch.is_grad_enabled()` in place of `self.training`, takes one of the two
statistics from the batch, or leaves a step out.

Why it is wrong
---------------
In eval mode the answer for a sample has to depend on this sample alone. A layer that goes on normalising
with the batch gives other answers for other batch mates, and none for a batch of one.

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
                    self.running_var += self.momentum * (x.var(0) - self.running_var)
            else:
                mean, var = x.mean(0), x.var(0, unbiased=False)
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
Ask `self.training`, which `train()` and `eval()` set, and normalise with the running statistics where it is
false, by the same formula, scale and shift as in train mode.

When it is fine
---------------
A layer that keeps no statistics at all, as `track_running_stats=False` does, is not reported unless it takes
a momentum.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3.1: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import AGREEMENT, Deviation, Facts
from bnlint.rule import Claim

SEVERITY = "error"
ENGINES = "H"


def check(facts: Facts) -> Iterator[Claim]:
    """An output in eval mode that the running statistics do not give."""
    for layer in facts.homemade:
        match layer.evaluation:
            case Deviation(largest=float() as largest) as found if largest > AGREEMENT:
                yield Claim(
                    layer.where,
                    _message(layer.cls, found.cause),
                    found.shown,
                    measured={"difference": largest},
                )


def _message(cls: str, cause: str) -> str:
    cause = (
        cause or "no known mistake explains it; make it the formula of train mode with the running statistics"
    )
    return f"`{cls}` does not use its running statistics as it should in eval mode: {cause}."
