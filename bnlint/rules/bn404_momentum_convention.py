"""`momentum` follows the convention of TensorFlow and Keras.

What it finds
-------------
BatchNorm with a `momentum` from 0.5 to just below 1.

Why it is wrong
---------------
In PyTorch momentum is the weight of the new batch: `running = (1 - momentum) * running + momentum * batch`.
TensorFlow, Keras and Caffe give the weight of the old value, so their 0.9 is PyTorch's 0.1, and their 0.99
is 0.01. At 0.9 the running statistics hold little more than the last batch; they jitter four times as much
as at 0.1, and so does what eval answers.

Bad
---
    from torch import nn

    block = nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.BatchNorm2d(16, momentum=0.9),
        nn.ReLU(),
    )

Good
----
    from torch import nn

    block = nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.BatchNorm2d(16, momentum=0.1),
        nn.ReLU(),
    )

How to fix it
-------------
Pass one minus the number that the TensorFlow, Keras or Caffe twin of the network has.

When it is fine
---------------
Exactly 1, the idiom for taking over the last batch (precise BatchNorm, few-shot learning), and a layer that
tracks no statistics, where momentum has no effect.

References
----------
- PyTorch, `BatchNorm2d`: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
- Keras, `BatchNormalization`: https://keras.io/api/layers/normalization_layers/batch_normalization/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Layer
from bnlint.rule import Claim, Threshold

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "SR"

THRESHOLD: Final = Threshold(
    0.5, "momentum from which on, up to 1, it is taken to be the other convention's", 0.2, 1.0
)


def check(facts: Facts, foreign: float) -> Iterator[Claim]:
    """A momentum that only makes sense as the weight of the old value."""
    for norm in facts.norms:
        match norm.value("momentum"):
            case float(momentum) if foreign <= momentum < 1 and norm.value("track_running_stats") is True:
                yield _claim(norm, momentum, foreign)


def _claim(norm: Layer, momentum: float, foreign: float) -> Claim:
    setting = norm.arguments["momentum"]
    message = (
        f"`momentum={momentum:g}` of {norm.cls} is the weight of the new batch in PyTorch, so the running "
        f"statistics hold little else; what TensorFlow and Keras call {momentum:g} is {1 - momentum:.4g} "
        f"here."
    )
    live = norm.where.module is not None
    measured = {"momentum": momentum, "threshold": foreign} if live else None
    return Claim(setting.where, message, setting.evidence, measured=measured)


MOMENTA = (0.9, 0.1)
STEPS, SETTLED = 400, 100
"""Batches, and after how many of them the statistics have forgotten how they began."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """The running mean of data that never change, at either momentum."""
    wrong, right = (_running_means(lab, momentum)[SETTLED:] for momentum in MOMENTA)
    jitter = [float(means.std()) for means in (wrong, right)]
    worst = [float(means.abs().max()) for means in (wrong, right)]
    ratio = jitter[0] / jitter[1]
    shown = slice(0, 100)
    return Demonstration(
        setting=(
            f"A BatchNorm1d of 64 channels sees {STEPS} batches of 32 samples from N(0, 1): the true mean "
            f"is 0 and never changes. Measured is its running_mean from batch {SETTLED} on."
        ),
        columns=("wrong: momentum=0.9", "right: momentum=0.1"),
        rows=(
            Row("jitter of running_mean (standard deviation)", f"{jitter[0]:.3f}", f"{jitter[1]:.3f}"),
            Row("farthest from the true mean", f"{worst[0]:.2f}", f"{worst[1]:.2f}"),
            Row("share of the last batch in it", *map(percent, MOMENTA)),
        ),
        claim=f"At momentum 0.9 the running mean jitters {ratio:.1f} times as much as at 0.1.",
        holds=3.5 < ratio < 4.5,
        picture=Picture(
            kind="lines",
            title="running_mean of one channel; the true mean is 0",
            x="batch",
            y="running_mean",
            series=(
                Series("wrong", wrong[shown, 0].tolist(), name="momentum=0.9"),
                Series("right", right[shown, 0].tolist(), name="momentum=0.1"),
            ),
        ),
    )


def _running_means(lab: Laboratory, momentum: float) -> Any:
    """The running mean after each batch, of shape (steps, channels); the same batches for each momentum."""
    lab.restart()
    norm = lab.BatchNorm1d(64, momentum=momentum)
    means = []
    for _ in range(STEPS):
        norm(lab.torch.randn(32, 64))
        means.append(norm.running_mean.clone())
    return lab.torch.stack(means)
