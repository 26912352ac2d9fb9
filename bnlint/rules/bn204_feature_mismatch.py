"""A tensor arrives at BatchNorm that it cannot take.

What it finds
-------------
BatchNorm whose `num_features` differs from the channels that arrive, and `BatchNorm1d`, `2d` or `3d`
before a tensor of another number of dimensions: a `BatchNorm2d` behind Flatten and Linear, say.

Why it is wrong
---------------
The running statistics, the scale and the shift hold one value per channel, and each class takes tensors of
its own number of dimensions only: 2 or 3, 4, and 5. Anything else raises at the first forward, in train
mode and in eval mode ("running_mean should contain 32 elements not 64", "expected 4D input (got 2D
input)"): a branch of a model that does so has never run.

Bad
---
    from torch import nn

    head = nn.Sequential(
        nn.Conv2d(3, 32, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
    )


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, x):
            return self.head(x)

Good
----
    from torch import nn

    head = nn.Sequential(
        nn.Conv2d(3, 64, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
    )


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, x):
            return self.head(x)

How to fix it
-------------
Give BatchNorm the number of channels of the layer before it, best by the same variable; behind a Linear
or a flattened tensor use `BatchNorm1d`. `LazyBatchNorm2d` takes its `num_features` from the first batch.

When it is fine
---------------
Never where the code runs. A class that nobody uses any more can be deleted.

References
----------
- PyTorch, BatchNorm2d: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
- PyTorch, BatchNorm1d: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.facts import Arrival, Arrived, Facts, Layer
from bnlint.finding import Step
from bnlint.rule import Claim

SEVERITY = "error"
ENGINES = "SR"

TAKEN_BY: Final[dict[object, str]] = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}
"""Which class takes a tensor of so many dimensions."""


def check(facts: Facts) -> Iterator[Claim]:
    """A BatchNorm that raises on every way in which a tensor can arrive."""
    for arrival in facts.arrivals:
        messages = [_message(arrival, way) for way in arrival.ways]
        if messages and all(messages):
            yield Claim(arrival.norm.where, messages[0], _evidence(arrival))


def _message(arrival: Arrival, way: Arrived) -> str:
    """What is wrong with one way; empty where nothing certainly is."""
    if _is_bent(arrival, way):
        return _of_dimensions(arrival, way.dimensions)
    return _of_channels(arrival, way) if way.fits == "no" and _counts_features(arrival.norm) else ""


def _is_bent(arrival: Arrival, way: Arrived) -> bool:
    """Whether a tensor has a number of dimensions that the layer does not take."""
    match way.dimensions:
        case int() as dimensions if arrival.takes:
            return dimensions not in arrival.takes
    return False


def _of_dimensions(arrival: Arrival, dimensions: object) -> str:
    takes = " or ".join(map(str, arrival.takes))
    cure = TAKEN_BY.get(dimensions)
    todo = "check how it is reshaped" if cure is None else f"use {cure} here, or check how it is reshaped"
    return (
        f"A tensor of {_count(dimensions, 'dimension')} arrives at this {arrival.norm.cls}, which takes "
        f"{takes}, so the first forward raises: {todo}."
    )


def _of_channels(arrival: Arrival, way: Arrived) -> str:
    return (
        f"This {arrival.norm.cls} has `num_features` {_spelled(arrival.features)} but gets "
        f"{_count(way.channels, 'channel')}, so the first forward raises: pass the number of channels that "
        "the layer before it makes."
    )


def _counts_features(norm: Layer) -> bool:
    """Whether the layer has anything for each channel: without, it takes any number of them."""
    return norm.value("affine") is True or norm.value("track_running_stats") is True


def _count(number: object, what: str) -> str:
    return f"{_spelled(number)} {what}{'' if number == 1 else 's'}"


def _spelled(number: object) -> str:
    return str(number) if isinstance(number, int) else f"`{number}`"


def _evidence(arrival: Arrival) -> tuple[Step, ...]:
    first = arrival.ways[0]
    wrong = first.shaped if _is_bent(arrival, first) else first.made
    return (*arrival.path, *(step for step in (wrong,) if step is not None))
