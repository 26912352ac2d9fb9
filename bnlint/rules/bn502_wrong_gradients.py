"""A home-made BatchNorm has other gradients than what it computes.

What it finds
-------------
A layer with the gradient of its input, its scale or its shift wrong, though its output is right (or wrong in
a way that is known, and then it is compared with the gradient of that). Most often mean and variance are
detached; else a backward pass was written by hand.

Why it is wrong
---------------
The mean and the variance depend on the input, and gradients flow through both (section 3 of the paper shows
with an example that the model diverges without). A detached layer trains, with gradients that grow the
weights without changing the loss.

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
                mean, var = x.mean(0).detach(), x.var(0, unbiased=False).detach()
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
Take `.detach()`, `.data` and `no_grad()` away from the way of the batch's statistics to the output; only the
update of the running statistics belongs there. Check a backward of your own with `torch.autograd.gradcheck`.

When it is fine
---------------
Nowhere that we know of.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import AGREEMENT, Deviation, Facts
from bnlint.rule import Claim

SEVERITY = "error"
ENGINES = "H"


def check(facts: Facts) -> Iterator[Claim]:
    """A gradient that is not that of the output."""
    for layer in facts.homemade:
        match layer.gradients:
            case Deviation(largest=float() as largest) as found if largest > AGREEMENT:
                yield Claim(
                    layer.where,
                    _message(layer.cls, found.cause),
                    found.shown,
                    measured={"difference": largest},
                )


def _message(cls: str, cause: str) -> str:
    cause = cause or "no known mistake explains it; check it with `torch.autograd.gradcheck`"
    return f"The gradients of `{cls}` are not those of its output: {cause}."
