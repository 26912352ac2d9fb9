"""What a layer makes of a batch in train mode, and its gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import torch
from torch import Tensor

from bnlint.facts import AGREEMENT
from bnlint.homemade.batches import spread
from bnlint.homemade.build import said
from bnlint.homemade.formulas import RIGHT, Formula, mistakes
from bnlint.homemade.subject import USUAL_EPS, Subject, agrees, apart, own_statistics
from bnlint.reference.steps import each_channel, mini_batch_mean, mini_batch_variance

LARGE_EPS: Final = 0.01
EPSILONS: Final = (USUAL_EPS, 1e-3, 1e-8, 1e-6, 1e-4, 1e-7, 1e-12)
"""What is written where eps is no argument."""
NO_EPS: Final = 1e-13
Pairs = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, slots=True)
class Normalised:
    """How a layer normalises: `formula` computes what it does, None where nothing known does.

    `largest` is the difference from the reference, `cause` the mistake that explains it. `frozen` says that
    the running statistics normalise.
    """

    formula: Formula | None
    eps: float
    largest: float = 0.0
    cause: str = ""
    frozen: bool = False


def normalised(subject: Subject) -> Normalised:
    """Compare the output in train mode, and find out what it is where it differs."""
    asked = subject.trial.plan.eps
    pairs: Pairs = tuple((x, subject.fresh()(x).detach()) for x in subject.batches())
    known = USUAL_EPS if asked is None else asked
    largest = max(apart(y, subject.twin(known)(x)) for x, y in pairs)
    fitted = _fitted(subject, pairs)
    if asked is not None and all(agrees(y, subject.twin(asked)(x)) for x, y in pairs):
        return _beginning(subject, Normalised(RIGHT, asked))
    if asked is None and fitted is not None and NO_EPS < fitted < LARGE_EPS:
        return _beginning(subject, Normalised(RIGHT, fitted))
    if fitted is not None and fitted > NO_EPS:
        return Normalised(RIGHT, fitted, largest, _wrong_eps(asked, fitted))
    if cause := _running(subject, known):
        return Normalised(None, known, largest, cause, frozen=True)
    possible = EPSILONS if asked is None else (asked,)
    for (cause, formula), eps in product(mistakes(subject.trial.dims), possible):
        if all(agrees(y, formula.output(x, subject.gamma, subject.beta, eps)) for x, y in pairs):
            return Normalised(formula, eps, largest, cause)
    return Normalised(None, known, largest, _linear(subject, pairs, known))


def _linear(subject: Subject, pairs: Pairs, eps: float) -> str:
    """Is the output a multiple of the right one, plus a constant?"""
    right = torch.cat([subject.twin(eps)(x).detach().reshape(-1) for x, _ in pairs]).double()
    y = torch.cat([y.reshape(-1) for _, y in pairs]).double()
    columns = torch.stack([right, torch.ones_like(right)], dim=1)
    factor, constant = torch.linalg.lstsq(columns, y[:, None]).solution.reshape(-1).tolist()
    if not agrees(factor * right + constant, y):
        return ""
    plus = f", plus {constant:.4g}" if abs(constant) > AGREEMENT else ""
    return f"it is {factor:.4g} times what it should be{plus}"


def _fitted(subject: Subject, pairs: Pairs) -> float | None:
    """The eps that the definition gives these outputs with; None where there is none."""
    x, y = pairs[0]
    mean = mini_batch_mean(x)
    variance = mini_batch_variance(x, mean)
    x_hat = (y - each_channel(subject.beta, y)) / each_channel(subject.gamma, y)
    dims = [0, *range(2, x.dim())]
    divisor = variance * x.numel() / x.shape[1] / (x_hat**2).sum(dims)
    smallest = int(variance.argmin())
    eps = max(float(divisor[smallest] - variance[smallest]), 0.0)
    right = all(agrees(b, RIGHT.output(a, subject.gamma, subject.beta, eps)) for a, b in pairs)
    return eps if right else None


def _wrong_eps(asked: float | None, eps: float) -> str:
    if asked is None:
        return f"its eps is {eps:.2g}, as large as the variances that it protects"
    if abs(eps - asked**2) <= 1e-3 * eps:
        return f"it adds the square of eps: {eps:.2g} for eps={asked:g}"
    return f"its `eps` is ignored or changed: {eps:.2g} is added to the variance, and {asked:g} was asked for"


def _beginning(subject: Subject, found: Normalised) -> Normalised:
    """Scale and shift where nothing was learned: 1 and 0, and both have an effect.

    A random start is a choice, as torch's own was once: it has another value for each channel.
    """
    roles = subject.roles
    if roles.idle:
        names = " and ".join(f"`{name}`" for name in roles.idle)
        verb = "have" if len(roles.idle) > 1 else "has"
        return replace(found, largest=1.0, cause=f"{names} {verb} no effect on the output")
    if not subject.trial.plan.fresh:
        return found
    tensors = subject.trial.fresh().tensors()
    for name, start in ((roles.scale, 1.0), (roles.shift, 0.0)):
        if name is None or name not in tensors:
            continue
        away = (tensors[name].detach() - start).abs()
        largest = float(away.max())
        if largest > 0 and largest == float(away.min()):
            return replace(found, largest=largest, cause=f"`{name}` does not start at {start:g}")
    return found


def _running(subject: Subject, eps: float) -> str:
    """Does it normalise with the running statistics?"""
    roles = subject.roles
    if roles.mean is None or roles.variance is None:
        return ""
    x = subject.batches()[0]
    layer = subject.fresh()
    layer(subject.trial.batch(5))
    for number, name in enumerate(roles.statistics):
        if layer.tensors()[name].numel() != subject.trial.plan.channels:
            return ""
        layer.write(name, spread(subject.trial.plan.channels, 50 + number, 0.5, 2.0))
    before = layer.snapshot()
    y = layer(x)
    after = layer.snapshot()
    for state in (before, after):
        if roles.mean not in state or roles.variance not in state:
            continue
        statistics = [each_channel(state[name].to(x.dtype), x) for name in (roles.mean, roles.variance)]
        own = own_statistics(x)
        for pair in ((statistics[0], statistics[1]), (statistics[0], own[1]), (own[0], statistics[1])):
            if agrees(y, RIGHT.with_statistics(x, pair, subject.gamma, subject.beta, eps)):
                return (
                    "in train mode it normalises with the running statistics, and not with those of the batch"
                )
    return ""


@dataclass(frozen=True, slots=True)
class Gradients:
    """The largest relative difference of a gradient, and the mistake that explains it."""

    largest: float = 0.0
    cause: str = ""


DETACHED: Final = {
    frozenset({"mean", "variance"}): "mean and variance are detached: their gradients are missing",
    frozenset({"variance"}): "the variance is detached: its gradient is missing",
    frozenset({"mean"}): "the mean is detached: its gradient is missing",
}


def gradients(subject: Subject, found: Normalised) -> Gradients:
    """Compare the gradients with those of what the layer computes, right or wrong."""
    if found.formula is None:
        return Gradients()  # nothing is known that they could be compared with
    x = subject.batches()[0]
    weights = spread(x.numel(), 6, -1.0, 1.0).to(x.dtype).reshape(x.shape)
    layer = subject.fresh()
    leaf = x.clone().requires_grad_()
    y = layer(leaf)
    if not y.requires_grad:
        return Gradients(1.0, "its output carries no gradient (`torch.no_grad()`, `.detach()` or `.data`)")
    learned = _learned(subject, layer.tensors())
    try:
        got = torch.autograd.grad((y * weights).sum(), [leaf, *learned.values()], allow_unused=True)
    except Exception as problem:
        return Gradients(float("inf"), f"backward raises {said(problem)}")
    expected = _expected(subject, found, found.formula, x, weights)
    for name, one in zip(learned, got[1:], strict=True):
        wanted = expected["scale" if name == subject.roles.scale else "shift"]
        size = _relative(one, wanted)
        if size > 0:
            return Gradients(size, _wrong_parameter(name, one, wanted))
    size = _relative(got[0], expected["x"])
    return Gradients(size, _wrong_input(subject, found, got[0], expected["x"], weights) if size else "")


def _learned(subject: Subject, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Scale and shift, where gradients are taken for them."""
    names = (subject.roles.scale, subject.roles.shift)
    return {name: tensors[name] for name in names if name is not None and tensors[name].requires_grad}


