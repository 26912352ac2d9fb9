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
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Layer, Setting, Statistics
from bnlint.rule import Claim, Threshold

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "SR"

THRESHOLD: Final = Threshold(
    0.01, "eps from which on it outweighs the variances that healthy layers have", 1e-6, 1.0
)
NEAR_INPUT: Final = 8
"""How many times as large as the variances of the first layer an eps has to be."""
BEHIND: Final = 25
"""The same further behind, where the scale can make up for some of it."""
ROUNDING: Final = 1e-10
"""A variance of so little of the squared mean is that of a constant."""
LEAST: Final = 2
"""Channels of which most can be said."""
POSITION: Final = 1
"""Where `eps` stands among the parameters of a BatchNorm."""


def check(facts: Facts, large: float) -> Iterator[Claim]:
    """An eps that cannot have been meant as one."""
    for norm in facts.norms:
        match norm.arguments.get("eps"):
            case Setting(value=bool()):
                pass
            case Setting(value=int() | float() as eps) as setting if eps >= large or eps <= 0:
                live = norm.where.module is not None
                measured = {"eps": eps, "threshold": large if eps > 0 else 0} if live else None
                yield Claim(setting.where, _message(norm, setting, eps), setting.evidence, measured=measured)
    swamped = (_swamped(one, large, first=number == 0) for number, one in enumerate(facts.statistics))
    found = [claim for claim in swamped if claim is not None]
    for claim in found[:1]:  # behind it the signal is as small as it leaves it
        yield replace(claim, measured={**(claim.measured or {}), "layers": len(found)})


def _swamped(found: Statistics, large: float, *, first: bool) -> Claim | None:
    """The claim about an eps that is far larger than the variances of most channels; dead channels have none.

    Further behind a new network may begin so: there it is said of layers that have learned.
    """
    eps = found.norm.value("eps")
    own = (found.mean, found.var) if found.evaluated == "yes" else (found.seen_mean, found.seen_var)
    if len(own[0]) != len(own[1]):
        return None
    pairs = zip(*own, strict=True)
    variances = sorted(variance for mean, variance in pairs if variance > ROUNDING * mean**2)
    if isinstance(eps, bool) or not isinstance(eps, float) or eps >= large:
        return None  # that is said of it already
    if len(variances) < max(LEAST, len(found.var) / 2):
        return None
    median = variances[len(variances) // 2]
    margin = NEAR_INPUT if first else BEHIND
    if not (first or found.trained == "yes") or not 0 < median * margin <= eps:
        return None
    message = (
        f"`eps={eps:g}` of {found.norm.cls} is larger than the variances of most channels (median "
        f"{median:.2g}): it normalises them to a deviation of {(median / (median + eps)) ** 0.5:.2g}, not 1; "
        f"scale the input up, or pass a smaller `eps`."
    )
    measured = {"median variance": median, "threshold": eps / margin}
    return Claim(found.norm.where, message, severity="warning", measured=measured)


def _message(norm: Layer, setting: Setting, eps: float) -> str:
    if eps <= 0:
        return f"`eps={eps:g}` of {norm.cls} divides by zero where a channel is constant; leave it at 1e-5."
    if setting.position == POSITION:
        return (
            f"The second positional argument of {norm.cls} is `eps`, and {eps:g} looks like a momentum: "
            f"it swamps the variance; pass `momentum=` by name."
        )
    return f"`eps={eps:g}` of {norm.cls} is as large as the variances that it protects; leave it at 1e-5."


DEPTH = 6


def demonstrate(lab: Laboratory) -> Demonstration:
    """What is left of a signal behind blocks whose BatchNorm has either eps."""
    norms = lab.BatchNorm2d(16, 0.8), lab.BatchNorm2d(16, momentum=0.2)
    wrong, right = (_deviations(lab, norm) for norm in norms)
    tiny = [_deviation(lab, norm, 1.25e-6) for norm in norms]
    return Demonstration(
        setting=(
            f"Images go through {DEPTH} blocks of Conv2d, BatchNorm2d and ReLU, as they are initialised. "
            "Measured is the standard deviation behind each BatchNorm, which is to be 1. Then "
            "channels with a variance of 1.25e-6 go through one."
        ),
        columns=("wrong: (16, 0.8)", "right: momentum=0.2"),
        rows=(
            Row("eps", *(f"{norm.eps:g}" for norm in norms)),
            Row("momentum", *(f"{norm.momentum:g}" for norm in norms)),
            Row("deviation behind BatchNorm 1", f"{wrong[0]:.2f}", f"{right[0]:.2f}"),
            Row("deviation behind BatchNorm 2", f"{wrong[1]:.2f}", f"{right[1]:.2f}"),
            Row(f"deviation behind BatchNorm {DEPTH}", f"{wrong[-1]:.2g}", f"{right[-1]:.2f}"),
            Row("deviation at a variance of 1.25e-6", *(f"{value:.2g}" for value in tiny)),
        ),
        claim=(
            f"With 0.8 as its eps BatchNorm leaves a deviation of {wrong[0]:.2f} instead of 1, and {DEPTH} "
            f"of them leave {wrong[-1]:.2g}; where the variance is 1.25e-6, even an eps of 1e-5 leaves "
            f"{tiny[1]:.2f}."
        ),
        holds=(
            wrong[0] < 0.8
            and wrong[-1] < 0.05
            and min(right) > 0.95
            and abs(tiny[1] - 1 / 3) < 0.01
            and tiny[0] < 0.01
        ),
        picture=Picture(
            kind="lines",
            title="Standard deviation behind each BatchNorm",
            x="block",
            y="deviation",
            series=(
                Series("wrong", wrong, range(1, DEPTH + 1), name="eps=0.8"),
                Series("right", right, range(1, DEPTH + 1), name="eps=1e-5"),
            ),
            logarithmic=True,
        ),
    )


def _deviations(lab: Laboratory, norm: Any) -> list[float]:
    """The deviation of what each layer puts out, of a stack of blocks."""
    lab.restart()
    maps, found = lab.images(64), []
    for _ in range(DEPTH):
        conv = lab.nn.Conv2d(maps.shape[1], 16, 3, padding=1, bias=False)
        maps = norm(conv(maps)).detach()
        found.append(float(maps.std(unbiased=False)))
        maps = maps.relu()
    return found


def _deviation(lab: Laboratory, norm: Any, variance: float) -> float:
    """What the layer leaves of channels that have this variance."""
    maps = lab.torch.randn(64, 16, 8, 8) * variance**0.5
    return float(norm(maps).detach().std(unbiased=False))
