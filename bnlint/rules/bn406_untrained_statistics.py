"""The running statistics are still those that BatchNorm was built with.

What it finds
-------------
A model in eval mode, or a checkpoint, in which all running means of a BatchNorm are 0 and all running
variances 1: it has counted no batch, or its scale and shift are trained.

Why it is wrong
---------------
Mean 0 and variance 1 are what the layer is built with. In eval mode it then does not normalise at all, and
the layers behind it, which learned on normalised values, get something else: the outputs of a small
classifier are off by 1.2 of their size. It happens when weights are loaded or copied without buffers, when
nothing follows `reset_running_stats()`, or when a model is trained in eval mode from the start.

Bad
---
    import torch
    from torch import nn

    STAGE = "eval"


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Linear(8, 16, bias=False)
            self.bn = nn.BatchNorm1d(16)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.bn(self.features(x)).relu())


    def model():
        torch.manual_seed(0)
        trained, net = Net(), Net()
        for _ in range(50):
            trained(2 + torch.randn(32, 8))
        for mine, learned in zip(net.parameters(), trained.parameters()):
            mine.data.copy_(learned)  # parameters only
        return net.eval()


    def loader():
        return [2 + torch.randn(32, 8) for _ in range(4)]

Good
----
    import torch
    from torch import nn

    STAGE = "eval"


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Linear(8, 16, bias=False)
            self.bn = nn.BatchNorm1d(16)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.bn(self.features(x)).relu())


    def model():
        torch.manual_seed(0)
        trained, net = Net(), Net()
        for _ in range(50):
            trained(2 + torch.randn(32, 8))
        net.load_state_dict(trained.state_dict())  # and the statistics
        return net.eval()


    def loader():
        return [2 + torch.randn(32, 8) for _ in range(4)]

How to fix it
-------------
Load the whole `state_dict()`. Where the statistics are lost, let training data run through the model in
train mode, without an optimizer: `torch.optim.swa_utils.update_bn(loader, model)`.

When it is fine
---------------
A model that has not been trained yet. A FrozenBatchNorm into whose scale and shift the statistics were
multiplied. Single channels at (0, 1), and statistics that are real beside a count of 0 or none, as converted
weights have them, are not reported.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3.1: https://arxiv.org/abs/1502.03167
- PyTorch, `update_bn`: https://pytorch.org/docs/stable/optim.html#torch.optim.swa_utils.update_bn
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Statistics
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "RC"


def check(facts: Facts) -> Iterator[Claim]:
    """Statistics of (0, 1) in every channel of a layer that evaluates with them."""
    for fact in facts.statistics:
        if not (_built(fact.mean, 0.0) and _built(fact.var, 1.0)):
            continue
        match fact:
            case Statistics(evaluated="yes", count=0):
                yield _claim(fact, "and has seen no batch")
            case Statistics(evaluated="yes", trained="yes", count=int()):
                yield _claim(fact, "though it was trained")
            case Statistics(evaluated="yes") if _differ(fact):
                yield _claim(fact, "and what it gets has others")
            case Statistics(evaluated="yes", trained="yes"):
                yield _claim(fact, "though it was trained").assuming("it is no FrozenBatchNorm")


def _differ(fact: Statistics) -> bool:
    """Have most channels of the batches that were seen other statistics?"""
    seen = zip(fact.seen_mean, fact.seen_var, strict=True)
    return sum(abs(mean) > FAR or abs(var - 1) > FAR for mean, var in seen) > len(fact.seen_mean) / 2


def _built(numbers: tuple[float, ...], value: float) -> bool:
    return set(numbers) == {value}


def _claim(fact: Statistics, why: str) -> Claim:
    message = (
        f"{fact.norm.title} of {fact.held} still has the mean 0 and variance 1 that it was built with, "
        f"{why}: eval does not normalise; use a whole `state_dict()`, or call `update_bn`."
    )
    return Claim(fact.norm.where, message, measured={"channels": len(fact.mean)})


FAR = 0.25
"""How far from 0 and 1 a mean and a variance have to be to be others."""
MEAN, MOST = 2, 60
"""The mean of the features, and how many batches mend the statistics."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """A trained network that has the statistics of a new one, and what batches in train mode make of it."""
    inputs, targets = lab.blobs(600, classes=10, spread=0.5)
    inputs += MEAN
    net = lab.classifier(classes=10)
    lab.train(net, inputs[:300], targets[:300], steps=200)
    before = net.eval()(inputs[300:]).detach()
    net[1].running_mean.zero_()
    net[1].running_var.fill_(1.0)
    errors, changed, correct = [], [], []
    for _ in range(MOST + 1):
        after = net.eval()(inputs[300:]).detach()
        errors.append(float((after - before).norm() / before.norm()))
        changed.append(float((after.argmax(1) != before.argmax(1)).double().mean()))
        correct.append(lab.accuracy(net, inputs[300:], targets[300:]))
        net.train()(inputs[lab.torch.randperm(300)[:32]])
    return Demonstration(
        setting=(
            "A classifier has learned to tell ten classes, and gets the statistics of a new one: mean 0, "
            "variance 1. It answers for 300 samples in eval mode. Then batches of training data run "
            f"through it in train mode, without an optimizer; the right column is after {MOST} of them."
        ),
        columns=("wrong: (0, 1)", "right: statistics of the data"),
        rows=(
            Row("error of the outputs, relative", f"{errors[0]:.2f}", f"{errors[-1]:.2f}"),
            Row("predictions that changed", percent(changed[0]), percent(changed[-1])),
            Row("correct predictions", percent(correct[0]), percent(correct[-1])),
        ),
        claim=(
            f"With statistics of (0, 1) the outputs are off by {errors[0]:.2f} of their size and "
            f"{percent(changed[0])} of the predictions are others; {MOST} batches in train mode bring the "
            f"error down to {errors[-1]:.2f}."
        ),
        holds=errors[0] > 0.5 and changed[0] > 0.3 and errors[-1] < 0.3 * errors[0],
        picture=Picture(
            kind="lines",
            title="Error of the outputs in eval mode",
            x="batches that ran through the network in train mode",
            y="relative error of the outputs",
            series=(
                Series("wrong", [errors[0]] * len(errors), name="statistics of (0, 1)"),
                Series("right", errors, name="statistics of the batches"),
            ),
        ),
    )
