"""`eval()` inside the training loop is never undone.

What it finds
-------------
An `eval()` that a pass of the training loop executes, and after which the next pass trains the same model
without a `train()` in between: a `train()` once before the epochs, or once per epoch with evaluations in
the middle of it.

Why it is wrong
---------------
From the first evaluation on, training runs in eval mode. BatchNorm then normalises with running statistics
that stand still (`num_batches_tracked` no longer moves) while the weights below it go on changing, so what
it normalises with fits the activations less with every step, and no gradient flows through the batch
statistics. Dropout is off as well. Nothing fails; the model only ends worse than it could be.

Bad
---
    import torch
    from torch import nn


    def evaluate(net, loader):
        net.eval()
        with torch.no_grad():
            return sum((net(x).argmax(1) == y).sum().item() for x, y in loader)


    def main(train_loader, val_loader):
        net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net.train()
        for epoch in range(10):
            for x, y in train_loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()
            print(evaluate(net, val_loader))

Good
----
    import torch
    from torch import nn


    def evaluate(net, loader):
        net.eval()
        with torch.no_grad():
            return sum((net(x).argmax(1) == y).sum().item() for x, y in loader)


    def main(train_loader, val_loader):
        net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
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
Call `train()` where training begins again: at the top of each epoch, and behind each evaluation in the
middle of one. A helper that evaluates can give back what it found: `was = net.training`, `net.eval()`, ...,
`net.train(was)`.

When it is fine
---------------
Fine-tuning with statistics that are frozen on purpose: then say so in one place, with `eval()` on the
BatchNorm layers after each `train()`, and not by leaving the whole model in eval mode from the second epoch
on.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3.1: https://arxiv.org/abs/1502.03167
- PyTorch, `Module.train`: https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Forward, assumption
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "SW"


def check(facts: Facts) -> Iterator[Claim]:
    """A forward that trains while the `eval()` of an earlier pass is still in force."""
    for forward in facts.forwards:
        match forward:
            case Forward(purpose="training", stuck=Step() as stuck) if "eval" in forward.modes:
                yield from _judge(forward, stuck)


def _judge(forward: Forward, stuck: Step) -> Iterator[Claim]:
    """What stays switched off in the layers that this model is known, or assumed, to have."""
    advice = f"call `{forward.model}.train()` before it trains again"
    match forward:
        case Forward(batchnorm="yes" | "unknown"):
            message = (
                f"`{forward.model}` stays in eval mode after this: its training goes on with BatchNorm's "
                f"running statistics standing still; {advice}."
            )
            yield Claim(stuck.where, message, _evidence(forward)).assuming(assumption(forward))
        case Forward(batchnorm="no", dropout="yes"):
            message = (
                f"`{forward.model}` stays in eval mode after this and trains on without Dropout; {advice}."
            )
            yield Claim(stuck.where, message, _evidence(forward), severity="warning")


def _evidence(forward: Forward) -> tuple[Step, ...]:
    """The way to the forward that trains, and the loop that leads from the `eval()` back to it."""
    trains = Step(forward.where, f"`{forward.model}` trains here, in eval mode from the second pass on")
    loop = () if forward.loop is None else (Step(forward.loop, "this loop comes back to it"),)
    return (*forward.path, trains, *loop)


EPOCHS, STEPS = 10, 10
"""Of training, and how many steps each has."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """Ten epochs, each with an evaluation behind it, with `train()` before all of them or before each."""
    (wrong, counted), (right, counted_right) = (_deviations(lab, again=again) for again in (False, True))
    return Demonstration(
        setting=(
            f"A classifier (Linear, BatchNorm, ReLU, Linear) is trained for {EPOCHS} epochs of {STEPS} "
            "steps, and evaluated after each. Measured is the standard deviation of what BatchNorm has "
            "normalised in training, before scale and shift; it should be 1."
        ),
        columns=("wrong: train() once", "right: train() each epoch"),
        rows=(
            Row("num_batches_tracked in the end", f"{counted}", f"{counted_right}"),
            Row("deviation after the first epoch", f"{wrong[0]:.2f}", f"{right[0]:.2f}"),
            Row("deviation after the last epoch", f"{wrong[-1]:.2f}", f"{right[-1]:.2f}"),
        ),
        claim=(
            f"After the first eval() num_batches_tracked stands still at {counted}, and what BatchNorm "
            f"normalises has a standard deviation of {wrong[-1]:.2f} in the end; with train() in each epoch "
            f"it is {right[-1]:.2f}."
        ),
        holds=(counted, counted_right) == (STEPS, EPOCHS * STEPS)
        and wrong[-1] > 1.2
        and abs(right[-1] - 1) < 0.01,
        picture=Picture(
            kind="lines",
            title="Standard deviation of what BatchNorm has normalised",
            x="epoch",
            y="standard deviation",
            series=(
                Series("wrong", wrong, x=range(1, EPOCHS + 1), name="train() once"),
                Series("right", right, x=range(1, EPOCHS + 1), name="train() each epoch"),
            ),
        ),
    )


def _deviations(lab: Laboratory, *, again: bool) -> tuple[list[float], int]:
    """The deviation after each epoch; how many batches BatchNorm has counted in the end."""
    lab.restart()
    inputs, targets = lab.blobs(640)
    net = lab.classifier()
    deviations = []
    net.train()
    for _ in range(EPOCHS):
        if again:
            net.train()
        lab.train(net, inputs, targets, steps=STEPS, rate=0.5)
        with lab.torch.no_grad():
            normalised = deepcopy(net)[:2](inputs) / net[1].weight
            net.eval()(inputs)
        deviations.append(float(normalised.std(dim=0).mean()))
    return deviations, int(net[1].num_batches_tracked)
