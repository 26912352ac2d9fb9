"""BatchNorm tracks no running statistics, and the model is evaluated.

What it finds
-------------
BatchNorm built with `track_running_stats=False` in a model that is evaluated in eval mode. Also the flag
that is set to False on a finished layer of a model that trains on.

Why it is wrong
---------------
Without running statistics eval mode normalises by the batch that it is given. What the model answers then
depends on the other samples of the batch, on its size and on the order of the data: for one sample, other
batch mates change the predicted class for 66 % of the samples at batch 2. A single value per channel
raises "Expected more than 1 value per channel".

Set on a finished layer the flag does something else: training stops to update the buffers, but eval still
normalises by them. A layer that was flipped before it was trained evaluates with mean 0 and variance 1.

Bad
---
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    net = nn.Sequential(
        nn.Linear(8, 16, bias=False),
        nn.BatchNorm1d(16, track_running_stats=False),
        nn.ReLU(),
        nn.Linear(16, 3),
    )


    @torch.no_grad()
    def evaluate(test_loader):
        net.eval()
        return sum(cross_entropy(net(rows), labels) for rows, labels in test_loader)

Good
----
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    net = nn.Sequential(
        nn.Linear(8, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 3),
    )


    @torch.no_grad()
    def evaluate(test_loader):
        net.eval()
        return sum(cross_entropy(net(rows), labels) for rows, labels in test_loader)

How to fix it
-------------
Leave `track_running_stats` at True. To normalise each sample by itself use GroupNorm or InstanceNorm, which
do the same in both modes; to freeze a layer call `eval()` on it.

When it is fine
---------------
Style transfer, generators, few-shot learning and adaptation at test time (TENT), which want the statistics
of the batch; a model that only trains. Whoever sets `running_mean` to None as well asks for them.

References
----------
- PyTorch, `BatchNorm2d`: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
- Wang et al., TENT: https://arxiv.org/abs/2006.10726
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import Facts, Untracked
from bnlint.rule import Claim

SEVERITY = "warning"
ENGINES = "SR"


def check(facts: Facts) -> Iterator[Claim]:
    """A model that is evaluated with the statistics of the batch, or with those of long ago."""
    for untracked in facts.untracked:
        match untracked:
            case Untracked(how="built", meant="no"):
                yield Claim(untracked.where, _by_the_batch(untracked), untracked.path)
            case Untracked(how="flipped", trained="yes", meant="no"):
                yield Claim(untracked.where, _by_old_ones(untracked), untracked.path)


def _by_the_batch(untracked: Untracked) -> str:
    return (
        f"`track_running_stats=False` makes BatchNorm normalise by the batch in eval mode too: what "
        f"`{untracked.model}` answers for a sample depends on the others; leave the statistics on."
    )


def _by_old_ones(untracked: Untracked) -> str:
    return (
        f"`track_running_stats = False` on a finished layer only ends the updates: eval still normalises "
        f"`{untracked.model}` by the old `running_mean`, which training leaves behind; leave it True."
    )
