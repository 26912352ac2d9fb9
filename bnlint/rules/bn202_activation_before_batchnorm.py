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
from typing import Final

from bnlint.facts import Chain, Facts, Kind, Op, Use, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

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
