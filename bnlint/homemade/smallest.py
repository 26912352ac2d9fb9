"""The smallest input that shows a difference."""

from __future__ import annotations

from itertools import islice, product
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from bnlint.homemade.subject import LAYERS, agrees
from bnlint.reference import BatchNorm1d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bnlint.homemade.specimen import Specimen
    from bnlint.homemade.subject import Subject
    from bnlint.reference.layers import BatchNorm

Seen = tuple[Tensor, Tensor]
"""What was given by the layer, and by the reference."""

MOST_VALUES: Final = 8
"""Values per channel: inputs of more explain nothing."""
MOST_INPUTS: Final = 60
"""So many are tried."""


def output(layer: Specimen, twin: BatchNorm, x: Tensor) -> Seen:
    """The output in train mode."""
    return layer(x).detach(), twin(x).detach()


def gradient(layer: Specimen, twin: BatchNorm, x: Tensor) -> Seen:
    """The gradient of the sum of the cubes of the output, by the input."""
    found = []
    for one in (layer, twin):
        leaf = x.clone().requires_grad_()
        (got,) = torch.autograd.grad((one(leaf) ** 3).sum(), leaf, allow_unused=True)
        found.append(torch.zeros_like(x) if got is None else got)
    return found[0], found[1]


def evaluation(layer: Specimen, twin: BatchNorm, x: Tensor) -> Seen:
    """The output in eval mode, after one batch that is twice as large."""
    for one in (layer, twin):
        one.train()
        one(2 * x + 1)
        one.train(mode=False)
    return layer(x).detach(), twin(x).detach()


def after_one_batch(name: str, twin_name: str) -> Callable[[Specimen, BatchNorm, Tensor], Seen]:
    """A running statistic after one batch."""

    def seen(layer: Specimen, twin: BatchNorm, x: Tensor) -> Seen:
        layer(x)
        twin(x)
        return layer.tensors()[name].detach().reshape(-1), getattr(twin, twin_name)

    return seen


def smallest(
    subject: Subject, eps: float, look: Callable[[Specimen, BatchNorm, Tensor], Seen]
) -> tuple[Tensor, Seen] | None:
    """The input of fewest values for which both differ, and what they give; None if no small one does."""
    for x in islice(_inputs(subject), MOST_INPUTS):
        try:
            got, expected = look(*_pair(subject, eps, x.shape[1]), x)
        except Exception:  # noqa: S112  the next one may do
            continue
        if not agrees(got, expected):
            return x, (got, expected)
    return None


def _pair(subject: Subject, eps: float, channels: int) -> tuple[Specimen, BatchNorm]:
    """A layer and a reference as they are built, with the same scale and shift."""
    plan = subject.trial.plan
    layer = subject.trial.fresh(channels)
    momentum = plan.momentum if plan.momentum is not None else plan.decay
    twin = LAYERS.get(subject.trial.dims, BatchNorm1d)(
        channels, eps, 0.1 if momentum is None else momentum, dtype=subject.trial.dtype
    )
    for name, parameter in ((subject.roles.scale, twin.weight), (subject.roles.shift, twin.bias)):
        assert parameter is not None
        if name in layer.tensors():
            layer.write(name, parameter.data)
    return layer, twin


def _inputs(subject: Subject) -> Iterator[Tensor]:
    """Inputs of few values, the smallest first; small numbers before others."""
    plan, dims = subject.trial.plan, subject.trial.dims
    channels = (1, 2) if plan.fresh else (plan.channels,)
    shapes = [
        (samples, count, *positions)
        for samples, count in product((1, 2, 3, 4), channels)
        for positions in product((1, 2), repeat=dims - 2)
        if 2 * count <= samples * count * _size(positions) <= MOST_VALUES * count
    ]
    for shape in sorted(shapes, key=lambda shape: (_size(shape), shape)):
        numbers = torch.arange(_size(shape), dtype=subject.trial.dtype)
        for values in ((numbers * numbers * 3 + numbers) % 7, numbers * 0.02, 0 * numbers):
            yield values.reshape(shape)


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for one in shape:
        size *= one
    return size
