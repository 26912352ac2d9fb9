"""The first sample of a batch, alone in a batch of the same structure."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.nn.utils.rnn import PackedSequence

from bnlint.trace.structure import CannotSplitError, arrays, is_array, is_samples, rebuilt


def alone(value: Any, size: int) -> Any:
    """The same structure with the first of `size` samples only.

    Each tensor or array whose leading dimension is `size` is cut to `[:1]`, each list in it that has an item
    for each sample to its first one; all else stays. Raises `CannotSplitError` where samples are packed
    together or held by an object of unknown structure.
    """
    if type(value) in {list, tuple} and not is_samples(value) and any(True for _ in arrays(value)):
        return rebuilt(value, partial(_first, size=size))
    return _first(value, size)


def _first(value: Any, size: int) -> Any:
    if isinstance(value, PackedSequence) or getattr(value, "is_nested", False):
        raise CannotSplitError(f"the samples of a {type(value).__name__} cannot be told apart")
    if is_array(value):
        return _cut(value, size)
    if type(value) in {list, tuple} and len(value) == size and _has_one_for_each(value, size):
        return type(value)(value[:1])
    new = rebuilt(value, partial(_first, size=size))
    if new is value and any(True for _ in arrays(value)):
        raise CannotSplitError(f"bnlint does not know how a {type(value).__name__} holds its samples")
    return new


def _has_one_for_each(value: Any, size: int) -> bool:
    """Are the items of a list the samples, rather than several inputs that each hold all samples?"""
    return is_samples(value) or not any(array.ndim and len(array) == size for array in arrays(value))


def _cut(array: Any, size: int) -> Any:
    if not array.ndim or array.shape[0] != size:
        return array
    try:
        return array[:1]
    except (RuntimeError, NotImplementedError, IndexError) as problem:
        raise CannotSplitError(f"a {type(array).__name__} cannot be cut: {problem}") from problem
