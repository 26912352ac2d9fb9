"""The running statistics are far from the data that the model is evaluated on.

What it finds
-------------
A model in eval mode whose layers, given the loader's batches, are fed by values that their running
statistics do not describe. Measured is how large the normalised values are, as the root of the mean square
of a channel: 1 for data like those that the statistics were collected on, and also about 1 for a part of
them, such as one class.

Why it is wrong
---------------
In eval mode BatchNorm subtracts `running_mean` and divides by the root of `running_var`. Where these are of
other data, what comes out has neither mean 0 nor deviation 1, and the layers behind were never trained on
that. It happens with inputs that are scaled or normalised otherwise than in training (0 to 255 in place of 0
to 1), with another domain, with statistics that stopped moving while the weights went on (a momentum near
0), and after training on batches that were sorted by class.

Bad
---
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, bias=False)
            self.bn = nn.BatchNorm2d(16)
            self.head = nn.Linear(16, 2)

        def forward(self, x):
            return self.head(self.bn(self.conv(x)).relu().mean((2, 3)))


    def model():
        torch.manual_seed(0)
        net = Net()
        for _ in range(50):
            net(torch.rand(32, 3, 8, 8))
        return net.eval()


    def loader():
        return [torch.rand(32, 3, 8, 8) * 255 for _ in range(2)]


    STAGE = "eval"

Good
----
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, bias=False)
            self.bn = nn.BatchNorm2d(16)
            self.head = nn.Linear(16, 2)

        def forward(self, x):
            return self.head(self.bn(self.conv(x)).relu().mean((2, 3)))


    def model():
        torch.manual_seed(0)
        net = Net()
        for _ in range(50):
            net(torch.rand(32, 3, 8, 8))
        return net.eval()


    def loader():
        return [torch.rand(32, 3, 8, 8) for _ in range(2)]


    STAGE = "eval"

How to fix it
-------------
Give the model inputs that are prepared as in training. Where the data really are others, collect the
statistics anew on them (`torch.optim.swa_utils.update_bn`), or train on shuffled batches of both.

When it is fine
---------------
A model that is adapted to the new data afterwards. What the statistics were never compared with, such as the
noise that a generator draws, is not reported unless it is a loader's.

References
----------
- Li et al., Revisiting Batch Normalization For Practical Domain Adaptation: https://arxiv.org/abs/1603.04779
- Wu and Johnson, Rethinking "Batch" in BatchNorm: https://arxiv.org/abs/2105.07576
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Statistics
from bnlint.picture import against
from bnlint.rule import Claim, Threshold

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "R"

THRESHOLD: Final = Threshold(
    2.0, "size of normalised values, 1 where the statistics fit, from which on they do not", 1.25, 100.0
)
SETTLED: Final = 50
"""Batches after which statistics keep up with the weights."""
YOUNG: Final = 1.5
"""How much farther off they may be before."""
GROWN: Final = 4.0
"""A variance that it did not begin with."""
OLD: Final = 100
"""Batches after which nothing of the beginning should be left."""
HALF: Final = 0.5
"""If more than that is left of the beginning, there is nothing to go by."""
LOST: Final = 0.02
"""A size that no part of the data can have in any layer."""
ROUNDING: Final = 1e-10
"""A variance of so little of the squared mean is that of a constant."""
SHRUNK: Final = 0.1
"""A deviation that no part of the data can have in the first layer."""


def check(facts: Facts, large: float) -> Iterator[Claim]:
    """The first layer whose normalised values are far too large, or else far too small.

    It has to be a step: what grows a little from layer to layer are errors of many statistics that add up. A
    part of the data, such as one class, may make values small further behind.
    """
    found = [(one, _normalised(one)) for one in facts.statistics if one.evaluated == "yes"]
    measured = [(one, values) for one, values in found if values is not None]
    wrong = [one for one, values in measured if values.size >= large]
    before = 1.0
    for number, (first, values) in enumerate(measured):
        limit = large * (YOUNG if number and _is_young(first) else 1)
        if values.size >= max(limit, before * large**0.5):
            yield _claim(first, "size", values.size, limit, (len(wrong), len(measured)))
            return
        before = max(values.size, 1.0)
    for number, (first, values) in enumerate(measured):
        least = LOST if number else 1 / large
        if values.least <= least:
            yield _claim(first, "size", values.least, least, (1, len(measured)))
            return
        if number == 0 and values.deviation <= SHRUNK:
            yield _claim(first, "deviation", values.deviation, SHRUNK, (1, len(measured)))
            return


def _is_young(one: Statistics) -> bool:
    """Have the statistics seen so few batches that they may lag behind the weights?"""
    return isinstance(one.count, int) and one.count < SETTLED


@dataclass(frozen=True, slots=True)
class _Normalised:
    """What a channel's normalised values have, as medians of all channels.

    `size` is the root of their mean square. `least` and `deviation` are the same and the deviation, with
    variances that have nothing left of the 1 with which they began; infinite where that is not known.
    """

    size: float
    least: float = inf
    deviation: float = inf


def _normalised(one: Statistics) -> _Normalised | None:
    """None where statistics are not known, or no numbers, or most channels are constant in the batches."""
    eps = one.norm.value("eps")
    lengths = {len(values) for values in (one.mean, one.var, one.seen_mean, one.seen_var)}
    if not one.seen_mean or not isinstance(eps, float) or eps <= 0 or len(lengths) > 1:
        return None
    if not all(map(isfinite, (*one.mean, *one.var, *one.seen_mean, *one.seen_var))) or min(one.var) < 0:
        return None  # that is BN407's
    every = zip(one.mean, one.var, one.seen_mean, one.seen_var, strict=True)
    channels = [channel for channel in every if channel[3] > ROUNDING * channel[2] ** 2]
    if len(channels) < len(one.mean) / 2:
        return None
    left = _left(one)
    size = median(_size(*channel, eps) for channel in channels)
    if left > HALF:
        return _Normalised(size)
    older = [(mean, max(var - left, 0) / (1 - left), seen, spread) for mean, var, seen, spread in channels]
    deviations = (((spread + eps) / (var + eps)) ** 0.5 for _, var, _, spread in older)
    return _Normalised(size, median(_size(*channel, eps) for channel in older), median(deviations))


def _size(mean: float, var: float, seen: float, spread: float, eps: float) -> float:
    """The root of the mean square of a channel's normalised values; 1 where the statistics are its own."""
    return float((((seen - mean) ** 2 + spread + eps) / (var + eps)) ** 0.5)


