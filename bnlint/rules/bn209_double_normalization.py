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
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Chain, Facts, Kind, Layer, Op, Use, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


def demonstrate(lab: Laboratory) -> Demonstration:
    """What BatchNorm finds behind another normalisation, what it undoes, and what it brings back."""
    torch, nn = lab.torch, lab.nn
    inputs = torch.randn(32, 3, 10, 10) + torch.randn(32, 3, 1, 1) + 1
    made = nn.Conv2d(3, 16, 3, bias=False)(inputs).detach()
    arrived = [nn.InstanceNorm2d(16)(made), made]
    changes = [float((lab.BatchNorm2d(16)(x) - x).detach().square().mean().sqrt()) for x in arrived]
    doubled = [_deviation(lab, made, again=again) for again in (True, False)]
    tied = [_moved_by_mates(lab, made, again=again) for again in (True, False)]
    means, deviations = zip(
        *((x.mean((0, 2, 3)).tolist(), x.std((0, 2, 3)).tolist()) for x in arrived), strict=True
    )
    return Demonstration(
        setting=(
            "A convolution makes 16 channels of 32 pictures. Behind it stand two normalisations "
            "(InstanceNorm, BatchNorm or GroupNorm, and then BatchNorm2d) or one: BatchNorm2d, and in the "
            "last row GroupNorm."
        ),
        columns=("wrong: two", "right: one"),
        rows=(
            Row("InstanceNorm first: BatchNorm changes its input by", *(f"{one:.3f}" for one in changes)),
            Row("BatchNorm first, its scale tripled: output times", *(f"{one:.2f}" for one in doubled)),
            Row("GroupNorm first: other batch mates move a picture by", *(f"{one:.3f}" for one in tied)),
        ),
        claim=(
            f"Behind InstanceNorm, BatchNorm changes its input by {changes[0]:.2f}, behind the convolution "
            f"by {changes[1]:.2f}; a first BatchNorm's scale of 3 makes the output of a second "
            f"{doubled[0]:.2f} times as large; behind GroupNorm a picture moves by {tied[0]:.2f} with its "
            f"batch mates."
        ),
        holds=(
            changes[0] < 1e-3
            and changes[1] > 0.1
            and abs(doubled[0] - 1) < 1e-3
            and abs(doubled[1] - 3) < 1e-9
            and tied[0] > 0.01
            and tied[1] == 0
        ),
        picture=Picture(
            kind="scatter",
            title="What BatchNorm finds in the 16 channels",
            x="mean of the channel",
            y="deviation",
            series=(
                Series("wrong", deviations[0], means[0], "behind InstanceNorm"),
                Series("right", deviations[1], means[1], "behind Conv2d"),
            ),
        ),
    )


def _deviation(lab: Laboratory, made: Any, *, again: bool) -> float:
    """How many times as large a first BatchNorm's scale of 3 makes the output; `again`: of a second one."""
    first, second = lab.BatchNorm2d(16), lab.BatchNorm2d(16) if again else lab.nn.Identity()
    before = second(first(made)).std()
    first.weight.data.fill_(3)
    return float(second(first(made)).std() / before)


def _moved_by_mates(lab: Laboratory, made: Any, *, again: bool) -> float:
    """How much the first picture's output differs between two batches that have it; `again`: by BatchNorm."""
    norms = lab.nn.Sequential(lab.nn.GroupNorm(4, 16), *([lab.BatchNorm2d(16)] if again else []))
    one, other = norms(made[:16])[0], norms(lab.torch.cat([made[:1], made[17:]]))[0]
    return float((one - other).detach().square().mean().sqrt())
