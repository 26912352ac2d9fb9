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
class changes for 66 % of the samples at batch size 2, for 47 % at 4 and for 6 % at 32. Each such forward
also pulls the running statistics towards the evaluation data: k batches shifted by d move `running_mean` by
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

from bnlint.facts import Facts, Forward, assumption
from bnlint.rule import Claim

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
