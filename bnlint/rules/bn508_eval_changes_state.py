"""A forward of a home-made BatchNorm in eval mode changes its state.

What it finds
-------------
A layer whose running statistics, buffers or parameters are not the same after a forward in eval mode. A
layer that does the same in both modes is BN504's.

Why it is wrong
---------------
Each evaluation then moves the statistics towards the data that it evaluates on: test data leak into the
model, and the answer for a sample depends on what was asked before.

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
            else:
                mean, var = self.running_mean.clone(), self.running_var.clone()
            with torch.no_grad():
                self.running_mean += self.momentum * (x.mean(0) - self.running_mean)
                self.running_var += self.momentum * (x.var(0) - self.running_var)
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
Update the running statistics only where `self.training` is true.

When it is fine
---------------
Layers that adapt to the data of the test on purpose.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3.1: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import Facts
from bnlint.rule import Claim

SEVERITY = "error"
ENGINES = "H"


def check(facts: Facts) -> Iterator[Claim]:
    """State that a forward in eval mode has changed."""
    for layer in facts.homemade:
        if layer.changed and layer.modeless == "no":
            names = " and ".join(f"`{name}`" for name in layer.changed)
            message = (
                f"A forward of `{layer.cls}` in eval mode changes {names}: each evaluation moves the model; "
                "let only train mode update them, where `self.training` is true."
            )
            yield Claim(layer.where, message)
