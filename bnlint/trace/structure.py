"""How a batch is built: which tensors it holds, what they are called, and its first sample alone."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import copy
from itertools import islice
from typing import Any, Final

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset

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


def is_samples(value: Any) -> bool:
    """Is it a list with an item for each sample: images of three channels, or what a data set gives?

    Two images of one shape are not: they are taken for an input and a target of three samples.
    """
    if type(value) not in {list, tuple} or not value:
        return False
    if all(map(_is_image, value)):
        return len(value) > 2 or len({image.shape for image in value}) == 2
    first = value[0]
    if isinstance(first, Mapping):
        return all(isinstance(item, Mapping) and item.keys() == first.keys() for item in value)
    return type(value) is list and all(type(item) is tuple and len(item) == len(first) > 1 for item in value)


def _is_image(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 3 and len(value) == 3 and value.is_floating_point()


def are_samples(inputs: Any, targets: Any) -> bool:
    """Are these lists of samples and of a dict of targets for each, as detectors take them?"""
    listed = type(inputs) in {list, tuple} and type(targets) in {list, tuple}
    return listed and len(inputs) == len(targets) and all(map(fields, targets))


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
    if is_record(value):
        return list(fields(value).values())
    return (
        []
        if isinstance(value, (nn.Module, Dataset, DataLoader))
        else list(getattr(value, "__dict__", {}).values())
    )


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


def structure(value: Any) -> str:
    """What a batch is, for a message: `a dict with image: Tensor (8, 3, 32, 32), label: Tensor (8,)`."""
    if isinstance(value, Mapping) or is_record(value):
        return f"{article(value)} with {_entries(value, DEEP)}"
    if isinstance(value, (list, tuple)):
        return f"{article(value)} of {_items(value, DEEP)}"
    return f"{article(value)}{shape(value)}"


def article(value: object) -> str:
    """The class of a thing, as a sentence names it."""
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def shape(value: Any) -> str:
    """The shape of a tensor or array, behind its name."""
    return f" {tuple(value.shape)}" if is_array(value) else ""


def _entries(value: Any, depth: int) -> str:
    entries = [f"{name}: {_within(part, depth - 1)}" for name, part in islice(_named(value), SHOWN)]
    return ", ".join(entries + ["…"] * (sum(1 for _ in _named(value)) > SHOWN)) or "nothing"


def _named(value: Any) -> Iterator[tuple[Any, Any]]:
    return ((key, value[key]) for key in value) if isinstance(value, Mapping) else iter(fields(value).items())


def _items(value: Any, depth: int) -> str:
    items = [_within(part, depth - 1) for part in value[:SHOWN]]
    if len(set(items)) == 1 and len(value) > 2:
        return f"{len(value)} × {items[0]}"
    return ", ".join(items + ["…"] * (len(value) > SHOWN)) or "nothing"


def _within(value: Any, depth: int) -> str:
    """A part of a batch, without an article, in brackets where it has parts itself."""
    name = type(value).__name__
    if not depth or value is None:
        return "None" if value is None else name
    if isinstance(value, Mapping) or is_record(value):
        return f"{name} {{{_entries(value, depth)}}}"
    if isinstance(value, (list, tuple)):
        return f"{name} [{_items(value, depth)}]"
    return f"{name}{shape(value)}"
