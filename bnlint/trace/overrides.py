"""Whether `eval()` of a live model reaches its BatchNorm layers, and which override is in its way."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import nn

from bnlint.facts import Override
from bnlint.finding import Where
from bnlint.trace.layers import class_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.trace.live import Live


def set_mode(model: nn.Module, *, training: bool) -> None:
    """Put each module into a mode, whatever its `train` does."""
    for module in model.modules():
        module.training = training


@dataclass(frozen=True, slots=True)
class Reach:
    """What `eval()` of a model does.

    `left` are the layers that it leaves in train mode; `switches_on` says whether it puts layers into train
    mode itself, `returns_nothing` whether the module is lost.
    """

    left: frozenset[int]
    switches_on: bool
    returns_nothing: bool


def reach(live: Live) -> Reach:
    """Try `eval()` from either mode. The modes are other ones afterwards."""
    set_mode(live.model, training=True)
    came = live.model.eval()
    left = frozenset(id(module) for module in live.norms.values() if module.training)
    set_mode(live.model, training=False)
    live.model.eval()
    return Reach(left, any(module.training for module in live.norms.values()), came is None)


def overrides(live: Live, found: Reach) -> Iterator[Override]:
    """The overrides that keep `eval()` from the layers, or lose the module; each once."""
    done: set[type] = set()
    for path, module in live.norms.items():
        if id(module) not in found.left:
            continue
        holder = next((one for one in _upwards(live.model, path) if _replaced(one[1])), None)
        if holder is not None and type(holder[1]) not in done:
            done.add(type(holder[1]))
            yield _override(live, *holder, reaches=found.switches_on, honours=not found.switches_on)
    if found.returns_nothing and type(live.model) not in done and _replaced(live.model):
        yield _override(live, "", live.model, nothing=True)


def _override(
    live: Live,
    path: str,
    module: nn.Module,
    *,
    reaches: bool = True,
    honours: bool = True,
    nothing: bool = False,
) -> Override:
    method = _replaced(module)
    assert method is not None
    return Override(
        class_name(module),
        method,
        _defined(module, method, path, live),
        returns="nothing" if nothing else "unknown",
        reaches="yes" if reaches else "no",
        honours="yes" if honours else "no",
        batchnorm="yes",
    )


def _upwards(model: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """A module and all around it, innermost first."""
    parts = path.split(".") if path else []
    for depth in range(len(parts), -1, -1):
        inner = ".".join(parts[:depth])
        yield inner, model.get_submodule(inner)


def _replaced(module: nn.Module) -> Literal["train", "eval"] | None:
    """The method by which a class replaces torch's way to set the mode."""
    if type(module).train is not nn.Module.train:
        return "train"
    return "eval" if type(module).eval is not nn.Module.eval else None


def _defined(module: nn.Module, method: str, path: str, live: Live) -> Where:
    """The line that defines the method."""
    function = inspect.unwrap(getattr(type(module), method))
    code = getattr(function, "__code__", None)
    if code is None:
        return live.places.built(path)
    return Where(code.co_filename, code.co_firstlineno, module=path or None)
