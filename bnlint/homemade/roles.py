"""Which of a layer's tensors are its scale, its shift and its running statistics: found by what they do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from bnlint.homemade.batches import spread
from bnlint.homemade.specimen import Specimen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bnlint.homemade.build import Trial

MEAN: Final = re.compile(r"mean|mu(?![a-z])|avg|average|(?<![a-z])r?m$", re.IGNORECASE)
VARIANCE: Final = re.compile(r"var|std|sigma|sq|inv|(?<![a-z])r?v$", re.IGNORECASE)
STATISTIC: Final = re.compile(r"running|moving|ema|global|pop|avg|average|inference", re.IGNORECASE)
SCALE: Final = re.compile(r"gamma|weight|scale|(?<![a-z])g$", re.IGNORECASE)
SHIFT: Final = re.compile(r"beta|bias|shift|offset|(?<![a-z])b$", re.IGNORECASE)
SMALL: Final = 1e-6
"""Below this nothing has changed."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of the tensors; None where the layer has none.

    `idle` are parameters called as if they were a scale or a shift, which change nothing. `moves` are the
    statistics that train mode changes, `used` those that eval mode uses.
    """

    scale: str | None = None
    shift: str | None = None
    mean: str | None = None
    variance: str | None = None
    idle: tuple[str, ...] = ()
    moves: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()

    @property
    def statistics(self) -> tuple[str, ...]:
        """The statistics that there are."""
        return tuple(name for name in (self.mean, self.variance) if name is not None)


def roles(trial: Trial) -> Roles:
    """Find them."""
    channels = trial.plan.channels
    layer = trial.fresh()
    layer(trial.batch(0))
    before = layer.snapshot()
    layer(trial.batch(1))
    after = layer.snapshot()
    start = {**before, **trial.fresh().snapshot()}
    sized = [
        name for name, values in start.items() if values.is_floating_point() and values.numel() == channels
    ]
    moves = [name for name in sized if not _same(before.get(name), after.get(name))]
    effects = {name: _effect(trial, name, training=True) for name in sized if name not in moves}
    learned = {name: effect for name, effect in effects.items() if effect and not _is_statistic(name)}
    used = _used_in_eval(trial, [name for name in sized if name not in learned])
    mean, variance = _statistics(_candidates(sized, learned, moves, used), start, used)
    scales = [name for name, effect in learned.items() if effect == "scale"]
    shifts = [name for name, effect in learned.items() if effect == "shift"]
    return Roles(
        scale=_best(scales, SCALE),
        shift=_best(shifts, SHIFT),
        mean=mean,
        variance=variance,
        idle=_idle(layer, effects, used),
        moves=frozenset(moves),
        used=frozenset(used),
    )


def _idle(layer: Specimen, effects: dict[str, str], used: dict[str, str]) -> tuple[str, ...]:
    """Parameters that do nothing, though their name says that they are a scale or a shift."""
    return tuple(
        name
        for name, effect in effects.items()
        if not effect
        and name not in used
        and layer.held(name) == "parameter"
        and (SCALE.search(name) or SHIFT.search(name))
    )


def _is_statistic(name: str) -> bool:
    return bool(STATISTIC.search(name)) or (bool(MEAN.search(name)) and not SHIFT.search(name))


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape and torch.equal(one, other)


def _effect(trial: Trial, name: str, *, training: bool) -> str:
    """What a change of a tensor does to the output: "shift" adds to each channel, "scale" does more."""
    outputs = []
    for change in (0.0, 1.0):
        layer = trial.fresh()
        if not training:
            layer(trial.batch(0))
        if name not in layer.tensors():
            layer(trial.batch(0))
        values = layer.tensors()[name].detach().reshape(-1).to(trial.dtype)
        layer.write(name, values + change * spread(values.numel(), 5, 0.5, 1.5).to(values.dtype))
        outputs.append(layer.train(training)(trial.batch(2)).detach())
    difference = outputs[1] - outputs[0]
    if not difference.isfinite().all():
        return "scale"
    if difference.abs().max() <= SMALL:
        return ""
    channels = difference.movedim(1, 0).flatten(1)
    return "shift" if (channels - channels[:, :1]).abs().max() <= 1e3 * SMALL else "scale"


def _used_in_eval(trial: Trial, names: Iterable[str]) -> dict[str, str]:
    """The tensors that the output depends on in eval mode, and how."""
    used: dict[str, str] = {}
    if not trial.fresh().has_modes:
        return used
    for name in names:
        try:
            effect = _effect(trial, name, training=False)
        except Exception:  # noqa: S112  whatever eval mode cannot do is seen where eval mode is looked at
            continue
        if effect:
            used[name] = effect
    return used


def _candidates(
    sized: list[str], learned: dict[str, str], moves: list[str], used: dict[str, str]
) -> list[str]:
    """What may be a running statistic: what eval mode uses, or train mode moves, or is called so."""
    left = [name for name in sized if name not in learned]
    found = [name for name in left if name in used]
    if len(found) < 2:
        more = [name for name in left if name in moves and name not in found]
        found += sorted(more, key=lambda name: not STATISTIC.search(name))
    if len(found) < 2:
        found += [name for name in left if name not in found and STATISTIC.search(name)]
    return found


def _statistics(
    names: list[str], values: dict[str, Tensor], used: dict[str, str]
) -> tuple[str | None, str | None]:
    """Which is the mean and which is the variance."""
    signs: list[tuple[Callable[[str], object], Callable[[str], object]]] = [
        (
            lambda name: VARIANCE.search(name.rpartition(".")[2]),
            lambda name: MEAN.search(name.rpartition(".")[2]),
        ),
        (lambda name: used.get(name) == "scale", lambda name: used.get(name) == "shift"),
        (lambda name: bool((values[name] > 0).all()), lambda name: bool((values[name] <= 0).any())),
    ]
    variance = next((name for sign, _ in signs for name in names if sign(name)), None)
    rest = [name for name in names if name != variance]
    mean = next((name for _, sign in signs for name in rest if sign(name)), None)
    return mean or next(iter(rest), None), variance


def _best(names: list[str], pattern: re.Pattern[str]) -> str | None:
    """The one that is called so, or the first."""
    return next((name for name in names if pattern.search(name)), names[0] if names else None)
