"""Normalisations that modules of the user's do by a function: their settings, and flags that never change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnlint.facts import Computed, Layer, Setting
from bnlint.trace.hidden import plain
from bnlint.trace.layers import class_name
from bnlint.trace.modes import is_meant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from bnlint.facts import Answer3
    from bnlint.finding import Where
    from bnlint.trace.live import Live
    from bnlint.trace.seen import Application, Pass


def functions(live: Live, seen: Pass) -> Iterator[Layer]:
    """Normalisations that modules of the user's do by a function, with the settings of its call."""
    for owner, one in owned(live.model, [seen]):
        if live.known(owner) is not None:
            continue  # it is a layer, and these are its settings
        where = _inside(live, owner, one)
        settings = {"eps": one.eps, "momentum": one.momentum, "track_running_stats": one.tracked}
        yield Layer(
            class_name(owner),
            "batchnorm",
            where,
            {key: Setting(value, where) for key, value in settings.items()},
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
        if owner is None or id(owner) not in known or not (one.of_data and _has_statistics(one)):
            continue
        if not _is_torchs(owner):
            known.discard(id(owner))
            yield owner, one


def _has_statistics(one: Application) -> bool:
    """Are there statistics that last? An instance normalisation makes copies for one call."""
    if one.running_mean is None or one.keeps:
        return one.tracked
    return one.owner is not None and id(one.running_mean) in dict(plain(vars(one.owner)))


def _is_torchs(module: nn.Module) -> bool:
    """Is the forward of this module torch's own?"""
    return type(module).forward.__module__.startswith("torch.")


def _computed(live: Live, owner: nn.Module, one: Application, *, flag: bool, updated: Answer3) -> Computed:
    where = live.written(owner, None) if one.spot is None else _inside(live, owner, one)
    learned = [one.weight, getattr(one.module, "weight", None)]
    trained: Answer3 = (
        "yes" if any(tensor is not None and tensor.requires_grad for tensor in learned) else "no"
    )
    meant: Answer3 = "yes" if is_meant(live, owner) else "no"
    setting = Setting(flag, where)
    return Computed(class_name(owner), "functional", where, setting, "yes", updated, trained, meant)


def _inside(live: Live, owner: nn.Module, one: Application) -> Where:
    """The call of the function in the module's own code."""
    code = getattr(type(owner).forward, "__code__", None)
    if one.inner is not None and code is not None:
        return live.places.calling(one.inner, live.path(owner))
    return live.places.built(live.path(owner) or "")
