"""In which mode each BatchNorm ran: missing evals, thawed layers, fixed flags, layers out of sight."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from torch import Tensor, nn

from bnlint.facts import Computed, Forward, Layer, Setting, Thaw, Unregistered, Untracked
from bnlint.finding import Step
from bnlint.trace.layers import class_name, is_batchnorm, is_initial, is_trained, takes_gradients, tensors
from bnlint.trace.locate import called

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bnlint.facts import Answer3
    from bnlint.finding import Where
    from bnlint.trace.live import Live
    from bnlint.trace.oracles import Invariance
    from bnlint.trace.record import Application, Pass

ON_PURPOSE: Final = re.compile(
    r"frozen|freeze|adapt|tent|few.?shot|proto|maml|meta|style|adain|domain|test.?time|stochastic|ghost",
    re.IGNORECASE,
)
"""Names of classes that fix their mode, or do without statistics, on purpose."""


def ran(live: Live, seen: Pass) -> dict[int, list[Application]]:
    """The applications of each BatchNorm layer of the model to data."""
    found: dict[int, list[Application]] = {}
    for one in seen.applications:
        if one.of_data and is_batchnorm(one.module) and live.path(one.module) is not None:
            found.setdefault(id(one.module), []).append(one)
    return found


def forwards(
    live: Live, seen: Pass, scripted: frozenset[int], oracle: Invariance | None
) -> Iterator[Forward]:
    """The layers that run in train mode where the model is evaluated, and what that does to its answers."""
    applied = ran(live, seen)
    for module in live.norms.values():
        by_batch = any(one.training and one.tracked and one.asked for one in applied.get(id(module), ()))
        if by_batch or id(module) in scripted:
            layer = live.norm(module)
            fact = Forward(live.name, layer.where, "evaluation", frozenset({"train"}), "yes", layer=layer)
            if oracle is not None:
                fact = replace(fact, measured=oracle.measured, answers=(oracle.together, oracle.alone))
            yield fact


def functions(live: Live, seen: Pass) -> Iterator[Layer]:
    """Normalisations that modules of the user's do by a function, with the settings of its call."""
    for owner, one in owned(live.model, [seen]):
        where = _inside(live, owner, one)
        settings = {"eps": one.eps, "momentum": one.momentum, "track_running_stats": one.tracked}
        yield Layer(
            class_name(owner),
            "batchnorm",
            where,
            {key: Setting(value, where) for key, value in settings.items()},
        )


def untracked(live: Live, seen: Pass, *, evaluated: bool) -> Iterator[Untracked]:
    """Layers without statistics in a model that is evaluated, or with some that training leaves behind."""
    for several in ran(live, seen).values():
        module = several[0].module
        assert module is not None
        if getattr(module, "track_running_stats", True):
            continue
        where = live.norm(module).where
        meant: Answer3 = "yes" if _is_meant(live, module) else "no"
        has_statistics = any(True for _ in tensors(module, "running_mean", "running_var"))
        left_behind = several[0].training or (is_trained(module) and is_initial(module))
        if has_statistics and left_behind:
            yield Untracked(where, live.name, "flipped", "yes", meant)
        elif not has_statistics and evaluated and several[0].training:
            yield Untracked(where, live.name, "built", "unknown", meant)


def _is_meant(live: Live, module: nn.Module) -> bool:
    """Does a name around the layer say that it is so on purpose?"""
    path = live.path(module) or ""
    names = [live.name, class_name(module), path]
    parents = path.split(".")[:-1]
    holder: Any = live.model
    for part in parents:
        holder = getattr(holder, part, None)
        names.append(type(holder).__name__)
    return any(ON_PURPOSE.search(name) for name in names)


def thaws(live: Live, seen: Pass) -> Iterator[Thaw]:
    """Layers without a trainable parameter that train in train mode."""
    for several in ran(live, seen).values():
        module = several[0].module
        assert module is not None
        if not any(True for _ in tensors(module, "weight", "bias")) or takes_gradients(module):
            continue
        moving = [one for one in several if one.training and one.tracked]
        if any(one.grad for one in moving) or (moving and not _has_twin(live, module)):
            where = live.norm(module).where
            since = Step(where, "its scale and its shift take no gradients")
            yield Thaw(where, live.name, "parameters", since, "yes")


def _has_twin(live: Live, module: nn.Module) -> bool:
    """Is the frozen part around a layer a copy of one that learns, as a teacher or a key encoder is?"""
    path = live.path(module) or ""
    whole = path
    while whole and not any(one.requires_grad for one in live.model.get_submodule(whole).parameters()):
        path, whole = whole, whole.rpartition(".")[0]
    part = live.model.get_submodule(path)
    shapes = [one.shape for one in part.parameters()]
    return any(
        type(other) is type(part)
        and other is not part
        and [one.shape for one in other.parameters()] == shapes
        for other in live.model.modules()
        if any(one.requires_grad for one in other.parameters())
    )


