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
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Recomputed
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


MOMENTA = (0.1, 1 - 0.9**0.5)
"""torch's default, and what acts as that where it acts twice."""
SAME, STEPS, SETTLED = 12, 200, 20


def demonstrate(lab: Laboratory) -> Demonstration:
    """BatchNorm in a checkpoint at either momentum, and without a checkpoint."""
    wrong, right = (_shares(lab, momentum) for momentum in MOMENTA)
    plain = _shares(lab, MOMENTA[0], checkpointed=False)[0]
    noise = [_noise(lab, momentum) for momentum in MOMENTA]
    ratio = noise[0] / noise[1]
    halved = f"{MOMENTA[1]:.4f}"
    return Demonstration(
        setting=(
            "Images go through Conv2d, BatchNorm2d and ReLU inside of `checkpoint(...)`, and gradients back. "
            f"The weights stay as they are, so that only the batches move running_mean: the same one {SAME} "
            f"times, to see what share it takes, and then {STEPS} new ones around a true mean of 0."
        ),
        columns=("wrong: momentum=0.1", f"right: momentum={halved}"),
        rows=(
            Row("share of one batch in a step", f"{wrong[0]:.3f}", f"{right[0]:.3f}"),
            Row("without a checkpoint, at 0.1", f"{plain:.3f}", f"{plain:.3f}"),
            Row("jitter of running_mean", *(f"{value:.3f}" for value in noise)),
        ),
        claim=(
            f"In a checkpoint momentum 0.1 acts as {wrong[0]:.2f}, and running_mean jitters {ratio:.1f} "
            f"times as much; {halved} acts as {right[0]:.2f} there."
        ),
        holds=(
            abs(wrong[0] - 0.19) < 1e-6
            and abs(right[0] - 0.1) < 1e-6
            and abs(plain - 0.1) < 1e-6
            and 1.2 < ratio < 1.6
        ),
        picture=Picture(
            kind="lines",
            title="running_mean on its way to the mean of the batches",
            x="steps",
            y="way covered",
            series=(
                Series("wrong", [0, *wrong], name="momentum=0.1"),
                Series("right", [0, *right], name=f"momentum={halved}"),
            ),
        ),
    )


def _shares(lab: Laboratory, momentum: float, *, checkpointed: bool = True) -> list[float]:
    """How much of running_mean is that of the batch, by how often it was seen."""
    lab.restart()
    block, images = _block(lab, momentum), lab.images(16)
    target = block[0](images).mean((0, 2, 3)).detach()
    means = _running_means(lab, block, [images] * SAME, checkpointed=checkpointed)
    return [float((mean / target).mean()) for mean in means]


def _noise(lab: Laboratory, momentum: float) -> float:
    """How far running_mean is from 0, on average."""
    lab.restart()
    block = _block(lab, momentum)
    means = _running_means(lab, block, (lab.images(8, 4, spread=3.0) for _ in range(STEPS)))
    return float(lab.torch.stack(means[SETTLED:]).square().mean().sqrt())


def _block(lab: Laboratory, momentum: float) -> Any:
    nn = lab.nn
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), lab.BatchNorm2d(8, momentum=momentum), nn.ReLU())


def _running_means(lab: Laboratory, block: Any, batches: Any, *, checkpointed: bool = True) -> list[Any]:
    """running_mean after each step: a batch forward, and gradients back."""
    checkpoint, means = lab.torch.utils.checkpoint.checkpoint, []
    for images in batches:
        maps = checkpoint(block, images, use_reentrant=False) if checkpointed else block(images)
        maps.square().mean().backward()
        means.append(block[1].running_mean.clone())
    return means
