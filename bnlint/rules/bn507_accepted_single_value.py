"""A home-made BatchNorm takes one value per channel in train mode.

What it finds
-------------
A layer that gives an output in train mode for a batch of one sample with one position, where torch raises
`ValueError: Expected more than 1 value per channel when training`.

Why it is wrong
---------------
One value is its own mean: the output is the shift, whatever the input was, and no gradient reaches the
input. The unbiased variance of one value does not exist: where it goes into the running statistics, they
are NaN for ever.

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
                mean, var = x.mean(0), x.var(0, unbiased=False)
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
Raise a `ValueError` in train mode where `x.numel() // x.shape[1] == 1`.

When it is fine
---------------
Where batches of one sample cannot come up.

References
----------
- PyTorch, `batch_norm`: https://pytorch.org/docs/stable/generated/torch.nn.functional.batch_norm.html
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import Facts, Homemade
from bnlint.rule import Claim

SEVERITY = "warning"
ENGINES = "H"


def check(facts: Facts) -> Iterator[Claim]:
    """A layer that does not refuse what it cannot normalise."""
    for layer in facts.homemade:
        match layer:
            case Homemade(single="not a number"):
                message = (
                    f"`{layer.cls}` takes one value per channel in train mode, and its output or its running "
                    "statistics are NaN from then on; let it raise a ValueError, as torch does."
                )
                yield Claim(layer.where, message, severity="error")
            case Homemade(single="accepted"):
                message = (
                    f"`{layer.cls}` takes one value per channel in train mode: its variance is 0, and the "
                    "output does not depend on the input; let it raise a ValueError, as torch does."
                )
                yield Claim(layer.where, message)
