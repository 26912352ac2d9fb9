"""Activation checkpointing runs BatchNorm twice a step, and its running statistics move twice.

What it finds
-------------
`torch.utils.checkpoint.checkpoint` or `checkpoint_sequential` around a part of a model that contains
BatchNorm in train mode, used whenever the model trains: not behind an option that is off by default.

Why it is wrong
---------------
A checkpoint keeps no activations: it runs its part again in the backward pass. The outputs are the same, but
each run in train mode moves `running_mean` and `running_var`, by the same batch. A momentum of 0.1 acts as
1 - 0.9² = 0.19: the window of the averages is half as long, and what eval uses is noisier. The layers outside
the checkpoint keep theirs, so one network averages with two momenta. `num_batches_tracked` counts double.

Bad
---
    from torch import nn
    from torch.utils.checkpoint import checkpoint


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
            self.head = nn.Conv2d(8, 2, 1)

        def forward(self, images):
            return self.head(checkpoint(self.block, images, use_reentrant=False))

Good
----
    from torch import nn
    from torch.utils.checkpoint import checkpoint


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            momentum = 1 - 0.9**0.5  # twice a step acts as 0.1
            norm = nn.BatchNorm2d(8, momentum=momentum)
            self.block = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), norm, nn.ReLU())
            self.head = nn.Conv2d(8, 2, 1)

        def forward(self, images):
            return self.head(checkpoint(self.block, images, use_reentrant=False))

How to fix it
-------------
Give the BatchNorm layers in checkpointed parts the momentum 1 - sqrt(1 - m), which is 0.0513 for 0.1; or
leave BatchNorm outside of the checkpoint; or use GroupNorm, which keeps no statistics.

When it is fine
---------------
Frozen BatchNorm, layers whose momentum is halved already, a checkpoint behind an option that nobody sets, and
statistics that are computed anew before the model is evaluated (`update_bn`).

References
----------
- torch.utils.checkpoint: https://docs.pytorch.org/docs/stable/checkpoint.html
- Chen et al., Training Deep Nets with Sublinear Memory Cost: https://arxiv.org/abs/1604.06174
- Bulò et al., In-Place Activated BatchNorm, on checkpointing BatchNorm: https://arxiv.org/abs/1712.02616
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.facts import Facts, Recomputed
from bnlint.rule import Claim

SEVERITY = "warning"
ENGINES = "SW"

MOMENTUM: Final = 0.1
"""What torch takes where no momentum is given."""
HALVED: Final = 0.052
"""A momentum up to here acts as 0.1, or less, where it acts twice."""


def check(facts: Facts) -> Iterator[Claim]:
    """A checkpoint that is always used, around BatchNorm that trains."""
    for found in facts.recomputed:
        match found:
            case Recomputed(batchnorm="yes", frozen="no", certain=True):
                yield from _judge(found)


def _judge(found: Recomputed) -> Iterator[Claim]:
    momentum = MOMENTUM if found.momentum is None else found.momentum.value
    if not isinstance(momentum, int | float) or not HALVED < momentum < 1:
        return
    acts = f"momentum {momentum:g} acts as {1 - (1 - momentum) ** 2:.2g}"
    yield Claim(
        found.where,
        f"`{found.call}` runs BatchNorm again in the backward pass, and its statistics move twice a step, "
        f"{acts}; make the momentum {1 - (1 - momentum) ** 0.5:.2g}, or leave BatchNorm outside.",
        found.path,
    )
