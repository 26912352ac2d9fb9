"""Tensors get their values, their storage, their gradients and their version back.

The values are copied once for each part of a storage that tensors cover, whoever shares it, and compared
as bytes: every type of number is treated alike, and a NaN is equal to itself.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.autograd.grad_mode import _unsafe_preserve_version_counter

from bnlint.trace.containers import Undo, keep_dict

WORD = 8
"""Bytes that are compared at once."""


class Storages:
    """The parts of storages that are kept already.

    The steps that put them back hold on to the storages, so that no other one gets the address of one.
    """

    def __init__(self) -> None:
        self._spans: dict[int, list[tuple[int, int]]] = {}

    def keep(self, tensor: Tensor) -> list[Undo]:
        """The bytes that a strided tensor covers, unless they are kept already or there are none."""
        storage = tensor.untyped_storage()
        if not tensor.numel() or not _holds_bytes(storage):
            return []
        last = sum((size - 1) * step for size, step in zip(tensor.size(), tensor.stride(), strict=True))
        begin = int(tensor.storage_offset()) * tensor.element_size()
        end = begin + (last + 1) * tensor.element_size()
        spans = self._spans.setdefault(storage._cdata, [])  # noqa: SLF001  # the identity of a storage
        if any(first <= begin and end <= end_of_it for first, end_of_it in spans):
            return []
        spans.append((begin, end))
        return [_keep_bytes(storage, begin, end)]


def _holds_bytes(storage: torch.UntypedStorage) -> bool:
    """Are there bytes that can be read? Those of the meta device and of wrappers are not there."""
    try:
        return storage.nbytes() > 0 and storage.device.type != "meta" and storage.data_ptr() != 0
    except RuntimeError:
        return False


def _keep_bytes(storage: torch.UntypedStorage, begin: int, end: int) -> Undo:
    """The bytes from `begin` to `end`; widened to whole words, which are compared faster."""
    begin -= begin % WORD
    length = storage.nbytes()
    end = min(end + -end % WORD, length)
    before = _words(storage, begin, end)
    copies = [words.clone() for words in before]

    def undo() -> None:
        if storage.nbytes() != length:
            storage.resize_(length)
        for words, copy in zip(_words(storage, begin, end), copies, strict=True):
            if not torch.equal(words, copy):
                words.copy_(copy)

    return undo


def _words(storage: torch.UntypedStorage, begin: int, end: int) -> list[Tensor]:
    """The bytes as tensors of the storage's device: as words, and those that are left over."""
    data = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)[begin:end]
    whole = data.numel() - data.numel() % WORD
    parts = (data[:whole].view(torch.int64), data[whole:])
    return [part for part in parts if part.numel()]


def keep_tensor(tensor: Tensor, storages: Storages) -> list[Undo]:
    """All of a tensor but its gradient's own values, which are those of another tensor.

    To be called, and undone, without function modes, grad mode and inference mode. A tensor whose values
    cannot be reached (on the meta device, of an opaque layout, nested) keeps all the rest; one of a class
    that knows few operations is left to what its attributes hold.
    """
    try:
        alias, shape = tensor.data, _geometry(tensor)
    except (RuntimeError, TypeError):
        return []
    cls, required, leaf, grad = type(tensor), tensor.requires_grad, tensor.is_leaf, gradient(tensor)
    version = None if tensor.is_inference() else _unsafe_preserve_version_counter(tensor)

    def undo() -> None:
        if type(tensor) is not cls:
            tensor.__class__ = cls
        if shape is None or _geometry(tensor) != shape:
            tensor.data = alias
        if leaf and not tensor.is_leaf:
            with suppress(RuntimeError):  # a view cannot leave its base's graph
                tensor.detach_()
        if leaf and tensor.is_leaf and tensor.requires_grad != required:
            tensor.requires_grad_(required)
        if gradient(tensor) is not grad:
            tensor.grad = grad

    def rewind() -> None:
        if version is not None:
            version.__exit__()

    return [rewind, *_hooks(tensor), *(step for part in _parts(tensor) for step in storages.keep(part)), undo]


def gradient(tensor: Tensor) -> Tensor | None:
    """`tensor.grad`, without the warning where there can be none."""
    return tensor.grad if tensor.is_leaf or tensor.retains_grad else None


def _hooks(tensor: Tensor) -> list[Undo]:
    """The tensor's own backward hooks."""
    found = [
        (name, getattr(tensor, name, None)) for name in ("_backward_hooks", "_post_accumulate_grad_hooks")
    ]

    def undo() -> None:
        for name, hooks in found:
            if getattr(tensor, name, None) is not hooks:
                setattr(tensor, name, hooks)

    return [undo, *(keep_dict(hooks) for _, hooks in found if hooks is not None)]


def _geometry(tensor: Tensor) -> tuple[object, ...] | None:
    """Where in which storage the tensor lies and how it is read; None where it has no storage of its own."""
    if tensor.layout is not torch.strided or tensor.is_nested or hasattr(tensor, "__tensor_flatten__"):
        return None
    return (
        tensor.untyped_storage()._cdata,  # noqa: SLF001  # the identity of a storage
        tensor.storage_offset(),
        tensor.size(),
        tensor.stride(),
        tensor.dtype,
        tensor.device,
    )


def _parts(tensor: Any) -> list[Tensor]:
    """The strided tensors that hold the values: mostly the tensor itself."""
    if hasattr(tensor, "__tensor_flatten__"):
        return [part for name in tensor.__tensor_flatten__()[0] for part in _parts(getattr(tensor, name))]
    if tensor.layout is torch.strided and not tensor.is_nested:
        return [tensor]
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]  # noqa: SLF001  # the public ones want it coalesced
    if tensor.layout in {torch.sparse_csr, torch.sparse_bsr}:
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in {torch.sparse_csc, torch.sparse_bsc}:
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return []
