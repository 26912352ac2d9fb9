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
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Homemade
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


SINGLES = 50


def demonstrate(lab: Laboratory) -> Demonstration:
    """The last batch of an epoch has one sample."""
    wrong, right = (_outcome(lab, kind) for kind in (_homemade(lab), lab.BatchNorm1d))
    return Demonstration(
        setting=(
            "In a classifier (Linear, BatchNorm, ReLU, Linear) that has learned ten classes, "
            f"{SINGLES} samples go through BatchNorm one by one, in train mode; where it raises, eval mode "
            "answers. Then one batch of one, as the last of an epoch may be, comes before an evaluation."
        ),
        columns=("wrong: accepts one", "right: refuses one"),
        rows=(
            Row("single samples that raise ValueError", str(wrong.refused), str(right.refused)),
            Row(f"different outputs for the {SINGLES} samples", str(wrong.different), str(right.different)),
            Row("largest gradient of an input", f"{wrong.gradient:.2f}", f"{right.gradient:.2f}"),
            Row("channels whose running_var is NaN", f"{wrong.lost} of 16", f"{right.lost} of 16"),
            Row("correct predictions before", percent(wrong.before), percent(right.before)),
            Row("correct predictions after", percent(wrong.after), percent(right.after)),
        ),
        claim=(
            f"{SINGLES} samples that come alone get one and the same output, and a gradient of "
            f"{wrong.gradient:.0f}; one batch of one makes {wrong.lost} of 16 running variances NaN, and "
            f"{percent(wrong.after)} of the predictions are right then in place of {percent(wrong.before)}. "
            f"Where the layer raises, {percent(right.after)} stay right."
        ),
        holds=(
            (wrong.refused, right.refused) == (0, SINGLES)
            and (wrong.different, right.different) == (1, SINGLES)
            and wrong.gradient == 0 < right.gradient
            and (wrong.lost, right.lost) == (16, 0)
            and wrong.before == right.before == right.after > 0.8
            and wrong.after < 0.2
        ),
        picture=Picture(
            kind="scatter",
            title="One sample alone: in train mode, and as eval mode answers it",
            x="first channel of the sample",
            y="first channel of the output",
            series=(
                Series("wrong", wrong.outputs, wrong.inputs, "accepted in train mode"),
                Series("right", right.outputs, right.inputs, "eval mode"),
            ),
        ),
    )


def _homemade(lab: Laboratory) -> Any:
    """The layer of the Bad example."""

    class HomeMade(lab.HomeMade):  # type: ignore[misc, name-defined]
        def refuse(self, x: Any) -> None:
            pass

    return HomeMade


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of it.

    Attributes:
        refused: how many single samples raised ValueError in train mode, and were answered in eval mode.
        different: how many different outputs there were.
        gradient: the largest gradient of an input, without its sign.
        inputs: the first channel of each single sample.
        outputs: the first channel of each output.
        before: the share of right answers before the batch of one.
        after: the same after it.
        lost: how many running variances are NaN after it.

    """

    refused: int
    different: int
    gradient: float
    inputs: list[float]
    outputs: list[float]
    before: float
    after: float
    lost: int


def _outcome(lab: Laboratory, kind: Any) -> _Outcome:
    """Train with such a layer, and give it single samples."""
    lab.restart()
    inputs, targets = lab.blobs(600, classes=10, spread=0.5)
    net = lab.classifier(classes=10, norm=kind)
    lab.train(net, inputs[:300], targets[:300], steps=200)
    new = inputs[300:], targets[300:]
    before = lab.accuracy(net.eval(), *new)
    singles = net[0](inputs[:SINGLES]).detach()
    answers = [_answer(deepcopy(net[1]), single[None]) for single in singles]
    _answer(net[1], singles[:1])
    return _Outcome(
        refused=sum(refused for *_, refused in answers),
        different=len({tuple(output.round(decimals=9).tolist()) for output, *_ in answers}),
        gradient=max(float(gradient.abs().max()) for _, gradient, _ in answers),
        inputs=singles[:, 0].tolist(),
        outputs=[float(output[0]) for output, *_ in answers],
        before=before,
        after=lab.accuracy(net.eval(), *new),
        lost=int(net[1].running_var.isnan().sum()),
    )


def _answer(norm: Any, single: Any) -> tuple[Any, Any, bool]:
    """The output for one sample, the gradient of the input, and whether only eval mode takes it."""
    single = single.clone().requires_grad_()
    try:
        output, refused = norm.train()(single)[0], False
    except ValueError:
        output, refused = norm.eval()(single)[0], True
    output.square().sum().backward()
    return output.detach(), single.grad, refused
