"""What texts promise of BatchNorm, measured on a small real data set: scikit-learn's images of digits.

Each number is the mean over several runs, which differ in the images that are held back, the initial weights
and the order of the batches, with the standard deviation between runs. What was not confirmed is said.
"""

from __future__ import annotations

from functools import cache, partial
from statistics import mean, stdev
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bnlint.demonstration import Demonstration, Picture, Row, Series, Subject, percent
from bnlint.reference import BatchNorm1d

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bnlint.reference.laboratory import Laboratory

RUNS = 3
"""Runs of each setting."""
SIDES, NOISE = ("without BatchNorm", "with BatchNorm"), ("without the noise", "with the noise")
TRAINED, STEPS = 1200, 100
"""Images to learn from, of 1797; the others are for the test. Steps of training, of 32 images each."""
RATES = (0.1, 0.3, 1.0, 3.0, 10.0)
FACTORS = (0.1, 1.0, 3.0, 10.0)
LEARNED = 0.8
"""The share of right answers from which on a network is said to have learned: chance is 0.1."""
FEW, BATCHES, LONGER = 100, (4, 16), 200
"""Images that are few enough to be learned by heart, sizes of batches for them, and steps."""

SETTING = (
    "Networks of three hidden layers of 64 ReLUs learn to read scikit-learn's digits, "
    f"{TRAINED} images of 8x8, in {STEPS} steps of SGD with batches of 32. Shown is the share of right "
    f"answers on the other {1797 - TRAINED} images: mean and deviation of {RUNS} runs."
)


def learning_rates(lab: Laboratory) -> Demonstration:
    """Rates over two orders of magnitude."""
    without, with_norm = (
        _over(lab, RATES, partial(_tested, lab, norm=norm), "rate") for norm in (False, True)
    )
    largest = [_largest(RATES, shares) for shares in (without, with_norm)]
    best = [max(map(mean, shares)) for shares in (without, with_norm)]
    return Demonstration(
        setting=f"{SETTING} Weights begin as He et al. draw them.",
        columns=SIDES,
        rows=_rows("rate", RATES, without, with_norm),
        claim=(
            f"Confirmed: the largest rate at which a network learns ({percent(LEARNED)} right) is "
            f"{largest[1]:g} with BatchNorm and {largest[0]:g} without it, and the best rate of each gives "
            f"{percent(best[1])} and {percent(best[0])}. Not confirmed: that any rate will do; 10 is too "
            "large with BatchNorm as well."
        ),
        holds=largest[1] >= 3 * largest[0] > 0 and best[1] > best[0] and mean(with_norm[-1]) < LEARNED,
        picture=_picture("Right answers by learning rate", "learning rate", RATES, (without, with_norm)),
    )


def initialisation(lab: Laboratory) -> Demonstration:
    """Initial weights that are too small or too large by up to ten times."""
    without, with_norm = (
        _over(lab, FACTORS, partial(_tested, lab, norm=norm), "factor") for norm in (False, True)
    )
    worst = [min(map(mean, shares)) for shares in (without, with_norm)]
    best = max(map(mean, with_norm))
    return Demonstration(
        setting=f"{SETTING} Weights begin as multiples of what He et al. draw; the rate is 0.1.",
        columns=SIDES,
        rows=_rows("weights times", FACTORS, without, with_norm),
        claim=(
            "Confirmed: over a hundredfold range of initial weights a network with BatchNorm has at least "
            f"{percent(worst[1])} right, and one without it as little as {percent(worst[0])}, which is "
            "chance. Not confirmed: that they do not matter; with BatchNorm the best of them give "
            f"{percent(best)}."
        ),
        holds=worst[1] > 0.6 and worst[0] < 0.2 and best > worst[1] + 0.05,
        picture=_picture(
            "Right answers by initial weights",
            "initial weights, in those of He et al.",
            FACTORS,
            (without, with_norm),
        ),
    )


def noise(lab: Laboratory) -> Demonstration:
    """The same steps with statistics of the batch and with those of all images, which do not fluctuate."""
    quiet, noisy = (
        _over(lab, BATCHES, partial(_by_heart, lab, noisy=noisy), "batch") for noisy in (False, True)
    )
    gains = [mean(one) - mean(other) for one, other in zip(noisy, quiet, strict=True)]
    spread = max(map(stdev, (*quiet, *noisy)))
    return Demonstration(
        setting=(
            f"Networks of two hidden layers with BatchNorm learn {FEW} of the digits by heart in {LONGER} "
            "steps. The gradients are those of a small batch either way; what normalises is the batch, "
            f"whose statistics fluctuate, or all {FEW} images. Shown is the share of right answers on other "
            f"images: mean and deviation of {RUNS} runs, with the statistics of all {FEW} images for the "
            "test."
        ),
        columns=NOISE,
        rows=_rows("batches of", BATCHES, quiet, noisy),
        claim=(
            "Not confirmed: the noise of the batch statistics changes the right answers by "
            f"{100 * gains[0]:+.1f} points in batches of {BATCHES[0]} and by {100 * gains[1]:+.1f} in "
            f"batches of {BATCHES[1]}, and runs deviate by up to {100 * spread:.1f}: no gain that could be "
            "told from chance."
        ),
        holds=all(gain < min(0.04, 2 * spread) for gain in gains),
        picture=_picture(
            "Right answers with and without the noise", "batch size", BATCHES, (quiet, noisy), NOISE
        ),
    )


