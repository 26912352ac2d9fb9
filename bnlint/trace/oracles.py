"""What needs no dataflow: in eval mode a sample's answer does not depend on its batch, and nothing moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bnlint.trace.leaves import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIMIT = 1e-3
"""The disagreement, in deviations of the output, up to which a model answers by the sample alone."""

SHOWN = 500
"""Values of an answer that are kept to be shown."""


@dataclass(frozen=True, slots=True)
class Invariance:
    """How far the answer for the first sample is from that for it alone.

    `disagreement` is the largest distance, in standard deviations of the output. `together` and `alone` are
    the answers of the output in which it is largest, flattened; of many values some.
    """

    disagreement: float
    together: tuple[float, ...]
    alone: tuple[float, ...]

    @property
    def holds(self) -> bool:
        """Does the sample alone decide?"""
        return self.disagreement <= LIMIT

    @property
    def measured(self) -> Mapping[str, float]:
        """The numbers for a finding."""
        return {"disagreement": self.disagreement, "threshold": LIMIT}


def firsts(outputs: Any, size: int) -> dict[str, tuple[Tensor, float]]:
    """The first sample of each output that has `size` of them, and the deviation of the output."""
    found = {}
    for path, tensor in leaves(outputs):
        whole = tensor.dim() and tensor.shape[0] == size and tensor.is_floating_point() and tensor.numel()
        if whole and not tensor.is_meta:
            values = tensor.detach().float()
            found[path] = (values[:1].clone(), float(values.std(unbiased=False)))
    return found


def invariance(together: dict[str, tuple[Tensor, float]], single: Any) -> Invariance | None:
    """Compare the answers for a sample in its batch with those for it alone; None if there are none."""
    alone = {path: tensor.detach().float() for path, tensor in leaves(single)}
    found: list[Invariance] = []
    for path, (first, deviation) in together.items():
        other = alone.get(path)
        if (
            other is None
            or other.shape != first.shape
            or not bool(first.isfinite().all() & other.isfinite().all())
        ):
            continue
        largest = float((first - other).abs().max()) / (deviation or 1.0)
        found.append(Invariance(largest, _some(first), _some(other)))
    return max(found, key=lambda one: one.disagreement, default=None)


def _some(values: Tensor) -> tuple[float, ...]:
    """So many values as a picture can show, evenly spread."""
    flat = values.flatten()
    return tuple(flat[:: max(1, flat.numel() // SHOWN)].tolist())


def repeats(run: Callable[[], Any], before: dict[str, tuple[Tensor, float]], size: int) -> bool:
    """Does the model answer the same when it is asked again? Some draw numbers in eval mode."""
    again = firsts(run(), size)
    return all(path in again and torch.equal(again[path][0], first) for path, (first, _) in before.items())
