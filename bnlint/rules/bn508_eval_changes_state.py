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
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


BATCHES, SHIFT = 30, 2.0


def demonstrate(lab: Laboratory) -> Demonstration:
    """A network evaluates shifted data, and then the same samples as before."""
    wrong, right = (_evaluated(lab, kind) for kind in (_homemade(lab), lab.BatchNorm1d))
    return Demonstration(
        setting=(
            "A classifier (Linear, BatchNorm, ReLU, Linear) has learned to tell ten classes. In eval mode it "
            f"answers {BATCHES} batches of data that are shifted by {SHIFT:g}, and before and after them the "
            "same 300 new samples. The home-made layer updates its statistics in both modes."
        ),
        columns=("wrong: both modes", "right: train mode"),
        rows=(
            Row("correct predictions before", percent(wrong.correct[0]), percent(right.correct[0])),
            Row("correct predictions after", percent(wrong.correct[-1]), percent(right.correct[-1])),
            Row("predictions that changed", percent(wrong.changed), percent(right.changed)),
            Row("change of running_mean (RMS)", f"{wrong.moved:.2f}", f"{right.moved:.2f}"),
        ),
        claim=(
            f"Evaluating {BATCHES} batches of shifted data moves the running mean by {wrong.moved:.2f}, and "
            f"of the same samples {percent(wrong.correct[-1])} are right afterwards in place of "
            f"{percent(wrong.correct[0])}; where only train mode updates, it moves by {right.moved:.2f}, and "
            f"{percent(right.changed)} of the predictions change."
        ),
        holds=(
            wrong.correct[-1] < wrong.correct[0] - 0.2
            and wrong.changed > 0.2
            and wrong.moved > 0.5
            and wrong.correct[0] > 0.8
            and right.moved == right.changed == 0
        ),
        picture=Picture(
            kind="lines",
            title="Correct predictions for the same samples",
            x="batches of shifted data that were evaluated before",
            y="correct predictions (share)",
            series=(
                Series("wrong", wrong.correct, name="updates in both modes"),
                Series("right", right.correct, name="updates in train mode"),
            ),
        ),
    )


def _homemade(lab: Laboratory) -> Any:
    """The layer of the Bad example."""

    class HomeMade(lab.HomeMade):  # type: ignore[misc, name-defined]
        def known(self, x: Any) -> tuple[Any, Any]:
            mean, var = self.running_mean.clone(), self.running_var.clone()
            self.update(x)
            return mean, var

    return HomeMade


@dataclass(frozen=True, slots=True)
class _Evaluated:
    """What came of it.

    Attributes:
        correct: the share of right answers for the same samples, before the shifted data and after each
            batch of them.
        changed: the share of predictions that are others in the end.
        moved: how far the evaluation has moved the running mean (RMS over channels).

    """

    correct: list[float]
    changed: float
    moved: float


def _evaluated(lab: Laboratory, kind: Any) -> _Evaluated:
    """Train with such a layer, and evaluate; copies answer for the samples, so that these move nothing."""
    lab.restart()
    inputs, targets = lab.blobs(600, classes=10, spread=0.5)
    net = lab.classifier(classes=10, norm=kind)
    lab.train(net, inputs[:300], targets[:300], steps=200)
    net.eval()
    mean = net[1].running_mean.clone()
    answers = [deepcopy(net)(inputs[300:]).argmax(1)]
    for _ in range(BATCHES):
        net(inputs[lab.torch.randperm(300)[:32]] + SHIFT)
        answers.append(deepcopy(net)(inputs[300:]).argmax(1))
    return _Evaluated(
        correct=[float((answer == targets[300:]).double().mean()) for answer in answers],
        changed=float((answers[-1] != answers[0]).double().mean()),
        moved=float((net[1].running_mean - mean).square().mean().sqrt()),
    )
