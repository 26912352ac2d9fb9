"""Dropout feeds BatchNorm.

What it finds
-------------
BatchNorm whose input comes out of dropout with p > 0; pooling and reshapes may stand between.

Why it is wrong
---------------
Dropout keeps the mean of a value the same in train and eval mode, but not its variance: dropping half and
doubling the rest adds noise that is gone in eval. The running variance is collected with the noise: of
values with mean 0 it is twice what eval sees at p = 0.5, so in eval mode BatchNorm divides by too much, layer
upon layer. The loss in eval can rise although nothing else changed.

Bad
---
    from torch import nn

    head = nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.BatchNorm1d(256),
        nn.Linear(256, 10),
    )

Good
----
    from torch import nn

    head = nn.Sequential(
        nn.Flatten(),
        nn.BatchNorm1d(256),
        nn.Dropout(0.5),
        nn.Linear(256, 10),
    )

How to fix it
-------------
Move dropout behind the last BatchNorm, directly before the final Linear, or leave it out: BatchNorm
regularises too.

When it is fine
---------------
A probability that is always 0. With a small p the shift is small; it adds up over many layers.

References
----------
- Li et al., Understanding the Disharmony between Dropout and Batch Normalization: https://arxiv.org/abs/1801.05134
- Srivastava et al., Dropout: https://jmlr.org/papers/v15/srivastava14a.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Kind, Layer, Op, Use, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "SR"

THROUGH: Final[frozenset[Kind]] = frozenset({"reshape", "pool", "identity"})
"""What may stand between: it mixes or moves values, and the added variance comes through."""


def check(facts: Facts) -> Iterator[Claim]:
    """A BatchNorm that one way at least reaches from a dropout that drops something."""
    for use in facts.uses:
        for chain in use.before:
            for source in source_of(chain, THROUGH):
                yield from _judge(use, source)


def _judge(use: Use, source: Op) -> Iterator[Claim]:
    match source:
        case Op(kind="dropout", layer=Layer() as dropout):
            match dropout.value("p"):
                case int() | float() as p if p > 0:
                    yield Claim(use.where, _message(use, source, p), _evidence(source))


def _message(use: Use, dropout: Op, p: float) -> str:
    return (
        f"{dropout.name}(p={p:g}) feeds this {use.norm.cls}: the running variance is collected with "
        f"dropout's noise, which is gone in eval mode; move the dropout behind the last BatchNorm."
    )


def _evidence(dropout: Op) -> tuple[Step, ...]:
    return (Step(dropout.where, f"{dropout.name} is applied here"),)


RATES = (0.1, 0.2, 0.3, 0.5, 0.7)
"""The probabilities of dropout; the fourth is that of the Bad example."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """What BatchNorm collects behind dropout and before it, and what it makes of it in eval mode."""
    found = [[_collected(lab, p, dropped_first=first) for p in RATES] for first in (True, False)]
    (wrong, dulled), (right, kept) = (zip(*each, strict=True) for each in found)
    half = RATES.index(0.5)
    return Demonstration(
        setting=(
            "Dropout and BatchNorm1d of 64 channels, in either order, see 80 batches of 64 samples from "
            "N(0, 1) in train mode, then new ones in eval mode, where dropout does nothing and the true "
            "variance is 1."
        ),
        columns=("wrong: dropout first", "right: BatchNorm first"),
        rows=(
            *(
                Row(f"running_var, p = {p}", f"{one:.2f}", f"{other:.2f}")
                for p, one, other in zip(RATES, wrong, right, strict=True)
            ),
            Row("deviation in eval mode, p = 0.5", f"{dulled[half]:.2f}", f"{kept[half]:.2f}"),
        ),
        claim=(
            f"Behind dropout of 0.5 the running variance is {wrong[half]:.2f} where eval mode sees 1.00, so "
            f"the output has a deviation of {dulled[half]:.2f} there; before dropout it is {right[half]:.2f}."
        ),
        holds=(
            all(abs(var * (1 - p) - 1) < 0.08 for p, var in zip(RATES, wrong, strict=True))
            and all(abs(var - 1) < 0.05 for var in right)
            and 0.65 < dulled[half] < 0.76
            and 0.95 < kept[half] < 1.05
        ),
        picture=Picture(
            kind="lines",
            title="What eval mode divides by; the true variance is 1",
            x="probability of dropout",
            y="running_var",
            series=(
                Series("wrong", wrong, RATES, "dropout first"),
                Series("right", right, RATES, "BatchNorm first"),
            ),
        ),
    )


def _collected(lab: Laboratory, p: float, *, dropped_first: bool) -> tuple[float, float]:
    """The running variance after training, and the output's deviation in eval mode; means over channels."""
    lab.restart()
    norm = lab.BatchNorm1d(64)
    layers = [lab.nn.Dropout(p), norm]
    block = lab.nn.Sequential(*(layers if dropped_first else reversed(layers)))
    for _ in range(80):
        block(lab.torch.randn(64, 64))
    out = block.eval()(lab.torch.randn(512, 64))
    return float(norm.running_var.mean()), float(out.std(0).mean())
