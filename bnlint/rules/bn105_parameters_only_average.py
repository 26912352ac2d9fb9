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
from typing import Final

from bnlint.facts import Average, Facts
from bnlint.rule import Claim

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
