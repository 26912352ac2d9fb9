"""Whether the running statistics of a live model are in its `state_dict()`, and come back from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bnlint.facts import Lacking, Unsaved
from bnlint.trace.hidden import plain_statistics
from bnlint.trace.layers import class_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.trace.live import Live
    from bnlint.trace.seen import Pass


def unsaved(live: Live, passes: list[Pass]) -> Iterator[Unsaved]:
    """Statistics in plain attributes, or in buffers that are not persistent."""
    for module, names, how in plain_statistics(live, passes):
        where = live.places.attribute(module, live.path(module) or "", names[0])
        yield Unsaved(
            where, class_name(module), names, "attributes" if how == "attributes" else "not persistent", "yes"
        )


def lacking(live: Live) -> Iterator[Lacking]:
    """Layers whose statistics `state_dict()` leaves out, or `load_state_dict()` does not bring back."""
    state = live.model.state_dict(keep_vars=True)
    held = {tensor.data_ptr() for tensor in state.values() if isinstance(tensor, Tensor)}
    for norm in live.norms.values():
        names = tuple(name for name, buffer in norm.buffers.items() if buffer.data_ptr() not in held)
        if names and all(buffer.numel() for buffer in norm.buffers.values()):
            yield Lacking(live.norm(norm.module), f"`state_dict()` of `{live.name}`", names)
    if _loads_by_itself(live.model):
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
    kept = {norm.path: norm.var for norm in live.norms.values() if "running_var" in norm.buffers}
    with torch.no_grad():
        for variance in kept.values():
            assert variance is not None
            variance.fill_(-1.0)
    try:
        live.model.load_state_dict(saved)
    except Exception:  # what cannot be loaded so says it to its user
        return
    for path, variance in kept.items():
        name = f"{path}.running_var" if path else "running_var"
        if name in saved and variance is not None and bool(variance.eq(-1.0).all()):
            norm = live.norm(live.norms[path].module)
            yield Lacking(norm, "what `load_state_dict()` lets through", ("running_var",), f"`{live.name}`")
