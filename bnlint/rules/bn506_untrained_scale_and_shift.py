"""The scale and shift of a home-made BatchNorm are not parameters.

What it finds
-------------
A scale or a shift that has an effect on the output and is a plain tensor, a buffer, or a parameter without
gradients.

Why it is wrong
---------------
`parameters()` lacks a plain tensor, so no optimizer trains it and `state_dict()` does not save it: the layer
keeps the variance 1 and the mean 0 for ever. The paper adds both so that normalising costs no power of
expression.

Bad
---
    import torch
    from torch import nn


    class BatchNorm(nn.Module):
        def __init__(self, num_features, eps=1e-5, momentum=0.1):
            super().__init__()
            self.eps, self.momentum = eps, momentum
            self.weight = torch.ones(num_features)
            self.bias = torch.zeros(num_features)
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
`self.weight = nn.Parameter(torch.ones(num_features))`, and zeros for the shift.

When it is fine
---------------
A layer without scale and shift (`affine=False`) is not reported, nor is one that was frozen after it was
built and is given to `conforms` as it is.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3: https://arxiv.org/abs/1502.03167
- PyTorch, `Parameter`: https://pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import Facts, Kept
from bnlint.rule import Claim

SEVERITY = "error"
ENGINES = "H"


def check(facts: Facts) -> Iterator[Claim]:
    """A scale or a shift that no optimizer trains."""
    for layer in facts.homemade:
        wrong = [(kept.name, fault) for kept in layer.affine if (fault := _fault(kept))]
        if wrong:
            names = " and ".join(f"`{name}`" for name, _ in wrong)
            yield Claim(layer.where, f"`{layer.cls}` holds {names} as {wrong[0][1]}.")


def _fault(kept: Kept) -> str:
    """Why a scale or a shift is not trained; empty where it is."""
    match kept:
        case Kept(how="attribute"):
            return (
                "a plain tensor: no optimizer trains it and `state_dict()` does not save it; make it an "
                "`nn.Parameter`"
            )
        case Kept(how="buffer" | "not persistent"):
            return "a buffer: no optimizer trains it; make it an `nn.Parameter`"
        case Kept(how="parameter", trained="no"):
            return "a parameter with `requires_grad=False`: leave that out, or it is never trained"
    return ""
