"""A bias directly before BatchNorm does nothing.

What it finds
-------------
A Linear or convolution with a bias whose output goes straight into BatchNorm.

Why it is wrong
---------------
BatchNorm subtracts the mean over the batch, and the bias is part of that mean: it cancels, whatever its
value. Its gradient is zero up to rounding, it costs memory and time, and weight decay or a careful
initialisation of it has no effect. The shift is BatchNorm's own `bias`, behind the normalisation.

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
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Chain, Facts, Kind, Layer, Op, Use, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


ZERO = 1e-10
"""What rounding leaves of zero in double precision is smaller."""
BIASES = tuple(step / 4 for step in range(17))


def demonstrate(lab: Laboratory) -> Demonstration:
    """The bias before BatchNorm beside BatchNorm's own: gradients, what they move, and the loss."""
    inputs, targets = lab.blobs(128, features=3 * 6 * 6)
    inputs = inputs.reshape(128, 3, 6, 6)
    before, without = (_network(lab, bias=bias) for bias in (True, False))
    shifts = [before[0].bias, without[1].bias]
    loss = lab.functional.cross_entropy(before(inputs), targets, reduction="sum")
    wrong = lab.torch.autograd.grad(loss, [before[0].weight, before[0].bias])
    loss = lab.functional.cross_entropy(without(inputs), targets, reduction="sum")
    right = lab.torch.autograd.grad(loss, [without[0].weight, without[1].bias])
    weights, biases = zip(*([float(part.norm()) for part in parts] for parts in (wrong, right)), strict=True)
    moved = [_moved(net, shift, inputs) for net, shift in zip((before, without), shifts, strict=True)]
    losses = [_learned(lab, inputs, targets, bias=bias) for bias in (True, False)]
    return Demonstration(
        setting=(
            "A convolution with a bias goes into BatchNorm, and one without, with the same weights. Measured "
            "are gradients of the loss, in double precision, what the bias moves, and the loss after 30 "
            "steps of training: of the bias before, and of BatchNorm's own where there is none before."
        ),
        columns=("wrong: bias before", "right: BatchNorm's own"),
        rows=(
            Row("gradient of the bias (norm)", *map(_size, biases)),
            Row("gradient of the weight (norm)", *map(_size, weights)),
            Row("output moves, bias raised by 4", *(_size(line[-1] - line[0]) for line in moved)),
            Row("loss after 30 steps", *(f"{loss:.4f}" for loss in losses)),
        ),
        claim=(
            f"The bias before BatchNorm has a gradient of zero up to rounding ({_size(biases[0])}, beside "
            f"{weights[0]:.0f} of the weight), moves the output by nothing, and without it the loss is the "
            f"same; BatchNorm's own bias has a gradient of {biases[1]:.0f}."
        ),
        holds=(
            biases[0] < ZERO < 1 < min(weights)
            and biases[1] > 1
            and max(moved[0]) - min(moved[0]) < ZERO
            and abs(moved[1][-1] - moved[1][0] - BIASES[-1]) < ZERO
            and abs(losses[0] - losses[1]) < 1e-8
        ),
        picture=Picture(
            kind="lines",
            title="What a bias does to BatchNorm's output",
            x="value of the bias",
            y="mean output",
            series=(
                Series("wrong", moved[0], BIASES, "bias before"),
                Series("right", moved[1], BIASES, "BatchNorm's own"),
            ),
        ),
    )


def _network(lab: Laboratory, *, bias: bool) -> Any:
    """Convolution, BatchNorm, ReLU and a Linear; the same weights with a bias and without."""
    lab.restart()
    nn = lab.nn
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        lab.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(288, 3),
    )
    if bias:
        net[0].bias = nn.Parameter(lab.torch.zeros(8))
    return net


def _moved(net: Any, shift: Any, inputs: Any) -> list[float]:
    """The mean of what BatchNorm puts out, for each value of a bias."""
    means = []
    for value in BIASES:
        shift.data.fill_(value)
        means.append(float(net[:2](inputs).mean()))
    return means


def _learned(lab: Laboratory, inputs: Any, targets: Any, *, bias: bool) -> float:
    return lab.train(_network(lab, bias=bias), inputs, targets, steps=30)[-1]


def _size(value: float) -> str:
    """Three digits; of zero, what it certainly stays below."""
    return f"below {ZERO:.0e}" if abs(value) < ZERO else f"{value:.3g}"
