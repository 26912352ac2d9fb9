"""Dropout feeds BatchNorm.

What it finds
-------------
BatchNorm whose input comes out of dropout with p > 0; pooling and reshapes may stand between.

Why it is wrong
---------------
Dropout keeps the mean of a value the same in train and eval mode, but not its variance: dropping half and
doubling the rest adds noise that is gone in eval. The running variance is collected with the noise, 1.95
where eval sees 1.00 at p = 0.5, so in eval mode BatchNorm divides by too much, layer upon layer. The loss
in eval can rise although nothing else changed.

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
from typing import Final

from bnlint.facts import Facts, Kind, Layer, Op, Use, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

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
