"""What a layer does in eval mode, and with one value per channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor

from bnlint.homemade.averages import Averages, kept_size
from bnlint.homemade.batches import spread
from bnlint.homemade.build import said
from bnlint.homemade.formulas import RIGHT, Affine, Formula, Root
from bnlint.homemade.subject import Subject, agrees, apart, own_statistics
from bnlint.reference.steps import each_channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.homemade.outputs import Normalised
    from bnlint.homemade.specimen import Specimen

ROOTS: Final[dict[Root, str]] = {
    "std + eps": "in eval mode it divides by std + eps instead of sqrt(var + eps)",
    "std": "in eval mode eps is missing",
    "var + eps": "in eval mode it divides by the variance: the square root is missing",
    "std * eps": "in eval mode it multiplies with the standard deviation",
    "max(var, eps)": "in eval mode it divides by sqrt(max(var, eps))",
    "1": "in eval mode it does not divide by the standard deviation",
}
AFFINES: Final[dict[Affine, str]] = {
    "nothing": "in eval mode scale and shift are not applied",
    "scale": "in eval mode the shift is not added",
    "shift": "in eval mode the scale is not multiplied",
    "shift, scale": "in eval mode the shift is added before the scale is multiplied",
}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The largest difference in eval mode, the mistake that explains it, and what a forward changed."""

    largest: float = 0.0
    cause: str = ""
    changed: tuple[str, ...] = ()
    modeless: bool = False
    stateless: bool = False


@dataclass(frozen=True, slots=True)
class Forward:
    """A forward in eval mode: the batch, the output, and the statistics before and after it."""

    x: Tensor
    y: Tensor
    before: tuple[Tensor, Tensor] | None
    after: tuple[Tensor, Tensor] | None
    changed: tuple[str, ...]


def evaluated(subject: Subject, found: Normalised, averages: Averages) -> Evaluated:
    """Compare eval mode with the reference that has the same running statistics."""
    try:
        forward = _forward(subject)
    except Exception as problem:
        return Evaluated(float("inf"), f"in eval mode it raises {said(problem)}")
    if forward.before is None or forward.after is None:
        return _without_statistics(subject, found, forward)
    x, y = forward.x, forward.y
    right = RIGHT.with_statistics(x, forward.before, subject.gamma, subject.beta, found.eps)
    for statistics in (forward.before, forward.after):
        for formula in _same_mistake(found, averages):
            for some in _as_kept(statistics, averages, found.eps):
                expected = formula.with_statistics(x, some, subject.gamma, subject.beta, found.eps)
                if agrees(y, expected):
                    return _alone(subject, found, forward)
    like_training = agrees(y, _in_train_mode(subject, forward))
    cause = _by_gradients(subject, found, forward) if like_training else ""
    cause = cause or _cause(subject, found, forward, like_training=like_training)
    if not cause and found.largest:
        return Evaluated(changed=forward.changed)
    return Evaluated(apart(y, right), cause, forward.changed, modeless=like_training)


def _layer(subject: Subject) -> Specimen:
    """A layer that has seen some batches, with running statistics that are like none of them."""
    layer = subject.fresh()
    for seed in (6, 7):
        layer(subject.trial.batch(seed))
    for number, name in enumerate(subject.roles.statistics):
        if layer.tensors()[name].numel() == subject.trial.plan.channels:
            layer.write(name, spread(subject.trial.plan.channels, 40 + number, 0.5, 2.0))
    return layer


def _forward(subject: Subject, seed: int = 8) -> Forward:
    layer = _layer(subject)
    x = subject.trial.batch(seed)
    layer.train(mode=False)
    before = layer.snapshot()
    y = layer(x).detach()
    after = layer.snapshot()
    roles = subject.roles
    kept = {name for name in before if layer.held(name) != "attribute"} | set(roles.statistics)
    changed = tuple(
        name for name in before if name in kept and not (name in after and _equal(before[name], after[name]))
    )
    return Forward(x, y, _pair(subject, before, x), _pair(subject, after, x), changed)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def _pair(subject: Subject, state: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor] | None:
    """The running mean and variance as they meet x; None where there are none of that size."""
    mean, variance = (state.get(name or "") for name in (subject.roles.mean, subject.roles.variance))
    if mean is None or variance is None or mean.numel() != x.shape[1] or variance.numel() != x.shape[1]:
        return None
    return each_channel(mean.to(x.dtype), x), each_channel(variance.to(x.dtype), x)


def _in_train_mode(subject: Subject, forward: Forward) -> Tensor:
    return _layer(subject).train()(forward.x).detach()


def _same_mistake(found: Normalised, averages: Averages) -> Iterator[Formula]:
    """The definition, and what train mode makes of it: the same mistake is said once."""
    yield RIGHT
    if found.formula is not None:
        yield found.formula
    if averages.deviation:
        yield replace(RIGHT, root="std")
        yield replace(RIGHT, root="std + eps")


def _as_kept(
    statistics: tuple[Tensor, Tensor], averages: Averages, eps: float
) -> Iterator[tuple[Tensor, Tensor]]:
    """The statistics, and what they say where the deviation is kept in place of the variance."""
    yield statistics
    if averages.deviation:
        mean, kept = statistics
        yield mean, kept**2
        yield mean, 1 / kept**2 - eps


