"""`eps` is not a small positive number.

What it finds
-------------
BatchNorm with an `eps` of 0.01 or more, or of 0 or less. Most often a momentum was passed by position and
landed in `eps`, the second parameter.

Why it is wrong
---------------
BatchNorm divides by sqrt(var + eps). `eps` is there to keep the root away from zero and has to be small
beside the variances: a large one shrinks every channel by a factor that depends on its variance (eps 1e-5
over a variance of 1.25e-6 leaves a deviation of 0.33 instead of 1, and 0.8 does that to nearly all layers).
With 0 a constant channel divides zero by zero and gives NaN; a negative one takes the root of a negative
number.

Bad
---
    from torch import nn

    block = nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.BatchNorm2d(16, 0.8),
        nn.ReLU(),
    )

Good
----
    from torch import nn

    block = nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.BatchNorm2d(16, momentum=0.2),
        nn.ReLU(),
    )

How to fix it
-------------
Pass `momentum` by name (and mind its convention: a Keras 0.8 is 0.2 here). Leave `eps` at 1e-5, or at what
the pretrained weights were trained with; 1e-3 is common in ports.

When it is fine
---------------
Nowhere that we know of: a pretrained model that was trained so has to keep its value, and can say so in a
comment.

References
----------
- PyTorch, `BatchNorm2d`: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
- Ioffe and Szegedy, Batch Normalization, algorithm 1: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.facts import Facts, Layer, Setting
from bnlint.rule import Claim, Threshold

SEVERITY = "error"
ENGINES = "SR"

THRESHOLD: Final = Threshold(
    0.01, "eps from which on it outweighs the variances that healthy layers have", 1e-6, 1.0
)
POSITION: Final = 1
"""Where `eps` stands among the parameters of a BatchNorm."""


def check(facts: Facts, large: float) -> Iterator[Claim]:
    """An eps that cannot have been meant as one."""
    for norm in facts.norms:
        match norm.arguments.get("eps"):
            case Setting(value=bool()):
                pass
            case Setting(value=int() | float() as eps) as setting if eps >= large or eps <= 0:
                yield Claim(setting.where, _message(norm, setting, eps), setting.evidence)


def _message(norm: Layer, setting: Setting, eps: float) -> str:
    if eps <= 0:
        return f"`eps={eps:g}` of {norm.cls} divides by zero where a channel is constant; leave it at 1e-5."
    if setting.position == POSITION:
        return (
            f"The second positional argument of {norm.cls} is `eps`, and {eps:g} looks like a momentum: "
            f"it swamps the variance; pass `momentum=` by name."
        )
    return f"`eps={eps:g}` of {norm.cls} is as large as the variances that it protects; leave it at 1e-5."
