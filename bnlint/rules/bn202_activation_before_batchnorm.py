"""An activation feeds BatchNorm.

What it finds
-------------
BatchNorm right behind an activation (dropout, pooling, flatten and the like may stand between), where the
activation itself follows a layer that was not normalised: Conv -> ReLU -> BatchNorm instead of Conv ->
BatchNorm -> ReLU.

Why it is wrong
---------------
The paper normalises what enters the nonlinearity, so that it works around its bend whatever the layers
below do. Behind a ReLU the distribution is cut off at zero: of N(0, 1) the mean is 0.40, and half of the
units sit at one value, -0.68 after BatchNorm. A saturating activation has lost what BatchNorm should have
kept in range. Practice is split: CaffeNet on ImageNet reached 0.499 with BatchNorm after the activation and
0.474 before it, GoogLeNet 0.596 and 0.607. So the point is less the accuracy than to decide: an order mixed
inside one network is a slip.

Bad
---
    from torch import nn


    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.conv = nn.Conv2d(channels, channels, 3, padding=1)
            self.bn = nn.BatchNorm2d(channels)
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.bn(self.relu(self.conv(x)))

Good
----
    from torch import nn


    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn = nn.BatchNorm2d(channels)
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.bn(self.conv(x)))

How to fix it
-------------
Swap the two, and drop the bias of the layer before. Weights that were trained in the old order do not fit
the new one: train again, or keep the order for old checkpoints.

When it is fine
---------------
A network that is meant so, all through: then ignore the rule in the settings. Pre-activation networks
(BatchNorm -> ReLU -> Conv), sums and concatenations of activations, and a BatchNorm behind an activation
that was itself normalised are not reported.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3.2: https://arxiv.org/abs/1502.03167
- He et al., Identity Mappings (pre-activation): https://arxiv.org/abs/1603.05027
- Mishkin et al., Systematic evaluation of CNN advances on the ImageNet: https://arxiv.org/abs/1606.02228
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Chain, Facts, Kind, Op, Use, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "SR"

SETTLED: Final[frozenset[Kind]] = frozenset({"batchnorm", "norm", "add", "concat", "multiply"})
"""What an activation may follow so that the BatchNorm behind it starts a new block."""
SATURATING: Final = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh", "logsigmoid", "softsign"})


def check(facts: Facts) -> Iterator[Claim]:
    """A BatchNorm that one way at least reaches straight from an activation."""
    for use in facts.uses:
        for chain in use.before:
            yield from _judge(use, chain)


def _judge(use: Use, chain: Chain) -> Iterator[Claim]:
    """The claim about one way, if an activation stands at its near end and opens no new block."""
    for activation in source_of(chain):
        if activation.kind != "activation":
            return
        rest = chain[chain.index(activation) + 1 :]
        if all(op.kind not in SETTLED for op in source_of(rest)):
            yield Claim(use.where, _message(use, activation, rest), _evidence(activation, rest))


def _message(use: Use, activation: Op, rest: Chain) -> str:
    feeds = f"{activation.name} feeds this {use.norm.cls}"
    if _last_word(activation) in SATURATING:
        feeds += ", which comes too late to keep it out of saturation"
    if _other_order(rest):
        return (
            f"{feeds}, while layers before it have Conv/Linear -> BatchNorm -> activation. Practice is split "
            f"about the order, but one network should keep to one: swap the two."
        )
    return (
        f"{feeds}: the paper, and most networks, put it before the activation (Conv/Linear -> BatchNorm -> "
        f"activation). Practice is split, so swap the two or keep this order on purpose."
    )


def _evidence(activation: Op, rest: Chain) -> tuple[Step, ...]:
    usual = [Step(op.where, f"{op.name} stands behind a BatchNorm here") for op in _other_order(rest)]
    return (Step(activation.where, f"{activation.name} is applied here"), *usual[:1])


def _other_order(chain: Chain) -> list[Op]:
    """The activations of a chain that follow a BatchNorm."""
    activations = ((op, chain[index + 1 :]) for index, op in enumerate(chain) if op.kind == "activation")
    return [op for op, rest in activations if any(source.kind == "batchnorm" for source in source_of(rest))]


def _last_word(op: Op) -> str:
    """The bare name of an activation: `torch.tanh_` and `nn.Tanh` are tanh."""
    return op.name.rpartition(".")[2].strip("_").lower()


DRIFTS = tuple(step / 4 for step in range(-12, 13))
"""Means of what the layer before makes, in units of its deviation."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """What the order does to the numbers that pass; which one trains better is another question."""
    torch = lab.torch
    made = torch.randn(32, 16, 8, 8)
    entering = [float(made.relu().mean()), float(made.mean())]
    after = lab.BatchNorm2d(16)(made.relu()).detach()
    lowest = after.amin((0, 2, 3), keepdim=True)
    level, stuck = float(lowest.mean()), float((after == lowest).double().mean())
    off = float((lab.BatchNorm2d(16)(made) <= 0).double().mean())
    wrong = [float((made + drift > 0).double().mean()) for drift in DRIFTS]
    right = [float((lab.BatchNorm2d(16)(made + drift) > 0).double().mean()) for drift in DRIFTS]
    low, high = DRIFTS.index(-2), DRIFTS.index(2)
    return Demonstration(
        setting=(
            "What a convolution makes is taken to be N(0, 1), later N(d, 1) where the layers below have "
            "drifted by d. It passes ReLU and BatchNorm2d in either order, in train mode. A unit is active "
            "where ReLU lets it through."
        ),
        columns=("ReLU -> BatchNorm", "BatchNorm -> ReLU"),
        rows=(
            Row("mean of what enters BatchNorm", f"{entering[0]:.2f}", f"{round(entering[1], 2) + 0:.2f}"),
            Row("outputs that share one value", f"{percent(stuck)} at {level:.2f}", f"{percent(off)} at 0"),
            Row("active units, drift -2", percent(wrong[low]), percent(right[low])),
            Row("active units, drift 0", percent(wrong[12]), percent(right[12])),
            Row("active units, drift 2", percent(wrong[high]), percent(right[high])),
        ),
        claim=(
            f"Behind ReLU, BatchNorm gets a mean of {entering[0]:.2f}, puts {percent(stuck)} of its outputs "
            f"at {level:.2f}, and a drift from -2 to 2 takes the active units from {percent(wrong[low])} to "
            f"{percent(wrong[high])}; before ReLU it keeps them at {percent(right[low])}. That is what the "
            f"order does, not which one learns better."
        ),
        holds=(
            0.38 < entering[0] < 0.42
            and abs(entering[1]) < 0.02
            and 0.48 < stuck < 0.52
            and -0.71 < level < -0.65
            and wrong[low] < 0.04
            and wrong[high] > 0.96
            and all(0.45 < share < 0.55 for share in right)
        ),
        picture=Picture(
            kind="lines",
            title="Units that ReLU lets through, as the layers below drift",
            x="mean of what the convolution makes, in deviations",
            y="active in %",
            series=(
                Series("wrong", [100 * share for share in wrong], DRIFTS, "ReLU -> BatchNorm"),
                Series("right", [100 * share for share in right], DRIFTS, "BatchNorm -> ReLU"),
            ),
        ),
    )