def _left(one: Statistics) -> float:
    """What is left of the 1 with which a running variance begins; all of it where that is not known."""
    momentum = one.norm.value("momentum")
    if min(one.var) > GROWN:
        return 0.0
    if not isinstance(one.count, int) or one.count < 1:
        return 1.0
    if momentum is None or one.count >= OLD:
        return 0.0
    return float((1 - momentum) ** one.count) if isinstance(momentum, (int, float)) else 1.0


def _claim(first: Statistics, what: str, value: float, limit: float, layers: tuple[int, int]) -> Claim:
    wrong, of = layers
    more = f" (so it is in {wrong} of {of} layers)" if wrong > 1 else ""
    message = (
        f"The running statistics of this {first.norm.cls} do not fit the loader's data: what they normalise "
        f"has a {what} of {value:.3g}, not 1{more}; check how the inputs are scaled, or collect the "
        f"statistics anew."
    )
    numbers = {f"{what} of normalised values": value, "threshold": limit, "layers": wrong, "of": of}
    return Claim(first.norm.where, message, measured=numbers, picture=_picture(first))


def _picture(one: Statistics) -> Picture:
    """What the batches have, over what the statistics say, channel by channel."""
    return against("Mean of each channel", "running_mean", "mean of the batches", one.mean, one.seen_mean)


SCALES = (0.5, 1.0, 2.0, 4.0, 16.0, 255.0)
"""What the inputs are multiplied by; 1 is how they were in training."""
SHOWN = SCALES.index(16.0)


def demonstrate(lab: Laboratory) -> Demonstration:
    """A classifier is evaluated on inputs of several scales, with old statistics and with new ones."""
    inputs, targets = lab.blobs(600, classes=5, spread=0.5)
    inputs = inputs - inputs.min()
    net = lab.classifier(classes=5)
    lab.train(net, inputs[:400], targets[:400], steps=200)
    net.eval()
    old = [_evaluated(lab, net, scale * inputs[400:], targets[400:]) for scale in SCALES]
    new = []
    for scale in SCALES:
        _collect(lab, net, scale * inputs[:400])
        new.append(_evaluated(lab, net, scale * inputs[400:], targets[400:]))
    (size, wrong), (fitting, right) = old[SHOWN], new[SHOWN]
    return Demonstration(
        setting=(
            "A classifier has learned to tell five classes. It is evaluated on new samples that are "
            "multiplied by 16, as if somebody had forgotten to divide, with the running statistics of "
            "training and with such as were collected anew. The size of the normalised values is the root of "
            "their mean square."
        ),
        columns=("wrong: statistics of training", "right: collected anew"),
        rows=(
            Row("size of the normalised values", f"{size:.1f}", f"{fitting:.2f}"),
            Row("right predictions", percent(wrong), percent(right)),
        ),
        claim=(
            f"Inputs that are 16 times too large make the normalised values {size:.0f} times as large as "
            f"they should be, and {percent(wrong)} of the predictions are right; with statistics of these "
            f"inputs it is {percent(right)}."
        ),
        holds=0.8 < fitting < 1.25 and size > 4 and wrong < right - 0.2 and right > 0.8,
        picture=Picture(
            kind="bars",
            title="Right predictions by the scale of the inputs",
            x="inputs multiplied by",
            y="right predictions in %",
            series=(
                Series("wrong", [100 * share for _, share in old], name="statistics of training"),
                Series("right", [100 * share for _, share in new], name="collected anew"),
            ),
            categories=tuple(f"{scale:g}" for scale in SCALES),
        ),
    )


def _evaluated(lab: Laboratory, net: Any, inputs: Any, targets: Any) -> tuple[float, float]:
    """The size of the normalised values, the median over the channels, and the share of right predictions."""
    with lab.torch.no_grad():
        made, norm = net[0](inputs), net[1]
        values = (made - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    return float(values.square().mean(0).sqrt().median()), lab.accuracy(net, inputs, targets)


def _collect(lab: Laboratory, net: Any, inputs: Any) -> None:
    """Collect the running statistics anew, as the average of some batches."""
    norm = net[1]
    norm.reset_running_stats()
    norm.momentum = None
    net.train()
    with lab.torch.no_grad():
        for some in inputs.split(100):
            net(some)
    net.eval()
