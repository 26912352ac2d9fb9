"""Which parts of a batch are which arguments of a model's forward."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter
from typing import Any, Final

from torch.nn.utils.rnn import PackedSequence

from bnlint.trace.batches import TARGETS, Batch
from bnlint.trace.signature import Forward
from bnlint.trace.structure import are_samples, arrays, fields, is_array, is_record, is_samples

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Those by position, and those by name."""

INPUTS: Final = {
    "audio",
    "data",
    "feature",
    "features",
    "image",
    "images",
    "img",
    "imgs",
    "input",
    "input_ids",
    "inputs",
    "pixel_values",
    "signal",
    "video",
    "waveform",
    "x",
}
"""The names under which a batch holds what the model is to look at."""

WHOLES: Final = {
    "batch",
    "batch_dict",
    "batched_inputs",
    "data_dict",
    "example",
    "examples",
    "sample",
    "samples",
}
"""The names of a parameter that takes a whole batch of several entries."""


class CannotTellError(Exception):
    """It is not clear which entry of a batch is the input."""


def arguments(forward: Forward, batch: Batch) -> Arguments:
    """The arguments for a batch. Raises `CannotTellError` where it is not clear which ones they are."""
    args, kwargs = _arguments(forward, batch.value)
    if batch.targets is not None:
        missing = [name for name in forward.misses(args, kwargs) if name in TARGETS]
        kwargs |= dict.fromkeys(missing, batch.targets)
    if not forward.fits(args, kwargs):
        raise CannotTellError
    return args, kwargs


def _arguments(forward: Forward, value: Any) -> Arguments:
    if isinstance(value, (list, tuple, Mapping)) and not value:
        raise CannotTellError
    if is_array(value) or is_samples(value) or isinstance(value, PackedSequence):
        return (value,), {}
    if fields(value):
        return _by_name(forward, value)
    if isinstance(value, (list, tuple)):
        return _by_position(forward, value)
    return (value,), {}


def _by_position(forward: Forward, value: Any) -> Arguments:
    """The leading entries, as many as forward requires; the last of several is not asked for by itself."""
    first = forward.positional[0] if forward.positional and forward.required == 1 else None
    if first is not None and first.name == "batch" and not _says(first, "tensor"):
        return (value,), {}  # it takes the batch apart itself
    if len(value) > 2:
        number = forward.required or (len(value) - 1 if forward.any_position else 1)
        return tuple(value[:number]), {}
    inputs = value[0]
    if len(value) == 2 and are_samples(*value):
        return (tuple(value) if _detects(forward) else (inputs,)), {}
    if _spreads(forward, inputs):
        return tuple(inputs), {}
    if len(value) == 2 and forward.required == 2 and not _named(forward, inputs):
        return tuple(value), {}
    return _arguments(forward, inputs) if fields(inputs) else ((inputs,), {})


def _detects(forward: Forward) -> bool:
    """Does forward take the targets as well, which detectors want in train mode?"""
    return forward.required == 2 or [one.name for one in forward.positional[1:2]] in (["target"], ["targets"])


def _spreads(forward: Forward, inputs: Any) -> bool:
    """Are the inputs several arguments, rather than a list that is one?"""
    if not isinstance(inputs, (list, tuple)) or fields(inputs) or is_samples(inputs):
        return False
    if not all(map(is_array, inputs)) or not forward.takes(len(inputs)):
        return False
    if not forward.takes(1) or not forward.positional:
        return True
    first = forward.positional[0]
    return not first.name.endswith("s") and not _says(first, "list", "tuple", "sequence")


def _named(forward: Forward, value: Any) -> dict[str, Any]:
    """The entries that forward takes by their names; the answers only where it names them."""
    names = {parameter.name for parameter in forward.named}
    entries = fields(value).items()
    return {
        name: part for name, part in entries if name in names or (forward.any_name and name not in TARGETS)
    }


def _by_name(forward: Forward, value: Any) -> Arguments:
    """Entries by their names; else the whole, or the one entry that is an input, as the first argument."""
    named = _named(forward, value)
    missing = [name for name in forward.misses((), named) if name not in TARGETS]
    first = [parameter.name for parameter in forward.positional[:1]]
    if not first or (missing != first and (missing or named.keys() - set(TARGETS))):
        return (), named
    if _wants_whole(forward, value):
        return (value,), {}
    name = _input(value)
    if name is not None:
        names = {parameter.name for parameter in forward.named} - {name, *first}
        return (fields(value)[name],), {other: named[other] for other in named if other in names}
    if isinstance(value, tuple):
        return _by_position(forward, tuple(value))
    if isinstance(value, Mapping):
        raise CannotTellError
    return (value,), {}


def _wants_whole(forward: Forward, value: Any) -> bool:
    """Does forward take a batch apart by itself?"""
    first, names = forward.positional[0], set(fields(value))
    if _says(first, "dict", "mapping", type(value).__name__.lower()):
        return True
    if _says(first, "tensor"):
        return False
    reads = forward.reads_attributes if is_record(value) else forward.reads_entries
    return first.name in WHOLES or reads(names)


def _input(value: Any) -> str | None:
    """The name of the entry that is the input, if it is clear which one that is."""
    entries = fields(value)
    known = [name for name in entries if name in INPUTS]
    others = [name for name in entries if name not in TARGETS and any(True for _ in arrays(entries[name]))]
    return next((names[0] for names in (known, others) if len(names) == 1), None)


def _says(parameter: Parameter, *words: str) -> bool:
    """Does the annotation of a parameter name one of these types?"""
    if parameter.annotation is Parameter.empty:
        return False
    text = str(getattr(parameter.annotation, "__name__", "")) + str(parameter.annotation)
    return any(word in text.lower() for word in words)
