"""Whether the running statistics of a live model are in its `state_dict()`, and come back from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bnlint.facts import Lacking, Unsaved
from bnlint.trace.hidden import plain_statistics
from bnlint.trace.layers import class_name, tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.trace.live import Live
    from bnlint.trace.seen import Pass

STATISTICS = ("running_mean", "running_var")


def unsaved(live: Live, passes: list[Pass]) -> Iterator[Unsaved]:
    """Statistics in plain attributes, or in buffers that are not persistent."""
    for module, names, how in plain_statistics(live, passes):
        where = live.places.built(live.path(module) or "")
        yield Unsaved(
            where, class_name(module), names, "attributes" if how == "attributes" else "not persistent", "yes"
        )


def lacking(live: Live) -> Iterator[Lacking]:
    """Layers whose statistics `state_dict()` leaves out, or `load_state_dict()` does not bring back."""
    state = live.model.state_dict(keep_vars=True)
    held = {tensor.data_ptr() for tensor in state.values() if isinstance(tensor, Tensor)}
    hooked = _loads_by_itself(live.model)
    for module in live.norms.values():
        hidden = module._non_persistent_buffers_set  # noqa: SLF001
        own = {name: getattr(module, name, None) for name in STATISTICS}
        buffers = {
            name: tensor for name, tensor in own.items() if isinstance(tensor, Tensor) and name not in hidden
        }
        names = tuple(name for name, tensor in buffers.items() if tensor.data_ptr() not in held)
        if names and all(tensor.numel() for tensor in buffers.values()):
            yield Lacking(live.norm(module), f"`state_dict()` of `{live.name}`", names)
    if hooked:
        yield from _not_restored(live, state)


def _loads_by_itself(model: nn.Module) -> bool:
    """Does a class of the user's decide what is loaded?"""
    return any(
        type(module).load_state_dict is not nn.Module.load_state_dict
        or not type(module)._load_from_state_dict.__module__.startswith("torch.")  # noqa: SLF001
        for module in model.modules()
    )


def _not_restored(live: Live, state: dict[str, Tensor]) -> Iterator[Lacking]:
    """Layers whose statistics are not the saved ones after they were loaded again."""
    saved = {key: tensor.detach().clone() for key, tensor in state.items() if isinstance(tensor, Tensor)}
    kept = {
        path: variance for path, module in live.norms.items() for variance in tensors(module, "running_var")
    }
    with torch.no_grad():
        for variance in kept.values():
            variance.fill_(-1.0)
    try:
        live.model.load_state_dict(saved)
    except Exception:  # what cannot be loaded so says it to its user
        return
    for path, variance in kept.items():
        name = f"{path}.running_var" if path else "running_var"
        if name in saved and bool(variance.eq(-1.0).all()):
            norm = live.norm(live.norms[path])
            yield Lacking(norm, "what `load_state_dict()` lets through", ("running_var",), f"`{live.name}`")
