"""Which layer mixes the samples of a batch in eval mode where no function of torch does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from bnlint.facts import Answer3, Computed, Setting
from bnlint.trace.layers import class_name
from bnlint.trace.modes import ON_PURPOSE
from bnlint.trace.oracles import LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bnlint.trace.batches import Batch
    from bnlint.trace.live import Live

NEAR: Final = 0.05
"""How near moments are to what a layer has learned: eps takes a little away."""


@dataclass(frozen=True, slots=True)
class _Ran:
    """One call of a module: what goes in and comes out for the first sample, and the moments of channels."""

    before: Tensor
    after: Tensor
    mean: Tensor
    deviation: Tensor


def suspects(model: nn.Module, call: Callable[[Batch], Any], batch: Batch, single: Batch) -> list[nn.Module]:
    """The modules that normalise by the batch in eval mode: they give it moments that they have learned.

    `single` is the first sample of `batch`, alone.
    """
    whole, alone = (_calls(model, partial(call, one)) for one in (batch, single))
    found = []
    for module in model.modules():
        one, other = whole.get(id(module)), alone.get(id(module))
        if one is None or other is None or not _normalises(module, one):
            continue
        if _apart(one.before, other.before) <= LIMIT < _apart(one.after, other.after):
            found.append(module)
    return found


def _normalises(module: nn.Module, ran: _Ran) -> bool:
    """Is it a layer of the user's that gives each channel the mean and the deviation that it has learned?"""
    own = [one.detach().flatten().float() for one in module.parameters(recurse=False)]
    if type(module).__module__.startswith("torch.") or list(module.children()):
        return False
    vectors = [one for one in own if one.shape == ran.mean.shape]
    scaled = any(torch.allclose(ran.deviation, one.abs(), rtol=NEAR, atol=NEAR) for one in vectors)
    shifted = any(torch.allclose(ran.mean, one, rtol=NEAR, atol=NEAR) for one in vectors)
    return scaled and shifted


def _calls(model: nn.Module, run: Callable[[], Any]) -> dict[int, _Ran]:
    """The first call of each module that has a scale and a shift."""
    found: dict[int, _Ran] = {}
    known = {id(module) for module in model.modules() if len(list(module.parameters(recurse=False))) > 1}

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if id(module) in known and id(module) not in found and args:
            x = args[0]
            if isinstance(x, Tensor) and isinstance(output, Tensor) and x.dim() and output.dim() > 1:
                values = output.detach().float().transpose(0, 1).flatten(1)
                moments = values.mean(1), values.std(1, unbiased=False)
                found[id(module)] = _Ran(x[:1].detach().clone(), output[:1].detach().clone(), *moments)

    handle = hooks.register_module_forward_hook(after)
    try:
        with torch.no_grad():
            run()
    except Exception:
        return {}
    finally:
        handle.remove()
    return found


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest distance, in deviations of the values."""
    if one.shape != other.shape or not one.is_floating_point():
        return 0.0
    return float((one.float() - other.float()).abs().max()) / (float(one.float().std(unbiased=False)) or 1.0)


def computed(live: Live, found: list[nn.Module], measured: Mapping[str, float] | None) -> Iterator[Computed]:
    """Them as facts; `measured` is how much a sample's answer depends on its batch."""
    for module in found:
        path = live.path(module)
        if path is None:
            continue
        name, where = class_name(module), live.places.built(path)
        tracked = any("running" in key or "moving" in key for key, _ in module.named_buffers())
        statistics: Answer3 = "yes" if tracked else "no"
        meant: Answer3 = "yes" if any(map(ON_PURPOSE.search, (name, live.name))) else "no"
        always = Setting(value=True, where=where)
        yield Computed(
            name, "handwritten", where, always, statistics, "unknown", "yes", meant, measured=measured
        )
