"""What the model does not know of: layers that it has not registered, statistics that it does not save."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

from torch import Tensor, nn

from bnlint.facts import Unregistered
from bnlint.trace.layers import class_name, is_batchnorm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bnlint.trace.live import Live
    from bnlint.trace.seen import Application, Pass


def unregistered(live: Live, passes: list[Pass], *, ambient_grad: bool) -> Iterator[Unregistered]:
    """BatchNorm layers that run in train mode and are no part of the model."""
    found: dict[int, Application] = {}
    places: dict[Any, set[int]] = {}
    for seen in passes:
        for one in seen.applications:
            if one.of_data and one.tracked and is_batchnorm(one.module) and live.path(one.module) is None:
                places.setdefault(one.spot, set()).add(id(one.module))
                if one.training and (one.grad or not ambient_grad):
                    found.setdefault(id(one.module), one)
    anew: set[Any] = set()
    for one in found.values():
        assert one.module is not None
        holder = _holder(live.model, one.module)
        if holder is not None:
            owner, name, held = holder
            path = live.path(owner) or ""
            where = live.places.built(f"{path}.{name}" if path else name)
            yield Unregistered(live.layer_at(one.module, where), class_name(owner), held, where)
        elif one.spot not in anew:
            anew.add(one.spot)
            where = live.places.calling(one.spot)
            how: Literal["forward", "closure"] = "forward" if len(places[one.spot]) > 1 else "closure"
            yield Unregistered(live.layer_at(one.module, where), _owner(live, one), how)


def _owner(live: Live, one: Application) -> str:
    code = one.spot.code if one.spot is not None else None
    for module in live.model.modules():
        if getattr(type(module).forward, "__code__", None) is code:
            return class_name(module)
    return live.name


Held = Literal["list", "tuple", "dict", "object"]


def _holder(model: nn.Module, wanted: nn.Module) -> tuple[nn.Module, str, Held] | None:
    """The module whose attribute holds a layer in a list, tuple or dict; the path there, and in what."""
    for module in model.modules():
        for name, value in vars(module).items():
            if name.startswith("_") and name in nn.Module().__dict__:
                continue
            if (found := _held(value, name, wanted, 3)) is not None:
                return module, *found
    return None


def _held(value: Any, path: str, wanted: nn.Module, depth: int) -> tuple[str, Held] | None:
    """Where in a value that is no module a layer is, and what holds it."""
    if depth == 0 or isinstance(value, (nn.Module, Tensor, type)):
        return None
    how, parts = _parts(value)
    for key, one in parts:
        if isinstance(one, nn.Module):
            for inner, module in one.named_modules():
                if module is wanted:
                    return f"{path}.{key}" + (f".{inner}" if inner else ""), how
        elif (found := _held(one, f"{path}.{key}", wanted, depth - 1)) is not None:
            return found
    return None


def _parts(value: Any) -> tuple[Held, list[tuple[Any, Any]]]:
    """What a container, or an object of the user's, holds by name."""
    if isinstance(value, dict):
        return "dict", list(value.items())
    if isinstance(value, (list, tuple)):
        return ("list" if isinstance(value, list) else "tuple"), list(enumerate(value))
    own = getattr(value, "__dict__", None)
    return "object", list(own.items()) if isinstance(own, dict) and not callable(value) else []


def plain_statistics(live: Live, passes: list[Pass]) -> Iterator[tuple[nn.Module, tuple[str, str], str]]:
    """Modules with running statistics that `state_dict()` does not see: names, and how they are held."""
    called_ids = set().union(*(seen.called for seen in passes)) if passes else set()
    for module in live.model.modules():
        if id(module) not in called_ids:
            continue
        for how, held in (("attributes", _attributes(module)), ("not persistent", _hidden(module))):
            pair = _pair(held)
            if pair is not None:
                yield module, pair, how
    for one in (one for seen in passes for one in seen.applications if one.of_data and one.owner is not None):
        assert one.owner is not None
        names = dict(plain(vars(one.owner)))
        mean, variance = names.get(id(one.running_mean)), names.get(id(one.running_var))
        if mean and variance and live.path(one.owner) is not None:
            yield one.owner, (mean, variance), "attributes"


def plain(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[int, str]]:
    """The tensors in attributes, also those in lists and dicts, by identity, and their names."""
    for name, value in values.items():
        if isinstance(value, Tensor):
            yield id(value), f"{prefix}{name}"
        elif isinstance(value, dict) and not name.startswith("_"):
            yield from plain({str(key): one for key, one in value.items()}, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield from plain({str(key): one for key, one in enumerate(value)}, f"{prefix}{name}.")


MEAN: Final = re.compile(r"(running|moving|global|ema)_?(mean|avg|mu)$", re.IGNORECASE)
VARIANCE: Final = re.compile(r"(running|moving|global|ema)_?(var|variance|std|sigma)$", re.IGNORECASE)


def _pair(names: list[str]) -> tuple[str, str] | None:
    """The names of a running mean and a running variance among some."""
    mean = next((name for name in names if MEAN.search(name)), None)
    variance = next((name for name in names if VARIANCE.search(name)), None)
    return None if mean is None or variance is None else (mean, variance)


def _attributes(module: nn.Module) -> list[str]:
    return [name for name, value in vars(module).items() if isinstance(value, Tensor)]


def _hidden(module: nn.Module) -> list[str]:
    return list(module._non_persistent_buffers_set)  # noqa: SLF001
