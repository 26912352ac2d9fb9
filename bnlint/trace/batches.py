"""Where batches come from, and the first few of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sized
from copy import copy
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from bnlint.facts import Answer3
from bnlint.trace.structure import are_samples, arrays, article, fields, is_array, is_record, is_samples

TARGETS: Final = ("label", "labels", "target", "targets", "y")
"""The names under which a batch holds what the model is to answer."""


class LoaderError(TypeError):
    """What was passed as a loader gives no batches."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the loader gave it, and its parts.

    `inputs` is what the model takes: the first of a tuple or list; a list of samples, a dict, a record or a
    tensor itself. `targets` is the second of two, or an entry with such a name, else None. `size` is the
    number of samples, the leading dimension of the first tensor in `inputs`, None where there is none.
    """

    value: Any
    inputs: Any
    targets: Any
    size: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """What a loader says of itself before it gives any batch; None is what it does not say.

    `samples` is the size of its full batches, `length` the number of all samples, `batches` that of all
    batches; `sizes` has the size of each batch where all of them are in memory. What is taken from a loader
    that `consumes` cannot be put back. `name` is its class.
    """

    name: str
    samples: int | None = None
    length: int | None = None
    drop_last: bool = False
    shuffled: Answer3 = "unknown"
    batches: int | None = None
    sizes: tuple[int | None, ...] = ()
    consumes: bool = False


def batch(value: Any) -> Batch:
    """A batch and its parts, from what a loader gave."""
    inputs, targets = _inputs(value), _targets(value)
    return Batch(value, inputs, targets, _size(inputs, targets))


def _inputs(value: Any) -> Any:
    listed = isinstance(value, (tuple, list)) and not is_record(value) and not is_samples(value)
    return value[0] if listed and value else value


def _targets(value: Any) -> Any:
    named = fields(value)
    for name in TARGETS:
        if name in named:
            return named[name]
    pair = isinstance(value, (tuple, list)) and len(value) == 2 and not is_samples(value)
    return value[1] if pair else None


def _size(inputs: Any, targets: Any) -> int | None:
    if isinstance(inputs, PackedSequence):
        return int(inputs.batch_sizes[0])
    if is_samples(inputs) or are_samples(inputs, targets):
        return len(inputs)
    return next((len(array) for array in arrays(inputs) if array.ndim), None)


def take(loader: object, most: int) -> Generator[Batch]:
    """The first batches of a loader, at most so many.

    Workers of a `DataLoader` are stopped when the iterator is closed; persistent ones, and the iterator that
    they feed, are left alone: others are started. Raises `LoaderError` if it is no loader, at once, or if it
    gives no batch, at the first one.
    """
    _require_loader(loader)
    return _taken(loader, most)


def _taken(loader: object, most: int) -> Generator[Batch]:
    source = _iterator(loader)
    empty = True
    try:
        for value in islice(source, most):
            empty = False
            yield batch(value)
        if empty and most > 0:
            raise LoaderError(f"the loader, {article(loader)}, is empty")
    finally:
        stop = getattr(source, "_shutdown_workers", None)
        if isinstance(loader, DataLoader) and stop is not None:
            stop()


def _iterator(loader: Any) -> Iterator[Any]:
    if is_one_batch(loader):
        return iter((loader,))
    if isinstance(loader, DataLoader) and loader.persistent_workers:
        loader = copy(loader)
        vars(loader).update(_iterator=None, persistent_workers=False)
    if hasattr(loader, "__iter__"):
        return iter(loader)
    return map(loader.__getitem__, range(len(loader)))


def is_one_batch(loader: object) -> bool:
    """Is it no loader but a batch: a tensor, a dict or record of tensors, or `(inputs, targets)`?

    Several tensors in a list or tuple are one batch if they have as many samples but differ in dimensions or
    type, and so is a tuple of which something holds no tensor at all.
    """
    if is_array(loader) or isinstance(loader, PackedSequence):
        return True
    if isinstance(loader, Mapping) or is_record(loader):
        return _holds_arrays(loader)
    if not isinstance(loader, (list, tuple)) or len(loader) < 2:
        return False
    if all(map(is_array, loader)):
        kinds = {(part.ndim, part.dtype) for part in loader}
        return len(kinds) > 1 and len({part.shape[:1] for part in loader}) == 1
    return isinstance(loader, tuple) and _holds_arrays(loader[0]) and not all(map(_holds_arrays, loader))


def _holds_arrays(value: object) -> bool:
    return any(True for _ in arrays(value))


def describe(loader: object) -> Source:
    """What is known of a loader without taking a batch from it. Raises `LoaderError` if it is none."""
    _require_loader(loader)
    if isinstance(loader, DataLoader):
        return _data_loader(loader)
    values = (loader,) if is_one_batch(loader) else loader
    if isinstance(values, (list, tuple)):
        sizes = tuple(batch(value).size for value in values)
        known = [size for size in sizes if size is not None]
        length = sum(known) if len(known) == len(sizes) else None
        return Source(_name(loader), None, length, shuffled="no", batches=len(sizes), sizes=sizes)
    samples = getattr(loader, "batch_size", None)
    return Source(
        _name(loader),
        samples if isinstance(samples, int) else None,
        drop_last=getattr(loader, "drop_last", False) is True,
        batches=_length(loader),
        consumes=hasattr(loader, "__next__") and iter(cast("Iterator[Any]", loader)) is loader,
    )


def refuse_samples(loader: object) -> None:
    """Raise `LoaderError` if this is a data set: what it gives are samples, where no layer takes them."""
    if isinstance(loader, Dataset):
        raise LoaderError(f"{_name(loader)} is a data set, which gives samples: pass a DataLoader of it")


def _require_loader(loader: object) -> None:
    advice = "pass a DataLoader, an iterable of batches, or one batch"
    never = isinstance(loader, (str, bytes, type, nn.Module, Mapping))
    gives = not never and (hasattr(loader, "__iter__") or _is_sequence(loader))
    if not gives and not is_one_batch(loader):
        raise LoaderError(f"{article(loader)} gives no batches: {advice}")


def _is_sequence(loader: object) -> bool:
    return hasattr(loader, "__getitem__") and hasattr(loader, "__len__")


def _name(loader: object) -> str:
    return type(loader).__name__


def _length(thing: object) -> int | None:
    """How many items it says it has, if it says so."""
    try:
        return len(cast("Sized", thing))
    except (TypeError, NotImplementedError, AttributeError):
        return None


def _data_loader(loader: DataLoader[Any]) -> Source:
    grouped = loader.batch_sampler is not None
    order: Any = loader.sampler
    samples: Any = loader.batch_size
    dropped: Any = loader.drop_last
    if grouped and samples is None:  # a batch sampler of the user's own
        order, samples, dropped = (
            getattr(loader.batch_sampler, name, None) for name in ("sampler", "batch_size", "drop_last")
        )
    samples, dropped = samples if isinstance(samples, int) else None, dropped is True
    if isinstance(loader.dataset, IterableDataset):
        length = _length(loader.dataset)  # asking the loader would leave a mark on it
        batches = _groups(length, samples if grouped else 1, dropped=dropped)
        shuffled: Answer3 = "unknown"
    else:
        length, batches, shuffled = _length(order), _length(loader), _shuffled(order)
    return Source(_name(loader), samples, length if grouped else None, dropped, shuffled, batches)


def _groups(length: int | None, samples: int | None, *, dropped: bool) -> int | None:
    """How many batches that makes."""
    if length is None or not samples:
        return None
    return length // samples if dropped else -(-length // samples)


def _shuffled(order: object) -> Answer3:
    if isinstance(order, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)):
        return "yes"
    if isinstance(order, (SequentialSampler, range, list, tuple)):
        return "no"
    shuffle = getattr(order, "shuffle", None)  # as that of DistributedSampler
    return "unknown" if not isinstance(shuffle, bool) else "yes" if shuffle else "no"
