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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Kept
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


HIDDEN, STEPS = 16, 200


def demonstrate(lab: Laboratory) -> Demonstration:
    """A network learns a sine; before its ReLU stands either layer."""
    wrong, right = (_learned(lab, kind) for kind in (_homemade(lab), lab.BatchNorm1d))
    xs = wrong.inputs.tolist()
    return Demonstration(
        setting=(
            f"Linear(1, {HIDDEN}), BatchNorm, ReLU and Linear learn sin(x) for x from -3 to 3, in {STEPS} "
            "steps of Adam on net.parameters(). Without a shift each ReLU bends where x has its mean. The "
            "scale and the shift of the home-made layer are plain tensors."
        ),
        columns=("wrong: tensors", "right: parameters"),
        rows=(
            Row("tensors of BatchNorm in parameters()", str(wrong.trained), str(right.trained)),
            Row("change of the scale in training", f"{wrong.scale:.2f}", f"{right.scale:.2f}"),
            Row("change of the shift in training", f"{wrong.shift:.2f}", f"{right.shift:.2f}"),
            Row("error of the output (RMS)", f"{wrong.error:.2f}", f"{right.error:.2f}"),
        ),
        claim=(
            f"The optimizer got {wrong.trained} of the layer's 2 tensors: scale and shift moved by "
            f"{wrong.scale:.2f} and {wrong.shift:.2f}, and the output is off by {wrong.error:.2f}; as "
            f"parameters they moved by {right.scale:.2f} and {right.shift:.2f}, and it is off by "
            f"{right.error:.2f}."
        ),
        holds=(
            (wrong.trained, right.trained) == (0, 2)
            and wrong.scale == wrong.shift == 0
            and min(right.scale, right.shift) > 0.05
            and wrong.error > 0.3
            and right.error < 0.1
        ),
        picture=Picture(
            kind="lines",
            title="What the network has learned of a sine",
            x="x",
            y="output in train mode",
            series=(
                Series("truth", wrong.inputs.sin().tolist(), xs, "sin(x)"),
                Series("wrong", wrong.outputs.tolist(), xs, "plain tensors"),
                Series("right", right.outputs.tolist(), xs, "parameters"),
            ),
        ),
    )


def _homemade(lab: Laboratory) -> Any:
    """The layer of the Bad example: the reference, but for its scale and shift."""

    class HomeMade(lab.BatchNorm1d):  # type: ignore[misc, name-defined]
        def __init__(self, num_features: int) -> None:
            super().__init__(num_features)
            del self.weight, self.bias
            self.weight: Any = lab.torch.ones(num_features)
            self.bias: Any = lab.torch.zeros(num_features)

    return HomeMade


@dataclass(frozen=True, slots=True)
class _Learned:
    """What came of it.

    Attributes:
        trained: how many of the layer's tensors the optimizer got.
        scale: how far the scale moved from 1 (RMS over channels).
        shift: how far the shift moved from 0 (RMS over channels).
        error: of the outputs (RMS over all inputs).
        inputs: of shape (samples,), in order.
        outputs: what the network makes of them.

    """

    trained: int
    scale: float
    shift: float
    error: float
    inputs: Any
    outputs: Any


def _learned(lab: Laboratory, kind: Any) -> _Learned:
    """Train with such a layer, from the same weights on."""
    lab.restart()
    nn, inputs = lab.nn, lab.torch.linspace(-3, 3, 121)
    net = nn.Sequential(nn.Linear(1, HIDDEN, bias=False), kind(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    optimizer = lab.torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(STEPS):
        loss = (net(inputs[:, None])[:, 0] - inputs.sin()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    outputs = net(inputs[:, None])[:, 0].detach()
    norm = net[1]
    return _Learned(
        trained=len(list(norm.parameters())),
        scale=float((norm.weight.detach() - 1).square().mean().sqrt()),
        shift=float(norm.bias.detach().square().mean().sqrt()),
        error=float((outputs - inputs.sin()).square().mean().sqrt()),
        inputs=inputs,
        outputs=outputs,
    )
