"""A frozen BatchNorm trains in train mode, and its statistics drift.

What it finds
-------------
A model that trains in train mode though its BatchNorm was frozen: its parameters get no gradients, or it
was put into eval mode once and the `train()` of the whole model has undone that, or the method that freezes
it is hidden behind an attribute of the same name.

Why it is wrong
---------------
The running statistics are no parameters: `requires_grad = False` does not stop them, and `train()` switches
every module below, frozen or not. A frozen BatchNorm in train mode normalises with each batch and pulls its
statistics towards it: 50 batches of N(3, 2^2) take a mean of 0 to 3.0 and a variance of 1 to 4.0. The
weights behind it, which were to stay as they are, no longer fit what they are fed.

Bad
---
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU())
            self.head = nn.Linear(16, 10)

        def forward(self, x):
            return self.head(self.body(x).mean((2, 3)))


    def main(loader):
        net = Net()
        for parameter in net.body.parameters():
            parameter.requires_grad = False
        optimizer = torch.optim.SGD(net.head.parameters(), lr=0.1)
        for epoch in range(10):
            net.train()
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()

Good
----
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU())
            self.head = nn.Linear(16, 10)

        def forward(self, x):
            return self.head(self.body(x).mean((2, 3)))


    def main(loader):
        net = Net()
        for parameter in net.body.parameters():
            parameter.requires_grad = False
        optimizer = torch.optim.SGD(net.head.parameters(), lr=0.1)
        for epoch in range(10):
            net.train()
            net.body.eval()
            for x, y in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x), y).backward()
                optimizer.step()

How to fix it
-------------
Put what is frozen into eval mode behind each `train()`, best in a `train` method of the module: it calls
`super().train(mode)`, then `eval()` on the frozen part, and returns self.

When it is fine
---------------
Letting the statistics adapt to new data while the weights stay (AdaBN).

References
----------
- PyTorch, `requires_grad` and evaluation mode: https://pytorch.org/docs/stable/notes/autograd.html#locally-disabling-gradient-computation
- PyTorch, `Module.train`: https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Thaw
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "SRW"


def check(facts: Facts) -> Iterator[Claim]:
    """A frozen BatchNorm that trains in train mode."""
    for thaw in facts.thaws:
        if thaw.batchnorm == "yes":
            yield Claim(thaw.where, _message(thaw), (thaw.since, *thaw.path))


def _message(thaw: Thaw) -> str:
    """What happens to the statistics, and what to do."""
    match thaw.frozen:
        case "eval":
            why = f"`{thaw.model}.train()` undoes the `eval()` of BatchNorm that was to stay frozen"
            advice = "call that `eval()` behind each `train()`"
        case "parameters":
            why = f"BatchNorm in `{thaw.model}` has no trainable parameters but trains in train mode"
            advice = "call `eval()` on what is frozen behind each `train()`"
        case "hidden":
            why = f"BatchNorm in `{thaw.model}` is never frozen: an attribute hides the method that does it"
            advice = "call one of them something else, and the method behind each `train()`"
    return f"{why}, so its running statistics drift; {advice}."


STEPS = 50


def demonstrate(lab: Laboratory) -> Demonstration:
    """A head is trained on new data, over a body that is frozen with or without `eval()`."""
    wrong, right = (_fine_tuned(lab, thawed=thawed) for thawed in (True, False))
    return Demonstration(
        setting=(
            "A classifier has learned ten classes. Its Linear and its BatchNorm are frozen by requires_grad "
            f"= False, and a new head is trained in {STEPS} steps on data that are shifted by 3 and twice as "
            "wide. Then the old head is put back, and the old data are predicted again."
        ),
        columns=("wrong: train() of all", "right: eval() of the frozen"),
        rows=(
            Row("running_mean moves by, in old deviations", f"{wrong.moved:.2f}", f"{right.moved:.2f}"),
            Row("running_var is multiplied by", f"{wrong.ratio:.2f}", f"{right.ratio:.2f}"),
            Row("old data that are right, before", percent(wrong.before), percent(right.before)),
            Row("old data that are right, afterwards", percent(wrong.after), percent(right.after)),
        ),
        claim=(
            f"In {STEPS} steps the running mean of the frozen BatchNorm moves by {wrong.moved:.1f} of its "
            f"standard deviations, and {percent(wrong.after)} of the old data are right in place of "
            f"{percent(wrong.before)}; in eval mode nothing changes."
        ),
        holds=(
            wrong.moved > 0.5
            and wrong.ratio > 2
            and wrong.after < wrong.before - 0.1
            and (right.moved, right.ratio) == (0, 1)
            and right.after == right.before
        ),
        picture=Picture(
            kind="lines",
            title="running_mean of one frozen channel",
            x="step",
            y="running_mean",
            series=(
                Series("wrong", wrong.means, name="train() of all"),
                Series("right", right.means, name="eval() of the frozen"),
            ),
        ),
    )


@dataclass(frozen=True)
class _Tuned:
    """What fine-tuning did to the frozen statistics, and to what is made of them."""

    moved: float
    ratio: float
    before: float
    after: float
    means: list[float]


def _fine_tuned(lab: Laboratory, *, thawed: bool) -> _Tuned:
    lab.restart()
    inputs, targets = lab.blobs(600, classes=10, spread=0.4)
    net = lab.classifier(classes=10)
    lab.train(net, inputs, targets)
    norm, old_head, before = net[1], net[3], lab.accuracy(net.eval(), inputs, targets)
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    for parameter in net[:3].parameters():
        parameter.requires_grad = False
    net[3] = lab.nn.Linear(16, 10)
    means = [float(mean[0])]
    for _ in range(STEPS):
        net.train()
        if not thawed:
            net[:3].eval()
        lab.train(net, 3 + 2 * inputs, targets, steps=1)
        means.append(float(norm.running_mean[0]))
    net[3] = old_head
    moved = (norm.running_mean - mean).abs() / var.sqrt()
    ratio = norm.running_var / var
    return _Tuned(
        float(moved.mean()), float(ratio.mean()), before, lab.accuracy(net.eval(), inputs, targets), means
    )
