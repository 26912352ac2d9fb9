"""Monte-Carlo dropout switches the whole model to train, BatchNorm included.

What it finds
-------------
A prediction that runs one input through a model several times to see how far the answers of Dropout spread,
while the model as a whole certainly is in train mode and has BatchNorm beside Dropout.

Why it is wrong
---------------
Monte-Carlo dropout needs Dropout in train mode, and nothing else. `train()` switches BatchNorm as well: it
then normalises with the mean and variance of the batch at hand, so that the answer and its spread depend on
the samples that happen to share the batch, which is no uncertainty of the model. Each pass also pulls the
running statistics towards that batch: after T passes of one input they have moved by 1 - 0.9^T of the way,
88 % for T = 20, and what the model answers in eval mode afterwards has changed. `torch.no_grad()` does not
stop that.

Bad
---
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU())
            self.drop = nn.Dropout(0.2)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.drop(self.body(x)))


    def predict_with_uncertainty(x, passes=20):
        net = Net()
        net.load_state_dict(torch.load("net.pt"))
        net.train()
        with torch.no_grad():
            answers = torch.stack([net(x).softmax(1) for _ in range(passes)])
        return answers.mean(0), answers.std(0)

Good
----
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU())
            self.drop = nn.Dropout(0.2)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.drop(self.body(x)))


    def predict_with_uncertainty(x, passes=20):
        net = Net()
        net.load_state_dict(torch.load("net.pt"))
        net.eval()
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        with torch.no_grad():
            answers = torch.stack([net(x).softmax(1) for _ in range(passes)])
        return answers.mean(0), answers.std(0)

How to fix it
-------------
Call `eval()` on the model, then `train()` on its Dropout modules alone; call `eval()` on the model again
behind the last pass.

When it is fine
---------------
Monte-Carlo BatchNorm, where the statistics of random training batches are what is sampled. A model without
BatchNorm may be switched as a whole.

References
----------
- Gal and Ghahramani, Dropout as a Bayesian Approximation: https://arxiv.org/abs/1506.02142
- PyTorch, evaluation mode: https://pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "SW"


def check(facts: Facts) -> Iterator[Claim]:
    """Passes of Monte-Carlo dropout through a model whose BatchNorm is in train mode too."""
    for found in facts.passes:
        if found.batchnorm == "yes" and found.dropout == "yes":
            message = (
                f"Monte-Carlo dropout runs all of `{found.model}` in train mode: BatchNorm uses this batch's "
                f"statistics and updates the running ones; call `{found.model}.eval()`, then `train()` on "
                "the Dropout modules only."
            )
            yield Claim(found.where, message, (*found.path, found.why))


PASSES = 20


def demonstrate(lab: Laboratory) -> Demonstration:
    """One batch goes through a network with Dropout many times, with BatchNorm in either mode."""
    (wrong, wrong_change), (right, right_change) = (_monte_carlo(lab, whole=whole) for whole in (True, False))
    return Demonstration(
        setting=(
            "A trained classifier (Linear, BatchNorm, ReLU, Dropout, Linear) is asked for its uncertainty: "
            f"32 samples of one class go through it {PASSES} times with Dropout in train mode. Measured is "
            "how much of the way to this batch the running mean has gone, and what eval mode answers before "
            "and afterwards."
        ),
        columns=("wrong: train() of all", "right: train() of Dropout"),
        rows=(
            Row("way of running_mean to this batch", percent(wrong[-1]), percent(right[-1])),
            Row("mean change of probabilities in eval mode", percent(wrong_change), percent(right_change)),
        ),
        claim=(
            f"{PASSES} passes take the running mean {percent(wrong[-1])} of the way to the batch that is "
            f"asked about, and change the probabilities of eval mode by {percent(wrong_change)} on average; "
            "where only Dropout is in train mode nothing changes."
        ),
        holds=abs(wrong[-1] - (1 - 0.9**PASSES)) < 1e-9
        and wrong_change > 0.02
        and right[-1] == right_change == 0,
        picture=Picture(
            kind="lines",
            title="How far asking has moved running_mean towards the batch",
            x="passes",
            y="way in %",
            series=(
                Series("wrong", [100 * way for way in wrong], name="train() of all"),
                Series("right", [100 * way for way in right], name="train() of Dropout"),
            ),
        ),
    )


def _monte_carlo(lab: Laboratory, *, whole: bool) -> tuple[list[float], float]:
    """The way of the running mean after each pass, and how much the answers of eval mode have changed."""
    lab.restart()
    inputs, targets = lab.blobs(600)
    net = lab.classifier()
    net.insert(3, lab.nn.Dropout(0.2))
    lab.train(net, inputs, targets)
    batch, norm = inputs[targets == 0][:32], net[1]
    with lab.torch.no_grad():
        before = net.eval()(inputs).softmax(1)
        start, end = norm.running_mean.clone(), net[0](batch).mean(dim=0)
        net.train(whole)
        net[3].train()
        ways = [0.0]
        for _ in range(PASSES):
            net(batch)
            ways.append(float((norm.running_mean - start).norm() / (end - start).norm()))
        after = net.eval()(inputs).softmax(1)
    return ways, float((after - before).abs().mean())
