"""An average of a model over time leaves the running statistics behind.

What it finds
-------------
A moving average (EMA, SWA, a target network) that goes over `parameters()` alone, of a model with BatchNorm,
whose average is evaluated in eval mode: no copy of the buffers beside, no `update_bn`, no `use_buffers`.

Why it is wrong
---------------
The running mean and variance are buffers, not parameters. The averaged weights grow away from those that the
copy began with, while its statistics stay what they were when it was made: (0, 1) for a copy of a new model.
In eval mode BatchNorm then normalises with statistics of another network, and the average, which is to be
better than the model, is worse or useless. A copy that runs in train mode keeps statistics of its own.

Bad
---
    import copy

    import torch
    from torch import nn


    def update(average, net, decay=0.99):
        for ours, theirs in zip(average.parameters(), net.parameters()):
            ours.data.mul_(decay).add_(theirs.data, alpha=1 - decay)


    def main(train_loader, val_loader):
        net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
        average = copy.deepcopy(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            update(average, net)
        average.eval()
        with torch.no_grad():
            print([average(x).argmax(1) for x, _ in val_loader])

Good
----
    import copy

    import torch
    from torch import nn


    def update(average, net, decay=0.99):
        for ours, theirs in zip(average.parameters(), net.parameters()):
            ours.data.mul_(decay).add_(theirs.data, alpha=1 - decay)
        for ours, theirs in zip(average.buffers(), net.buffers()):
            ours.data.copy_(theirs.data)


    def main(train_loader, val_loader):
        net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
        average = copy.deepcopy(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            update(average, net)
        average.eval()
        with torch.no_grad():
            print([average(x).argmax(1) for x, _ in val_loader])

How to fix it
-------------
Copy the buffers beside the average of the parameters, or average them as well (`AveragedModel(net,
use_buffers=True)`). After SWA, whose weights are farther apart, compute them anew from training data:
`torch.optim.swa_utils.update_bn(loader, average)`.

When it is fine
---------------
A teacher that runs in train mode in each step (mean teacher, BYOL), and networks without BatchNorm.

References
----------
- PyTorch, weight averaging: https://pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema
- Izmailov et al., Averaging Weights Leads to Wider Optima: https://arxiv.org/abs/1803.05407
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import Facts
from bnlint.rule import Claim

SEVERITY = "error"
ENGINES = "SW"


def check(facts: Facts) -> Iterator[Claim]:
    """An average of parameters that is evaluated with the statistics that it began with."""
    for average in facts.averages:
        if average.batchnorm == "yes":
            message = (
                f"The average `{average.model}` takes parameters alone: BatchNorm's running statistics stay "
                f"as they were when it was made; copy the buffers too, or call `update_bn` before evaluation."
            )
            yield Claim(average.where, message, (*average.path, average.evaluated))
