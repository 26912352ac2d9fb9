"""How a batch reaches a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import parallel
from torch.nn.modules import module as modules

from bnlint.trace.arguments import CannotTellError, arguments
from bnlint.trace.batches import Batch
from bnlint.trace.containers import put_back
from bnlint.trace.keeper import Keeper, unseen
from bnlint.trace.signature import Forward, forward_of
from bnlint.trace.structure import arrays, fields, is_array, rebuilt, structure

CALLING: Final = (modules.__file__, os.path.dirname(parallel.__file__))
"""Where torch calls a forward: an error from there is one of the call itself."""

NUMBERS: Final = "biufc"
"""The kinds of numpy's types that torch has as well."""


class CannotCallError(TypeError):
    """bnlint cannot tell how the model takes a batch; its text says what was seen, and what to do."""


def caller(
    model: nn.Module, forward: Callable[[nn.Module, Any], Any] | None = None
) -> Callable[[Batch], Any]:
    """A function that gives a batch to the model and returns what the model answers.

    With `forward` that is `forward(model, batch)`. Without, a tensor and the first of `(inputs, targets)`
    are the first argument, entries of a dict or a record are arguments by their names, and several inputs
    are as many arguments as the model's forward takes. They are moved to the model's device, and arrays of
    numpy become tensors. The function raises `CannotCallError` where the batch does not fit the model's
    forward; whatever the model raises comes out as it is. What either does to the batch, in place, is undone:
    it can be given again.
    """
    call = partial(_call, model, forward_of(model)) if forward is None else partial(_call_by, forward, model)

    def called(batch: Batch) -> Any:
        with _lent(batch.value):
            return call(batch)

    return called


def _call_by(forward: Callable[[nn.Module, Any], Any], model: nn.Module, batch: Batch) -> Any:
    return forward(model, batch.value)


@contextmanager
def _lent(value: object) -> Iterator[None]:
    """What the user's code does to a batch is undone."""
    keeper = Keeper()
    with unseen():
        keeper.keep(value)
    try:
        yield
    finally:
        with unseen():
            problems = put_back(keeper.steps)
        if problems:
            raise problems[0]


def _call(model: nn.Module, forward: Forward, batch: Batch) -> Any:
    try:
        args, kwargs = arguments(forward, batch)
    except CannotTellError:
        raise CannotCallError(_advice(forward, batch)) from None
    args, kwargs = _moved((args, kwargs), _device(model))
    try:
        return model(*args, **kwargs)
    except (TypeError, NotImplementedError) as problem:  # the latter from a model without a forward
        if _is_binding(problem.__traceback__):
            raise CannotCallError(_advice(forward, batch)) from problem
        raise


def _is_binding(traceback: TracebackType | None) -> bool:
    """Was forward never entered? Then the traceback goes no further than torch's way of calling it."""
    inner = traceback.tb_next if traceback is not None else None
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(CALLING):
        inner = inner.tb_next
    return inner is None


def _advice(forward: Forward, batch: Batch) -> str:
    value = batch.value
    first = next(iter(fields(value)), "…")
    if isinstance(value, Mapping):
        entry = f'batch["{first}"]'
    else:
        entry = (
            f"batch.{first}" if fields(value) else "batch[0]" if isinstance(value, (list, tuple)) else "batch"
        )
    return (
        f"bnlint cannot tell how {forward} takes {structure(value)}.\n"
        f"Pass a function that calls it, for example forward=lambda model, batch: model({entry})."
    )


def _device(model: nn.Module) -> torch.device | None:
    """The device of the first parameter or buffer; None where nothing can be moved to one."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return None if first is None or first.device.type == "meta" else first.device


def _moved(value: Any, device: torch.device | None) -> Any:
    """The same structure of new containers, with tensors on the device."""
    if isinstance(value, Tensor):
        return value if device is None or value.device == device else value.to(device)
    if is_array(value):
        return _moved(torch.from_numpy(value.copy()), device) if value.dtype.kind in NUMBERS else value
    new = rebuilt(value, partial(_moved, device=device))
    if new is value and device is not None and hasattr(value, "to"):  # a packed sequence, a batch of graphs
        tensors = [array for array in arrays(value) if isinstance(array, Tensor)]
        return value if all(one.device == device for one in tensors) else copy(value).to(device)
    return new
