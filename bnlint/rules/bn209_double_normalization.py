"""BatchNorm right after another normalisation.

What it finds
-------------
BatchNorm whose input was normalised already, by another BatchNorm or by Layer-, Group-, Instance- or
RMSNorm, with nothing in between but dropout, padding, reshapes and the like.

Why it is wrong
---------------
A BatchNorm behind a BatchNorm finds mean and variance as the first one's shift and scale set them, removes
both, and sets its own: the first one's parameters have no effect and the work is done twice. After another
normalisation the second one undoes part of what the first did: InstanceNorm leaves it nothing to do, and
behind LayerNorm and GroupNorm each sample depends on its batch again, which they were chosen to avoid.

Bad
---
    from torch import nn

    block = nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.InstanceNorm2d(16),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    )

Good
----
    from torch import nn

    block = nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    )

How to fix it
-------------
Keep one of the two. If both were meant, a layer and an activation belong between them.

When it is fine
---------------
A normalisation without parameters that only standardises the input is not reported, nor are normalised
branches that are summed or concatenated before the next BatchNorm, nor normalisations of which one is
optional. L2 normalisation (`F.normalize`) scales vectors and is no rival of BatchNorm.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3: https://arxiv.org/abs/1502.03167
- Wu and He, Group Normalization: https://arxiv.org/abs/1803.08494
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.facts import Chain, Facts, Kind, Layer, Op, Use, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

SEVERITY = "info"
ENGINES = "SR"

THROUGH: Final[frozenset[Kind]] = frozenset({"reshape", "dropout", "identity"})
"""What leaves mean and variance of a channel about as they are."""
OTHERS: Final = ("layernorm", "groupnorm", "instancenorm", "rmsnorm")
"""Normalisations that centre or scale as BatchNorm does; those over neighbours and L2 do something else."""


def check(facts: Facts) -> Iterator[Claim]:
    """A BatchNorm that every way reaches from a normalisation with parameters."""
    for use in facts.uses:
        found = [_rival(chain) for chain in use.before]
        first = next(iter(found), None)
        if first is not None and None not in found and use.frozen == "no":
            yield Claim(use.where, _message(use, first), _evidence(first))


def _rival(chain: Chain) -> Op | None:
    """The normalisation at the near end of a chain."""
    for op in source_of(chain, THROUGH):
        match op:
            case Op(kind="batchnorm", layer=Layer() as layer) if layer.value("affine") is True:
                return op
            case Op(kind="norm") if op.name.replace("_", "").lower().startswith(OTHERS):
                return op
    return None


def _message(use: Use, first: Op) -> str:
    if first.kind == "batchnorm":
        why = "the second removes the first one's scale and shift and sets its own"
    else:
        why = "the second undoes part of the first, and ties each sample to its batch"
    return f"{first.name} feeds this {use.norm.cls} with no layer between: {why}; keep one of the two."


def _evidence(first: Op) -> tuple[Step, ...]:
    return (Step(first.where, f"{first.name} is applied here"),)
