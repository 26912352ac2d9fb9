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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import AGREEMENT, Deviation, Facts
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


STEPS = 120
STEP: Final = 1e-6
"""By how much each weight is moved to measure what the loss does."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """The same training, with a home-made layer that detaches its statistics and with the reference."""
    wrong, right = (_learned(lab, kind) for kind in (_homemade(lab), lab.BatchNorm1d))
    growth = [one.sizes[-1] / one.sizes[0] for one in (wrong, right)]
    return Demonstration(
        setting=(
            f"A classifier (Linear, BatchNorm, ReLU, Linear) learns ten classes in {STEPS} steps of SGD. Its "
            "first gradient is held against what the loss does when each weight is moved a little. BatchNorm "
            "undoes the scale of the weights before it, so no gradient should point along them."
        ),
        columns=("wrong: detached", "right: gradients flow"),
        rows=(
            Row("error of the first gradient, relative", percent(wrong.error), percent(right.error)),
            Row("cosine of it and the weights", f"{wrong.along:.2f}", f"{right.along:.2f}"),
            Row("growth of the weights, times", f"{growth[0]:.2f}", f"{growth[1]:.2f}"),
            Row("loss before training", f"{wrong.losses[0]:.2f}", f"{right.losses[0]:.2f}"),
            Row("loss after training", f"{wrong.losses[1]:.2f}", f"{right.losses[1]:.2f}"),
        ),
        claim=(
            f"With detached statistics the gradient is off by {percent(wrong.error)} of its size, the "
            f"weights grow to {growth[0]:.1f} times theirs, which BatchNorm takes out again, and {STEPS} "
            f"steps leave a loss of {wrong.losses[1]:.2f}; with the true gradient the weights grow to "
            f"{growth[1]:.2f} times theirs, and the loss is {right.losses[1]:.2f}."
        ),
        holds=(
            wrong.error > 0.2
            and right.error < 1e-4
            and wrong.along > 0.1
            and right.along < 0.001
            and growth[0] > 1.5
            and growth[1] < 1.05
            and abs(wrong.losses[0] - right.losses[0]) < 1e-9
            and wrong.losses[1] > 1.04 * right.losses[1]
        ),
        picture=Picture(
            kind="lines",
            title="Size of the weights before BatchNorm",
            x="step",
            y="norm of the weights",
            series=(
                Series("wrong", wrong.sizes, name="detached"),
                Series("right", right.sizes, name="gradients flow"),
            ),
        ),
    )


def _homemade(lab: Laboratory) -> Any:
    """The layer of the Bad example."""

    class HomeMade(lab.HomeMade):  # type: ignore[misc, name-defined]
        def statistics(self, x: Any) -> tuple[Any, Any]:
            return x.mean(0).detach(), x.var(0, unbiased=False).detach()

    return HomeMade


@dataclass(frozen=True, slots=True)
class _Training:
    """What came of it.

    Attributes:
        error: of the first gradient of the weights before BatchNorm, relative.
        along: the cosine between that gradient and the weights of a unit, without its sign, on average.
        sizes: the norm of these weights before the first step and after each.
        losses: over all samples, before and after.

    """

    error: float
    along: float
    sizes: list[float]
    losses: tuple[float, float]


def _learned(lab: Laboratory, kind: Any) -> _Training:
    """Train with such a layer, from the same weights and on the same batches for each."""
    lab.restart()
    inputs, targets = lab.blobs(300, classes=10, spread=0.5)
    net = lab.classifier(classes=10, norm=kind)
    weight = net[0].weight

    def loss() -> Any:
        return lab.functional.cross_entropy(net(inputs), targets)

    before = loss()
    (gradient,) = lab.torch.autograd.grad(before, weight)
    true = _slopes(lab, loss, weight)
    error = float((gradient - true).norm() / true.norm())
    along = float(lab.functional.cosine_similarity(gradient, weight.detach(), dim=1).abs().mean())
    sizes = [float(weight.detach().norm())]
    for _ in range(STEPS):
        lab.train(net, inputs, targets, steps=1)
        sizes.append(float(weight.detach().norm()))
    return _Training(error, along, sizes, (float(before.detach()), float(loss().detach())))


def _slopes(lab: Laboratory, loss: Callable[[], Any], weight: Any) -> Any:
    """The gradient as it is measured: what the loss does when each of the weights is moved both ways."""
    slopes = lab.torch.empty_like(weight)
    with lab.torch.no_grad():
        for at in range(weight.numel()):
            kept = float(weight.view(-1)[at])
            ends = []
            for moved in (kept + STEP, kept - STEP):
                weight.view(-1)[at] = moved
                ends.append(float(loss()))
            weight.view(-1)[at] = kept
            slopes.view(-1)[at] = (ends[0] - ends[1]) / (2 * STEP)
    return slopes
