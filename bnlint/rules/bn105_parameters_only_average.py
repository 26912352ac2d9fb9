"""An averaged copy of a model is evaluated with the statistics of another model.

What it finds
-------------
An average of a model over time (EMA, SWA, a target network) that is made of the parameters alone and is
called in eval mode: a loop over `parameters()` that leaves the buffers behind, or
`torch.optim.swa_utils.AveragedModel` without `use_buffers=True` and without `update_bn`.

Why it is wrong
---------------
`running_mean` and `running_var` are buffers, not parameters. In eval mode the copy normalises its averaged
weights with statistics that belong to others: those that the copy was made with (mean 0 and variance 1,
if nothing had been trained by then), or with `AveragedModel` those of the last model only. The copy runs
without an error and answers worse than the model that it was to improve.

Bad
---
    import copy

    import torch
    from torch import nn


    def main(loader, images):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        teacher = copy.deepcopy(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            for slow, fast in zip(teacher.parameters(), net.parameters()):
                slow.data.mul_(0.99).add_(fast.data, alpha=0.01)
        teacher.eval()
        with torch.no_grad():
            return teacher(images)

Good
----
    import copy

    import torch
    from torch import nn


    def main(loader, images):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        teacher = copy.deepcopy(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            for slow, fast in zip(teacher.parameters(), net.parameters()):
                slow.data.mul_(0.99).add_(fast.data, alpha=0.01)
            for slow, fast in zip(teacher.buffers(), net.buffers()):
                slow.copy_(fast)
        teacher.eval()
        with torch.no_grad():
            return teacher(images)

How to fix it
-------------
Copy or average `buffers()` beside the parameters. With `AveragedModel` pass `use_buffers=True`, or call
`torch.optim.swa_utils.update_bn(loader, model)` once before the averaged model is evaluated.

When it is fine
---------------
A teacher that runs in train mode in each step keeps statistics of its own (Mean Teacher, BYOL). Where
BatchNorm is frozen in both models, their statistics are the same. An
`AveragedModel` with a decaying `avg_fn` copies the buffers of the last model, from which it is not far.

References
----------
- PyTorch, weight averaging: https://pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
- Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, section 3.2: https://arxiv.org/abs/1803.05407
- Cai et al., Exponential Moving Average Normalization for Self-supervised and Semi-supervised Learning: https://arxiv.org/abs/2101.08482
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Average, Facts
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "SW"

ADVICE: Final = {
    "parameters": "make it copy `buffers()` as well",
    "AveragedModel": "pass `use_buffers=True`, or call `update_bn` before it is evaluated",
}


def check(facts: Facts) -> Iterator[Claim]:
    """An averaged model in eval mode whose statistics come from nowhere."""
    for average in facts.averages:
        match average:
            case Average(buffers="no", batchnorm="yes", moving="yes", modes=modes) if modes == {"eval"}:
                yield Claim(average.where, _message(average), average.path)


def _message(average: Average) -> str:
    """What is left behind, and what to do."""
    return (
        f"Only the parameters are averaged into `{average.model}`, which is called in eval mode: BatchNorm's "
        f"`running_mean` and `running_var` are buffers and do not follow; {ADVICE[average.how]}."
    )


STEPS, DECAY = 200, 0.9


def demonstrate(lab: Laboratory) -> Demonstration:
    """A teacher follows a student by its parameters alone, or by its buffers, too."""
    student, wrong, right = _accuracies(lab)
    return Demonstration(
        setting=(
            f"A classifier (Linear, BatchNorm, ReLU, Linear) learns ten classes in {STEPS} steps, from "
            f"inputs around 4, and a copy of it averages its parameters with a decay of {DECAY}. Every ten "
            "steps the copy is asked in eval mode."
        ),
        columns=("wrong: parameters()", "right: buffers() as well"),
        rows=(
            Row("right answers of the copy in the end", percent(wrong[-1]), percent(right[-1])),
            Row("right answers of the student", percent(student), percent(student)),
        ),
        claim=(
            f"The copy that averages parameters() alone has {percent(wrong[-1])} right, the one that "
            f"copies buffers() as well {percent(right[-1])}; the student itself has {percent(student)}."
        ),
        holds=wrong[-1] < student - 0.15 and abs(right[-1] - student) < 0.05,
        picture=Picture(
            kind="lines",
            title="Right answers of the averaged copy in eval mode",
            x="step",
            y="right answers in %",
            series=(
                Series("wrong", [100 * share for share in wrong], x=_ASKED, name="parameters()"),
                Series("right", [100 * share for share in right], x=_ASKED, name="buffers() as well"),
            ),
        ),
    )


_ASKED = range(10, STEPS + 1, 10)
"""After which steps the copy is asked."""


def _accuracies(lab: Laboratory) -> tuple[float, list[float], list[float]]:
    """Right answers of the student in the end, and of both copies every ten steps."""
    inputs, targets = lab.blobs(600, classes=10, spread=0.4)
    inputs = 4 + 2 * inputs
    net = lab.classifier(classes=10)
    copies = [deepcopy(net), deepcopy(net)]
    shares: tuple[list[float], list[float]] = ([], [])
    for step in range(1, STEPS + 1):
        lab.train(net, inputs, targets, steps=1)
        for copy in copies:
            for slow, fast in zip(copy.parameters(), net.parameters(), strict=True):
                slow.data.mul_(DECAY).add_(fast.data, alpha=1 - DECAY)
        for slow, fast in zip(copies[1].buffers(), net.buffers(), strict=True):
            slow.copy_(fast)
        if step in _ASKED:
            for copy, found in zip(copies, shares, strict=True):
                found.append(lab.accuracy(copy.eval(), inputs, targets))
    return lab.accuracy(net.eval(), inputs, targets), *shares
