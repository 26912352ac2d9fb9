"""Which layer mixes the samples of a batch in eval mode where no function of torch does."""

from __future__ import annotations

import re
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

NAME: Final = re.compile(r"batch_?norm|(^|_)bn|normali[sz]", re.IGNORECASE)


def suspects(model: nn.Module, call: Callable[[Batch], Any], batch: Batch, single: Batch) -> list[nn.Module]:
    """The modules that normalise by the batch in eval mode: with a scale, and a name that says so.

    `single` is the first sample of `batch`, alone.
    """
    whole, alone = (_outputs(model, partial(call, one)) for one in (batch, single))
    found = []
    for module in model.modules():
        one, other = whole.get(id(module)), alone.get(id(module))
        if one is None or other is None or not _normalises(module):
            continue
        if _apart(one[0], other[0]) <= LIMIT < _apart(one[1], other[1]):
            found.append(module)
    return found


def _normalises(module: nn.Module) -> bool:
    """Has it a scale or a shift for each channel, and no layers inside?"""
    own = list(module.parameters(recurse=False))
    vectors = own and all(sum(size > 1 for size in one.shape) <= 1 for one in own)
    ours = not type(module).__module__.startswith("torch.")
    return bool(vectors) and ours and not list(module.children()) and bool(NAME.search(type(module).__name__))


def _outputs(model: nn.Module, run: Callable[[], Any]) -> dict[int, tuple[Tensor, Tensor]]:
    """What goes into each module and comes out of it for the first sample, at its first call."""
    found: dict[int, tuple[Tensor, Tensor]] = {}
    known = {id(module) for module in model.modules()}

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if id(module) in known and id(module) not in found and args:
            x = args[0]
            if isinstance(x, Tensor) and isinstance(output, Tensor) and x.dim() and output.dim():
                found[id(module)] = (x[:1].detach().clone(), output[:1].detach().clone())

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
