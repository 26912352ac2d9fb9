"""Evaluation runs a model with BatchNorm in train mode.

What it finds
-------------
A forward for evaluation or inference (a validation loop, a `predict` function, a script that loads weights
and calls the model) at which the model certainly is in train mode. The mode is followed per object: through
assignments, branches, loops and calls.

Why it is wrong
---------------
In train mode BatchNorm normalises with the mean and variance of the batch at hand. The answer for one
sample then depends on the samples that happen to share its batch: with other batch mates the predicted
class of most samples changes at batch size 2, and that of some still does at 32. Each such forward also
pulls the running statistics towards the evaluation data: k batches shifted by d move `running_mean` by
d(1 - 0.9^k). `torch.no_grad()` stops neither; it only stops gradients.

Bad
---
    import torch
    from torch import nn


    def build():
        return nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


    def evaluate(net, loader):
        correct = 0
        with torch.no_grad():
            for x, y in loader:
                correct += (net(x).argmax(1) == y).sum().item()
        return correct


    def main(train_loader, val_loader):
        net = build()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for epoch in range(10):
            net.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()
            print(evaluate(net, val_loader))

Good
----
    import torch
    from torch import nn


    def build():
        return nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


    def evaluate(net, loader):
        net.eval()
        correct = 0
        with torch.no_grad():
            for x, y in loader:
                correct += (net(x).argmax(1) == y).sum().item()
        return correct


    def main(train_loader, val_loader):
        net = build()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for epoch in range(10):
            net.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()
            print(evaluate(net, val_loader))

How to fix it
-------------
Call `eval()` on every network that the evaluation uses, in the function that evaluates, and `train()` where
training goes on: at the top of each epoch, or right behind an evaluation in the middle of one.

When it is fine
---------------
Adapting the statistics to new data on purpose (AdaBN, TENT, precise BatchNorm), Monte-Carlo dropout,
samples that a GAN draws while it trains. A model without BatchNorm and Dropout answers the same in both
modes. A method that a framework calls in eval mode by itself (`validation_step` of Lightning and its like)
needs no `eval()`; a loop of one's own over the same model does.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3.1: https://arxiv.org/abs/1502.03167
- PyTorch, evaluation mode: https://pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Forward, Layer, assumption
from bnlint.picture import against
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "SRW"


def check(facts: Facts) -> Iterator[Claim]:
    """A forward for evaluation that certainly happens in train mode."""
    for forward in facts.forwards:
        if forward.purpose == "evaluation" and forward.modes == {"train"}:
            yield from _judge(forward)


def _judge(forward: Forward) -> Iterator[Claim]:
    """What the train mode does to the layers that this model is known, or assumed, to have."""
    evidence = (*forward.path, *forward.why)
    match forward:
        case Forward(layer=Layer() as layer):
            message = (
                f"This {layer.cls} runs in train mode while `{forward.model}` is evaluated: it normalises by "
                f"the batch and moves its statistics; call `eval()` on the whole model first."
            )
            picture = _picture(forward)
            yield Claim(forward.where, message, evidence, measured=forward.measured, picture=picture)
        case Forward(batchnorm="yes" | "unknown"):
            message = (
                f"`{forward.model}` is evaluated in train mode: BatchNorm uses this batch's statistics and "
                f"updates the running ones; call `{forward.model}.eval()` first."
            )
            yield Claim(forward.where, message, evidence).assuming(assumption(forward))
        case Forward(batchnorm="no", dropout="yes"):
            message = (
                f"`{forward.model}` is evaluated in train mode: Dropout still drops values at random; "
                f"call `{forward.model}.eval()` first."
            )
            yield Claim(forward.where, message, evidence, severity="warning")


def _picture(forward: Forward) -> Picture | None:
    """The answer for one sample in its batch, over that for the sample alone."""
    together, alone = forward.answers
    if not together:
        return None
    return against("The answer for one sample", "alone", "in its batch", alone, together, name="an output")


BATCHES = (2, 4, 8, 32)


def demonstrate(lab: Laboratory) -> Demonstration:
    """The same samples among other batch mates, in either mode."""
    inputs, targets = lab.blobs(500, classes=10, spread=0.5)
    net = lab.classifier(classes=10)
    lab.train(net, inputs[:300], targets[:300])
    test = inputs[300:]
    wrong = [_changed(lab, net.train(), test, batch) for batch in BATCHES]
    right = [_changed(lab, net.eval(), test, batch) for batch in BATCHES]
    return Demonstration(
        setting=(
            "A classifier (Linear, BatchNorm, ReLU, Linear) has learned to tell ten classes. 200 new samples "
            "are predicted twice, each time in another random order, so that each sample gets other batch "
            "mates. How often does the predicted class change?"
        ),
        columns=("wrong: train mode", "right: eval mode"),
        rows=tuple(
            Row(f"changed predictions in batches of {batch}", percent(one), percent(other))
            for batch, one, other in zip(BATCHES, wrong, right, strict=True)
        ),
        claim=(
            f"In train mode other batch mates change the prediction for {percent(wrong[0])} of the samples "
            f"in batches of 2, for {percent(wrong[1])} in batches of 4 and for {percent(wrong[-1])} in "
            f"batches of 32; in eval mode for none."
        ),
        holds=wrong[0] > 0.5 and wrong[1] > 0.25 and wrong[-1] > 0 and max(right) == 0,
        picture=Picture(
            kind="bars",
            title="Predictions that change with the batch mates",
            x="batch size",
            y="changed predictions in %",
            series=(
                Series("wrong", [100 * share for share in wrong], name="train mode"),
                Series("right", [100 * share for share in right], name="eval mode"),
            ),
            categories=tuple(map(str, BATCHES)),
        ),
    )


def _changed(lab: Laboratory, net: Any, samples: Any, batch: int) -> float:
    """The share of predictions that are others in a second order; the model itself is left alone."""
    torch, net = lab.torch, deepcopy(net)
    one, other = torch.empty(2, len(samples), dtype=torch.long)
    with torch.no_grad():
        for predicted in (one, other):
            for chosen in torch.randperm(len(samples)).split(batch):
                predicted[chosen] = net(samples[chosen]).argmax(1)
    return float((one != other).double().mean())
