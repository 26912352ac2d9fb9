"""How a batch is built: which tensors it holds, what they are called, and its first sample alone."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import copy
from typing import Any, Final

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

SHOWN: Final = 6
"""Entries of a container that are named in a message."""

DEEP: Final = 4
"""How deep a message describes, and how deep an unknown object is searched for tensors."""


class CannotSplitError(TypeError):
    """A batch whose first sample cannot be taken out of it."""


def is_array(value: object) -> bool:
    """Is it a tensor, or an array of numpy?"""
    numpy = sys.modules.get("numpy")
    return isinstance(value, Tensor) or (numpy is not None and isinstance(value, numpy.ndarray))


def is_record(value: object) -> bool:
    """Has it named fields: is it an instance of a dataclass, or a named tuple?"""
    return (dataclasses.is_dataclass(value) and not isinstance(value, type)) or (
        isinstance(value, tuple) and hasattr(value, "_fields")
    )


def fields(value: Any) -> dict[str, Any]:
    """The entries of a mapping or the fields of a record, by their names; others have none."""
    if isinstance(value, Mapping):
        return {key: value[key] for key in value if isinstance(key, str)}
    if not is_record(value):
        return {}
    names = getattr(value, "_fields", None) or [field.name for field in dataclasses.fields(value)]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def is_images(value: Any) -> bool:
    """Is it a list with one image of three channels for each sample, as detectors take it?"""
    return (
        type(value) in {list, tuple}
        and bool(value)
        and all(
            isinstance(item, Tensor) and item.dim() == 3 and len(item) == 3 and item.is_floating_point()
            for item in value
        )
    )


def arrays(value: Any, depth: int = DEEP) -> Iterator[Any]:
    """The tensors and arrays in a structure, in order; unknown objects are searched as well."""
    if is_array(value):
        yield value
    elif depth and not isinstance(value, (str, bytes, type)):
        for part in _parts(value):
            yield from arrays(part, depth - 1)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [value[key] for key in value]
    if isinstance(value, (list, tuple)):
        return list(value)
    return list(fields(value).values() if is_record(value) else getattr(value, "__dict__", {}).values())


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same structure of new containers, with each part changed; a leaf is given back as it is."""
    if isinstance(value, PackedSequence):
        return value
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(map(change, value))
    if type(value) in {list, tuple}:
        return type(value)(map(change, value))
    if isinstance(value, Mapping):
        new: Any = copy(value) if isinstance(value, MutableMapping) else dict(value)
        for key in value:
            new[key] = change(value[key])
        return new
    if is_record(value):
        new = copy(value)
        for name, part in fields(value).items():
            object.__setattr__(new, name, change(part))
        return new
    return value
