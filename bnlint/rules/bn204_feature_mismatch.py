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
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Arrival, Arrived, Facts, Layer
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


CHANNELS = (16, 32, 48, 64)
"""What a convolution makes, and what BatchNorm is told."""
_Raised = tuple[str, str]
"""What a first forward raises in train mode and in eval mode; empty where it runs."""
_Pair = tuple[int, int, _Raised]
"""Channels that arrive, `num_features`, and what came of it."""
DIMENSIONS = {"BatchNorm1d": (2, 3), "BatchNorm2d": (4,), "BatchNorm3d": (5,)}


def demonstrate(lab: Laboratory) -> Demonstration:
    """All pairs of a few numbers of channels, and of the layers and numbers of dimensions, in both modes."""
    torch, nn = lab.torch, lab.nn
    pictures = torch.randn(4, 3, 6, 6)
    wrong: list[_Pair] = []
    right: list[_Pair] = []
    bent: list[_Raised] = []
    fitting: list[_Raised] = []
    for arriving, told in product(CHANNELS, CHANNELS):
        block = nn.Sequential(nn.Conv2d(3, arriving, 3, bias=False), lab.BatchNorm2d(told))
        (right if arriving == told else wrong).append((arriving, told, _errors(block, pictures)))
    for (name, taken), dimensions in product(DIMENSIONS.items(), range(2, 6)):
        raised = _errors(getattr(lab, name)(16), torch.randn(4, 16, *[3] * (dimensions - 2)))
        (fitting if dimensions in taken else bent).append(raised)
    (example,) = (raised for arriving, told, raised in wrong if (arriving, told) == (32, 64))
    flat = _errors(lab.BatchNorm2d(16), torch.randn(4, 16))
    raising = [[raised for *_, raised in pairs] for pairs in (wrong, right)]
    return Demonstration(
        setting=(
            "A convolution makes 16, 32, 48 or 64 channels, and the BatchNorm2d behind it is told 16, 32, 48 "
            "or 64; and tensors of 2 to 5 dimensions go into BatchNorm1d, 2d and 3d. Which first forward "
            "raises, in train mode and in eval mode?"
        ),
        columns=("wrong: does not fit", "right: fits"),
        rows=(
            Row("channels and num_features", *map(_count_raising, raising)),
            Row("dimensions and layer", *map(_count_raising, (bent, fitting))),
            Row("32 channels into BatchNorm2d", f"64: {example[0]}", "32: runs"),
            Row("2 dimensions into BatchNorm2d", flat[0], "4 dimensions: runs"),
        ),
        claim=(
            f"All {len(wrong)} pairs of different numbers of channels and all {len(bent)} of a layer and "
            f"dimensions that it does not take raise at the first forward, in train mode and in eval mode; "
            f"the {len(right)} and {len(fitting)} that fit run."
        ),
        holds=(
            all(all(raised) for raised in (*raising[0], *bent, flat, example))
            and not any(any(raised) for raised in (*raising[1], *fitting))
            and "32 elements not 64" in example[0]
        ),
        picture=Picture(
            kind="scatter",
            title="What the first forward does",
            x="channels that arrive",
            y="num_features",
            series=(
                Series("wrong", *_places(wrong, fails=True), name="raises"),
                Series("right", *_places(right, fails=False), name="runs"),
            ),
        ),
    )


def _errors(module: Any, batch: Any) -> _Raised:
    return _error(module.train(), batch), _error(module.eval(), batch)


def _error(module: Any, batch: Any) -> str:
    try:
        module(batch)
    except (RuntimeError, ValueError) as error:
        return str(error)
    return ""


def _count_raising(found: list[_Raised]) -> str:
    return f"{sum(map(all, found))} of {len(found)} raise"


def _places(pairs: list[_Pair], *, fails: bool) -> tuple[list[int], list[int]]:
    """Where the pairs that do so are in the picture: y and x."""
    shown = [(told, arriving) for arriving, told, raised in pairs if any(raised) is fails]
    return [told for told, _ in shown], [arriving for _, arriving in shown]
