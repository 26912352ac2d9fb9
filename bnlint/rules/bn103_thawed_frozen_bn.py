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
statistics towards it: over 50 batches of N(3, 2^2) its mean is off by 3.0 and its variance goes from 0.99 to
3.83. The weights behind it, which were to stay as they are, no longer fit what they are fed.

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

from bnlint.facts import Facts, Thaw
from bnlint.rule import Claim

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
