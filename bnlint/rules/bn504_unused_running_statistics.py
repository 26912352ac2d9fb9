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
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import AGREEMENT, Deviation, Facts
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


SIZES = (1, 2, 4, 8, 32)
SAMPLES = 320


def demonstrate(lab: Laboratory) -> Demonstration:
    """A network is evaluated in batches of several sizes."""
    wrong, right = (_answered(lab, kind) for kind in (_homemade(lab), lab.BatchNorm1d))
    single, pairs = SIZES.index(1), SIZES.index(2)
    kinds = [len({tuple(answer) for answer in one[0].round(decimals=9).tolist()}) for one in (wrong, right)]
    correct = [one[1] for one in (wrong, right)]
    return Demonstration(
        setting=(
            "A classifier (Linear, BatchNorm, ReLU, Linear) has learned to tell ten classes in batches of "
            f"32. In eval mode it is asked about {SAMPLES} new samples, which come in batches of several "
            "sizes. The home-made layer normalises them with the statistics of their own batch."
        ),
        columns=("wrong: the batch's", "right: the running"),
        rows=(
            *(
                Row(f"correct predictions, batches of {size}", *(percent(one[at]) for one in correct))
                for at, size in enumerate(SIZES)
            ),
            Row("different answers, batches of 1", *map(str, kinds)),
        ),
        claim=(
            f"In batches of one all {SAMPLES} samples get one and the same answer, which is right for "
            f"{percent(correct[0][single])}; in batches of 2, {percent(correct[0][pairs])} are right. With "
            f"the running statistics {percent(correct[1][single])} are right in batches of any size."
        ),
        holds=(
            kinds == [1, SAMPLES]
            and correct[0][single] < 0.2
            and correct[0][pairs] < 0.7
            and min(correct[1]) == max(correct[1])
            and correct[1][single] > 0.8
        ),
        picture=Picture(
            kind="bars",
            title="Correct predictions in eval mode, by the size of the batches",
            x="samples in a batch",
            y="correct predictions (share)",
            series=(
                Series("wrong", correct[0], name="statistics of the batch"),
                Series("right", correct[1], name="running statistics"),
            ),
            categories=tuple(map(str, SIZES)),
        ),
    )


def _homemade(lab: Laboratory) -> Any:
    """The layer of the Bad example."""

    class HomeMade(lab.HomeMade):  # type: ignore[misc, name-defined]
        def known(self, x: Any) -> tuple[Any, Any]:
            return x.mean(0), x.var(0, unbiased=False)

    return HomeMade


def _answered(lab: Laboratory, kind: Any) -> tuple[Any, list[float]]:
    """What the network answers in batches of one, and the share of right answers for each size of batch."""
    lab.restart()
    inputs, targets = lab.blobs(2 * SAMPLES, classes=10, spread=0.5)
    net = lab.classifier(classes=10, norm=kind)
    lab.train(net, inputs[:SAMPLES], targets[:SAMPLES], steps=200)
    net.eval()
    with lab.torch.no_grad():
        by_size = [
            lab.torch.cat([net(batch) for batch in lab.torch.split(inputs[SAMPLES:], size)]) for size in SIZES
        ]
    correct = [float((answers.argmax(1) == targets[SAMPLES:]).double().mean()) for answers in by_size]
    return by_size[SIZES.index(1)], correct