def _by_gradients(subject: Subject, found: Normalised, forward: Forward) -> str:
    """Does the layer take the absence of gradients for eval mode?"""
    layer = _layer(subject).train(mode=False)
    with torch.no_grad():
        y = layer(forward.x)
    assert forward.before is not None
    right = RIGHT.with_statistics(forward.x, forward.before, subject.gamma, subject.beta, found.eps)
    if agrees(y, right):
        return (
            "it goes by `torch.is_grad_enabled()`, not by `self.training`: after `eval()` it still "
            "normalises with the batch, unless gradients are off"
        )
    return ""


def _cause(subject: Subject, found: Normalised, forward: Forward, *, like_training: bool) -> str:
    if like_training:
        return (
            "in eval mode it does what it does in train mode: it normalises with the batch's own statistics"
        )
    assert forward.before is not None
    own = own_statistics(forward.x)
    mean, variance = forward.before
    m = forward.x.numel() // forward.x.shape[1]
    mixed = {
        "in eval mode it normalises with the batch's own statistics": own,
        "in eval mode it takes the batch's variance, not the running one": (mean, own[1]),
        "in eval mode it takes the batch's mean, not the running one": (own[0], variance),
        "running mean and running variance have changed places": (variance, mean),
        "in eval mode it multiplies the running variance by m / (m - 1) of the batch at hand": (
            mean,
            variance * m / (m - 1),
        ),
        "in eval mode it uses neither the running statistics nor those of the batch: mean 0, variance 1": (
            torch.zeros_like(mean),
            torch.ones_like(variance),
        ),
        "in eval mode it subtracts the running mean and does not divide": (mean, torch.ones_like(variance)),
        "in eval mode it does not subtract the running mean": (torch.zeros_like(mean), variance),
    }
    formulas = [RIGHT] if found.formula is None else [found.formula, RIGHT]
    for text, statistics in mixed.items():
        if any(_gives(subject, found, forward, one, statistics) for one in formulas):
            return text
    changed = [(text, replace(RIGHT, root=root)) for root, text in ROOTS.items()]
    changed += [(text, replace(RIGHT, affine=affine)) for affine, text in AFFINES.items()]
    for text, formula in changed:
        if _gives(subject, found, forward, formula, forward.before):
            return text
    return "in eval mode the output is the input" if agrees(forward.y, forward.x) else ""


def _gives(
    subject: Subject,
    found: Normalised,
    forward: Forward,
    formula: Formula,
    statistics: tuple[Tensor, Tensor],
) -> bool:
    """Is this what eval mode computes?"""
    expected = formula.with_statistics(forward.x, statistics, subject.gamma, subject.beta, found.eps)
    return agrees(forward.y, expected)


def _alone(subject: Subject, found: Normalised, forward: Forward) -> Evaluated:
    """It uses the running statistics: does it so for one sample, and is its gradient right?"""
    del found
    try:
        _layer(subject).train(mode=False)(_one(subject))
    except Exception as problem:
        text = f"in eval mode it refuses one value per channel ({type(problem).__name__}), as if it had to"
        return Evaluated(float("inf"), f"{text} normalise with it", forward.changed)
    return Evaluated(changed=forward.changed)


def _without_statistics(subject: Subject, found: Normalised, forward: Forward) -> Evaluated:
    """A layer that keeps no running statistics normalises with the batch in eval mode, too."""
    wrong_size = bool(subject.roles.statistics) and not kept_size(subject)
    if wrong_size or (found.formula is not None and not found.formula.by_channel):
        return Evaluated(
            changed=forward.changed
        )  # statistics over the wrong dimensions, of which that is said
    like_training = agrees(forward.y, _in_train_mode(subject, forward))
    plan = subject.trial.plan
    if like_training and plan.default is None and not subject.roles.statistics:
        return Evaluated(changed=forward.changed, stateless=True)
    own = own_statistics(forward.x)
    right = RIGHT.with_statistics(forward.x, own, subject.gamma, subject.beta, found.eps)
    if like_training:
        text = "it keeps no running statistics, and normalises with the batch in eval mode, too"
        return Evaluated(1.0, text, forward.changed, modeless=True)
    if found.formula is None:
        return Evaluated(changed=forward.changed)
    return Evaluated(apart(forward.y, right), "", forward.changed)


def _one(subject: Subject) -> Tensor:
    """A batch of one value per channel."""
    x = subject.trial.batch(8)
    return x[:1].flatten(2)[..., :1].reshape(1, -1, *[1] * (x.dim() - 2)) if x.dim() > 2 else x[:1]


def single(subject: Subject) -> Literal["refused", "accepted", "not a number", "unknown"]:
    """What train mode makes of one value per channel; unknown where the output depends on it."""
    layer = subject.fresh()
    try:
        y = layer(_one(subject))
        other = subject.fresh()(2 * _one(subject) + 1)
    except Exception:
        return "refused"
    if y.isfinite().all() and not agrees(other, y):
        return "unknown"
    state = layer.tensors()
    statistics = [state[name] for name in subject.roles.statistics if name in state]
    finite = all(bool(values.isfinite().all()) for values in (y, *statistics))
    return "accepted" if finite else "not a number"