SUBJECTS = (
    Subject("", "learning-rates", "The promise: BatchNorm allows higher learning rates.", learning_rates),
    Subject(
        "", "initialisation", "The promise: with BatchNorm the initial weights matter less.", initialisation
    ),
    Subject("", "noise", "The promise: the noise of the batch statistics regularises.", noise),
)
"""What `bnlint demo benefits` shows."""


def _over(
    lab: Laboratory, values: Sequence[float], run: Callable[..., float], name: str
) -> list[list[float]]:
    """The results of several runs for each value of a parameter; each value gets the same random numbers."""
    found = []
    for value in values:
        lab.restart()
        found.append([run(**{name: value}) for _ in range(RUNS)])
    return found


@cache
def _digits() -> tuple[Tensor, Tensor]:
    """All images, of shape (1797, 64), from 0 to 1, and their digits."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    return torch.as_tensor(images) / 16, torch.as_tensor(digits)


def _shuffled() -> tuple[Tensor, Tensor]:
    """All images and their digits in a new order."""
    images, digits = _digits()
    order = torch.randperm(len(images))
    return images[order], digits[order]


def _network(layers: int, *, norm: bool, factor: float = 1.0) -> nn.Sequential:
    """A perceptron; its weights begin as those of He et al. times a factor."""
    parts: list[nn.Module] = []
    for _ in range(layers):
        linear = nn.Linear(64, 64)
        nn.init.kaiming_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        with torch.no_grad():
            linear.weight.mul_(factor)
        parts += [linear, BatchNorm1d(64), nn.ReLU()] if norm else [linear, nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(64, 10))


def _tested(lab: Laboratory, *, norm: bool, rate: float = 0.1, factor: float = 1.0) -> float:
    """The share of right answers after training."""
    images, digits = _shuffled()
    net = _network(3, norm=norm, factor=factor)
    lab.train(net, images[:TRAINED], digits[:TRAINED], steps=STEPS, batch=32, rate=rate)
    return lab.accuracy(net.eval(), images[TRAINED:], digits[TRAINED:])


def _by_heart(lab: Laboratory, *, batch: int, noisy: bool) -> float:
    """The share of right answers after few images were learned, each step with noise or without it."""
    images, digits = _shuffled()
    net = _network(2, norm=True)
    known, answers = images[:FEW], digits[:FEW]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(LONGER):
        chosen = torch.randperm(FEW)[:batch]
        scores = net(known[chosen]) if noisy else net(known)[chosen]
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores, answers[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for module in net.modules():
        if isinstance(module, BatchNorm1d):
            module.momentum = 1.0
    with torch.no_grad():
        net(known)
    return lab.accuracy(net.eval(), images[TRAINED:], digits[TRAINED:])


def _largest(rates: Sequence[float], shares: Sequence[Sequence[float]]) -> float:
    """The largest rate at which the runs have learned, or 0."""
    return max((rate for rate, some in zip(rates, shares, strict=True) if mean(some) >= LEARNED), default=0.0)


def _rows(
    what: str, values: Sequence[float], left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]
) -> tuple[Row, ...]:
    return tuple(
        Row(f"{what} {value:g}: right answers", _spread(one), _spread(other))
        for value, one, other in zip(values, left, right, strict=True)
    )


def _spread(shares: Sequence[float]) -> str:
    return f"{100 * mean(shares):.1f} ± {100 * stdev(shares):.1f} %"


def _picture(
    title: str,
    x: str,
    values: Sequence[float],
    sides: Sequence[Sequence[Sequence[float]]],
    names: tuple[str, str] = SIDES,
) -> Picture:
    left, right = ([100 * mean(shares) for shares in side] for side in sides)
    return Picture(
        kind="bars",
        title=title,
        x=x,
        y="right answers in %",
        series=(Series("wrong", left, name=names[0]), Series("right", right, name=names[1])),
        categories=tuple(f"{value:g}" for value in values),
    )