def _expected(
    subject: Subject, found: Normalised, formula: Formula, x: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    leaves = {"x": x, "scale": subject.gamma, "shift": subject.beta}
    leaves = {name: one.detach().clone().requires_grad_() for name, one in leaves.items()}
    y = formula.output(leaves["x"], leaves["scale"], leaves["shift"], found.eps)
    got = torch.autograd.grad((y * weights).sum(), list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaves[name]) if one is None else one
        for name, one in zip(leaves, got, strict=True)
    }


def _relative(got: Tensor | None, expected: Tensor) -> float:
    """The difference in units of the largest gradient; 0 where they agree."""
    scale = expected.abs().max().clamp(min=1e-12)
    size = apart((torch.zeros_like(expected) if got is None else got) / scale, expected / scale)
    return size if size > AGREEMENT else 0.0


def _wrong_parameter(name: str, got: Tensor | None, expected: Tensor) -> str:
    if got is None or not got.any():
        return f"`{name}` gets no gradient: it is detached (`.data`, `.detach()` or `no_grad`)"
    return f"the gradient of `{name}` is wrong{_times(got, expected)}"


def _wrong_input(
    subject: Subject, found: Normalised, got: Tensor | None, expected: Tensor, weights: Tensor
) -> str:
    if got is None:
        return "the input gets no gradient"
    assert found.formula is not None
    x = subject.batches()[0]
    for detached, cause in DETACHED.items():
        other = _expected(subject, found, replace(found.formula, detached=detached), x, weights)["x"]
        if not _relative(got, other):
            return cause
    return f"the gradient of the input is wrong{_times(got, expected)}"


def _times(got: Tensor, expected: Tensor) -> str:
    """By which factor, where there is one."""
    factor = float(
        (got.double().reshape(-1) @ expected.double().reshape(-1)) / (expected.double() ** 2).sum()
    )
    if factor and agrees(got.reshape(expected.shape) / factor, expected):
        return f": {factor:.4g} times what it should be"
    return ", and no known mistake explains it (was its backward written by hand?)"
