"""A bias directly before BatchNorm does nothing.

What it finds
-------------
A Linear or convolution with a bias whose output goes straight into BatchNorm.

Why it is wrong
---------------
BatchNorm subtracts the mean over the batch, and the bias is part of that mean: it cancels, whatever its
value. Its gradient is zero up to rounding (9e-6 beside a weight gradient of 38), it costs memory and time,
and weight decay or a careful initialisation of it has no effect. The shift is BatchNorm's own `bias`,
behind the normalisation.

Bad
---
    from torch import nn

    block = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    )

Good
----
    from torch import nn

    block = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    )

How to fix it
-------------
Pass `bias=False` to the layer; with an optional BatchNorm, `bias=not use_batchnorm`. Old checkpoints hold
the bias: fold it into `running_mean` (subtract it there) and drop its key.

When it is fine
---------------
It is harmless. Where BatchNorm is frozen, or gets fused into the layer, the bias counts, and pretrained
weights may require it.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3.2: https://arxiv.org/abs/1502.03167
- PyTorch, performance tuning: https://pytorch.org/tutorials/recipes/recipes/tuning_guide.html
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Final

from bnlint.facts import Chain, Facts, Kind, Layer, Op, Use, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

SEVERITY = "info"
ENGINES = "SR"

DIRECT: Final[frozenset[Kind]] = frozenset({"reshape", "identity"})
"""What may stand between: it leaves every value as it is. Pooling, dropout and padding do not."""


def check(facts: Facts) -> Iterator[Claim]:
    """A bias that a BatchNorm with its own shift takes away again."""
    for use in facts.uses:
        if use.certain and use.frozen == "no" and use.norm.value("affine") is True:
            for chain in use.before:
                yield from _judge(use, chain)


def _judge(use: Use, chain: Chain) -> Iterator[Claim]:
    for source in source_of(chain, DIRECT):
        match source:
            case Op(kind="conv" | "linear", layer=Layer() as layer) if layer.value("bias") is True:
                if _same_channels(chain, layer, use.norm):
                    evidence = (Step(use.where, f"{use.norm.cls} subtracts the mean, and the bias with it"),)
                    yield Claim(layer.where, _message(layer, use.norm), evidence)


def _message(layer: Layer, norm: Layer) -> str:
    return f"The bias of this {layer.cls} is cancelled by the {norm.cls} behind it: pass `bias=False`."


def _same_channels(chain: Chain, layer: Layer, norm: Layer) -> bool:
    """Whether each channel of `norm` holds one channel of `layer`, and so one value of its bias.

    With nothing between them it does. A reshape may split or mix the channels (Linear, view,
    BatchNorm2d): behind one, their numbers must be known to agree.
    """
    made = layer.value("out_channels" if layer.kind == "conv" else "out_features")
    arrives = norm.value("num_features")
    moved = [op.name.lower() for op in takewhile(lambda op: op.kind in DIRECT, chain) if op.kind == "reshape"]
    match made, arrives:
        case int(), int():
            return made == arrives and not any("pad" in name for name in moved)
    return not moved
