"""In which mode each BatchNorm ran: missing evals, thawed layers, fixed flags, layers out of sight."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bnlint.facts import Forward, Thaw, Untracked
from bnlint.finding import Step
from bnlint.trace.layers import class_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from bnlint.facts import Answer3
    from bnlint.trace.live import Live
    from bnlint.trace.oracles import Invariance
    from bnlint.trace.seen import Application, Pass

ON_PURPOSE: Final = re.compile(
    r"frozen|freeze|adapt|tent|few.?shot|proto|maml|meta|style|adain|domain|test.?time|stochastic|ghost",
    re.IGNORECASE,
)
"""Names of classes that fix their mode, or do without statistics, on purpose."""


def ran(live: Live, seen: Pass) -> dict[int, list[Application]]:
    """The applications of each BatchNorm layer of the model to data."""
    found: dict[int, list[Application]] = {}
    for one in seen.applications:
        if one.of_data and live.known(one.module) is not None:
            found.setdefault(id(one.module), []).append(one)
    return found


def forwards(
    live: Live, seen: Pass, scripted: frozenset[int], oracle: Invariance | None
) -> Iterator[Forward]:
    """The layers that run in train mode where the model is evaluated, and what that does to its answers."""
    applied = ran(live, seen)
    nothing: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    answers = nothing if oracle is None else (oracle.together, oracle.alone)
    for norm in live.norms.values():
        several = applied.get(id(norm.module), ())
        by_batch = any(one.training and one.tracked and one.asked for one in several)
        if by_batch or id(norm.module) in scripted:
            layer = live.norm(norm.module)
            fact = Forward(live.name, layer.where, "evaluation", frozenset({"train"}), "yes", layer=layer)
            if oracle is not None:
                fact = replace(fact, measured=oracle.measured, answers=answers)
            yield fact
            answers = nothing  # they are those of the model, and shown once


def untracked(live: Live, seen: Pass, *, evaluated: bool) -> Iterator[Untracked]:
    """Layers without statistics in a model that is evaluated, or with some that training leaves behind."""
    applied = ran(live, seen)
    for norm in live.norms.values():
        several = applied.get(id(norm.module), [])
        if norm.tracks or not several:
            continue
        where = live.norm(norm.module).where
        meant: Answer3 = "yes" if is_meant(live, norm.module) else "no"
        by_batch = several[0].training
        if norm.mean is not None and (by_batch or (norm.trained == "yes" and norm.is_initial)):
            yield Untracked(where, live.name, "flipped", "yes", meant)
        elif norm.mean is None and evaluated and by_batch:
            yield Untracked(where, live.name, "built", "unknown", meant)


def is_meant(live: Live, module: nn.Module) -> bool:
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
    applied = ran(live, seen)
    for norm in live.norms.values():
        moving = [one for one in applied.get(id(norm.module), ()) if one.training and one.tracked]
        if not moving or not norm.parameters or norm.takes_gradients:
            continue
        if any(one.grad for one in moving) or not _has_twin(live, norm.module):
            where = live.norm(norm.module).where
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
