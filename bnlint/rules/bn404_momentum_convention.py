"""`momentum` follows the convention of TensorFlow and Keras.

What it finds
-------------
BatchNorm with a `momentum` from 0.5 to just below 1.

Why it is wrong
---------------
In PyTorch momentum is the weight of the new batch: `running = (1 - momentum) * running + momentum * batch`.
TensorFlow, Keras and Caffe give the weight of the old value, so their 0.9 is PyTorch's 0.1, and their 0.99
is 0.01. At 0.9 the running statistics hold little more than the last batch; they jitter 4.4 times as much
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
from typing import Final

from bnlint.facts import Facts, Layer
from bnlint.rule import Claim, Threshold

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
                yield _claim(norm, momentum)


def _claim(norm: Layer, momentum: float) -> Claim:
    setting = norm.arguments["momentum"]
    message = (
        f"`momentum={momentum:g}` of {norm.cls} is the weight of the new batch in PyTorch, so the running "
        f"statistics hold little else; what TensorFlow and Keras call {momentum:g} is {1 - momentum:.4g} "
        f"here."
    )
    return Claim(setting.where, message, setting.evidence)
