"""The running statistics of a home-made BatchNorm are not buffers.

What it finds
-------------
Running statistics that are plain attributes, buffers that are not persistent, or parameters that take
gradients.

Why it is wrong
---------------
Plain attributes are not in `state_dict()`: a checkpoint lacks them, and the model that is loaded from it
evaluates with mean 0 and variance 1. `.to(device)` and `.half()` leave them behind. Parameters are moved by
the optimizer.

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
            self.running_mean = torch.zeros(num_features)
            self.running_var = torch.ones(num_features)

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
`self.register_buffer("running_mean", torch.zeros(num_features))` in `__init__`, and the same for the
variance. Later assignments to `self.running_mean` then replace the buffer.

When it is fine
---------------
Where the statistics are saved and moved by code of your own.

References
----------
- PyTorch, `register_buffer`: https://pytorch.org/docs/stable/generated/torch.nn.Module.html
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import Facts, Kept
from bnlint.rule import Claim

SEVERITY = "error"
ENGINES = "H"


def check(facts: Facts) -> Iterator[Claim]:
    """Running statistics that no `state_dict()` holds, or that an optimizer moves."""
    for layer in facts.homemade:
        wrong = [(kept.name, fault) for kept in layer.statistics if (fault := _fault(kept))]
        if wrong:
            names = " and ".join(f"`{name}`" for name, _ in wrong)
            yield Claim(layer.where, f"`{layer.cls}` keeps {names} as {wrong[0][1]}.")


def _fault(kept: Kept) -> str:
    """What is wrong with how a statistic is held; empty where nothing is."""
    match kept:
        case Kept(how="attribute"):
            return (
                "a plain attribute: `state_dict()` does not save it and `.to()` leaves it behind; use "
                "`register_buffer`"
            )
        case Kept(how="not persistent"):
            return "a buffer with `persistent=False`: `state_dict()` does not save it; leave that out"
        case Kept(how="parameter", trained="yes"):
            return "a parameter that takes gradients: an optimizer moves it; use `register_buffer`"
    return ""