def computed(live: Live, trained: Pass | None, evaluated: Pass | None) -> Iterator[Computed]:
    """Normalisations whose flag is the same in both modes."""
    if evaluated is not None:
        for owner, one in owned(live.model, [evaluated]):
            if one.training and not one.asked:
                yield _computed(live, owner, one, flag=True, updated="yes")
    if trained is not None:
        for owner, one in owned(live.model, [trained]):
            if not one.training and one.asked:
                yield _computed(live, owner, one, flag=False, updated="no")


def owned(model: nn.Module, passes: list[Pass]) -> Iterator[tuple[nn.Module, Application]]:
    """What modules of the user's normalise by a function, with running statistics; once for each module."""
    known = {id(module) for module in model.modules()}
    for one in (one for seen in passes for one in seen.applications):
        owner = one.owner
        if owner is not None and id(owner) in known and one.of_data and one.tracked and not _is_torchs(owner):
            known.discard(id(owner))
            yield owner, one


def _is_torchs(module: nn.Module) -> bool:
    """Is the forward of this module torch's own?"""
    return type(module).forward.__module__.startswith("torch.")


def _computed(live: Live, owner: nn.Module, one: Application, *, flag: bool, updated: Answer3) -> Computed:
    where = live.written(owner, None) if one.spot is None else _inside(live, owner, one)
    learned = one.weight if one.module is None else getattr(one.module, "weight", None)
    trained: Answer3 = "yes" if learned is not None and learned.requires_grad else "no"
    meant: Answer3 = "yes" if _is_meant(live, owner) else "no"
    setting = Setting(flag, where)
    return Computed(class_name(owner), "functional", where, setting, "yes", updated, trained, meant)


def _inside(live: Live, owner: nn.Module, one: Application) -> Where:
    """The call of the function in the module's own code."""
    code = getattr(type(owner).forward, "__code__", None)
    if one.inner is not None and code is not None:
        return called(one.inner, live.path(owner))
    return live.places.built(live.path(owner) or "")


# layers that the model does not know


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
            where = live.places.check if one.spot is None else called(one.spot)
            how: Literal["forward", "closure"] = "forward" if len(places[one.spot]) > 1 else "closure"
            yield Unregistered(live.layer_at(one.module, where), _owner(live, one), how)


def _owner(live: Live, one: Application) -> str:
    code = one.spot.code if one.spot is not None else None
    for module in live.model.modules():
        if getattr(type(module).forward, "__code__", None) is code:
            return class_name(module)
    return live.name


def _holder(model: nn.Module, wanted: nn.Module) -> tuple[nn.Module, str, Any] | None:
    """The module whose attribute holds a layer in a list, tuple or dict; the path there, and in what."""
    for module in model.modules():
        for name, value in vars(module).items():
            if name.startswith("_") and name in nn.Module().__dict__:
                continue
            if (found := _held(value, name, wanted, 3)) is not None:
                return module, *found
    return None


def _held(value: Any, path: str, wanted: nn.Module, depth: int) -> tuple[str, str] | None:
    if depth == 0 or not isinstance(value, (list, tuple, dict)):
        return None
    kind = next(
        name
        for name in ("list", "tuple", "dict")
        if isinstance(value, {"list": list, "tuple": tuple, "dict": dict}[name])
    )
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in pairs:
        if isinstance(one, nn.Module):
            for inner, module in one.named_modules():
                if module is wanted:
                    return f"{path}.{key}" + (f".{inner}" if inner else ""), kind
        elif (found := _held(one, f"{path}.{key}", wanted, depth - 1)) is not None:
            return found
    return None


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
        names = dict(_plain(vars(one.owner)))
        mean, variance = names.get(id(one.running_mean)), names.get(id(one.running_var))
        if mean and variance and live.path(one.owner) is not None:
            yield one.owner, (mean, variance), "attributes"


def _plain(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[int, str]]:
    """The tensors in attributes, also those in lists and dicts, by identity, and their names."""
    for name, value in values.items():
        if isinstance(value, Tensor):
            yield id(value), f"{prefix}{name}"
        elif isinstance(value, dict) and not name.startswith("_"):
            yield from _plain({str(key): one for key, one in value.items()}, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            yield from _plain({str(key): one for key, one in enumerate(value)}, f"{prefix}{name}.")


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
