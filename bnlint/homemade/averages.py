"""How a layer moves its running statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from bnlint.facts import AGREEMENT
from bnlint.homemade.batches import spread
from bnlint.homemade.formulas import RIGHT
from bnlint.homemade.outputs import Normalised
from bnlint.homemade.subject import Subject, agrees, apart
from bnlint.reference.steps import mini_batch_mean, mini_batch_variance, moving_average, unbiased

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bnlint.homemade.specimen import Specimen

STEPS: Final = 3
MOST: Final = 0.5
"""A batch that counts for so much or more leaves hardly anything of those before it."""
CLOSE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Averages:
    """The largest relative difference of a running statistic, and the mistake that explains it.

    `deviation` says that what is kept is the standard deviation.
    """

    largest: float = 0.0
    cause: str = ""
    deviation: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """One step: a statistic before and after it, and the batch."""

    x: Tensor
    old: Tensor
    new: Tensor
    mean: Tensor
    new_mean: Tensor


@dataclass(frozen=True, slots=True)
class Rule:
    """new = kept · old + taken · target."""

    target: str
    kept: float
    taken: float


def averages(subject: Subject, found: Normalised) -> Averages:
    """Compare each running statistic with the reference's, and find out how it is moved."""
    results = [_graph(subject)]
    rules: dict[str, Rule] = {}
    for name, targets in _targets(subject).items():
        result, rule = _average(subject, found, name, targets)
        results.append(result)
        if rule is not None:
            rules[name] = rule
    results += [_default(subject, rules), _start(subject)]
    results += [_first(subject, found, name, rule) for name, rule in rules.items()]
    deviation = any("deviation" in rule.target for rule in rules.values())
    for one in results:
        if one.largest:
            return Averages(one.largest, one.cause, deviation)
    return Averages(deviation=deviation)


def _targets(subject: Subject) -> dict[str, tuple[str, ...]]:
    """What each statistic may follow; the right one comes first."""
    mean, variance = subject.roles.mean, subject.roles.variance
    targets: dict[str, tuple[str, ...]] = {}
    if mean is not None:
        targets[mean] = ("mean", "its own mean", *WRONG_MEANS)
    if variance is not None:
        targets[variance] = ("variance", "its own variance", *WRONG_VARIANCES)
    return targets


WRONG_MEANS: Final = {
    "sum": "`{name}` follows the sum of the batch, not its mean",
    "first": "`{name}` follows the first sample, not the mean of the batch",
    "variance": "`{name}` follows the variance",
    "output": "`{name}` follows the mean of what is already normalised",
}
WRONG_VARIANCES: Final = {
    "biased": (
        "its running variance is biased, divided by m: torch keeps the unbiased one, which is m / (m - 1) "
        "times as large"
    ),
    "samples": "its running variance is corrected by N / (N - 1) with the samples N, not with the m values",
    "deviation": "`{name}` keeps the standard deviation, not the variance",
    "unbiased deviation": "`{name}` keeps the standard deviation, not the variance",
    "inverse deviation": "`{name}` keeps 1 / sqrt(var + eps), not the variance",
    "variance + eps": "eps is added to the running variance",
    "squares": "`{name}` follows the mean of the squares: the mean is not subtracted",
    "sum of squares": "`{name}` follows the sum of the squared differences",
    "about the running mean": "`{name}` follows the variance about the running mean, not about the batch's",
    "about the new running mean": (
        "`{name}` follows the variance about the running mean, not about the batch's"
    ),
    "mean": "`{name}` follows the mean",
}


def _target(name: str, move: Move, found: Normalised) -> Tensor:
    """What a statistic may follow in this step."""
    x = move.x
    mean = mini_batch_mean(x)
    variance = mini_batch_variance(x, mean)
    m = x.numel() // x.shape[1]
    dims = [0, *range(2, x.dim())]
    match name:
        case "mean":
            return mean
        case "variance":
            return unbiased(variance, m)
        case "its own mean" | "its own variance" if found.formula not in (None, RIGHT):
            assert found.formula is not None
            own = found.formula.moments(x)["variance" in name]
            return own.expand_as(x).movedim(1, 0).flatten(1).mean(1)
        case "biased":
            return variance
        case "samples":
            return unbiased(variance, max(x.shape[0], 2))
        case "deviation":
            return variance.sqrt()
        case "unbiased deviation":
            return unbiased(variance, m).sqrt()
        case "inverse deviation":
            return 1 / (variance + found.eps).sqrt()
        case "variance + eps":
            return unbiased(variance, m) + found.eps
        case "squares":
            return (x**2).mean(dims)
        case "sum of squares":
            return variance * m
        case "about the running mean":
            return variance + (mean - move.mean) ** 2
        case "about the new running mean":
            return variance + (mean - move.new_mean) ** 2
        case "sum":
            return x.sum(dims)
        case "first":
            return x[0].flatten(1).mean(1) if x.dim() > 2 else x[0]
        case "output":
            return torch.zeros_like(mean)
    return torch.full_like(mean, float("nan"))


def _moves(subject: Subject, name: str) -> list[Move] | None:
    """Some steps, each from statistics that say nothing; None if the statistic does not keep its size."""
    layer = subject.fresh()
    layer(subject.trial.batch(10))
    found = []
    for step in range(STEPS):
        x = subject.trial.batch(11 + step)[step:]  # m changes with the number of samples
        for number, one in enumerate(subject.roles.statistics):
            if layer.tensors()[one].numel() != x.shape[1]:
                return None
            layer.write(one, spread(x.shape[1], 20 * step + number, 0.5, 3.0))
        state = layer.snapshot()
        layer(x)
        after = layer.snapshot()
        if after[name].numel() != x.shape[1]:
            return None
        mean = subject.roles.mean or name
        values = (state[name], after[name], state[mean], after[mean])
        found.append(Move(x, *(one.reshape(-1).to(x.dtype) for one in values)))
    return found


def kept_size(subject: Subject) -> bool:
    """Are there running statistics, and do they still have a value for each channel after a batch?"""
    names = subject.roles.statistics
    return bool(names) and all(_moves(subject, name) is not None for name in names)


def _average(
    subject: Subject, found: Normalised, name: str, targets: tuple[str, ...]
) -> tuple[Averages, Rule | None]:
    """How one statistic is moved."""
    moves = _moves(subject, name)
    if moves is None:
        return Averages(), None  # a consequence of statistics over the wrong dimensions
    if found.formula is not None and not found.formula.by_channel:
        return Averages(), None  # the same
    right = targets[0]
    if all(agrees(move.new, move.old) for move in moves):
        if _asked(subject) == 0:
            return Averages(), None
        if found.cause and found.formula is None:
            return Averages(), None  # a frozen layer, of which that is already said
        return Averages(_largest(subject, found, right, moves), f"`{name}` is never updated"), None
    rules = [rule for target in targets if (rule := _fit(target, moves, found))]
    if rules:
        rule = next((one for one in rules if abs(one.kept + one.taken - 1) <= CLOSE), rules[0])
        return _judge(subject, found, name, rule, moves), rule
    if _cumulative(subject, name, found, right) and not _asked(subject):
        return Averages(), None
    if found.largest:
        return Averages(), None  # how the batch is normalised is wrong already
    return Averages(_largest(subject, found, right, moves), _unexplained(subject, name, found, right)), None


def _fit(target: str, moves: list[Move], found: Normalised) -> Rule | None:
    """The rule that leads to this target, if one does."""
    wanted = torch.cat([_target(target, move, found) for move in moves])
    if not wanted.isfinite().all():
        return None
    old = torch.cat([move.old for move in moves])
    new = torch.cat([move.new for move in moves])
    if target == "output":
        wanted = torch.zeros_like(wanted)
    columns = torch.stack([old, wanted], dim=1).double()
    kept, taken = (
        torch.linalg.lstsq(columns, new.double()[:, None], driver="gelsd").solution.reshape(-1).tolist()
    )
    return Rule(target, kept, taken) if agrees(columns @ torch.tensor([kept, taken]).double(), new) else None


def _asked(subject: Subject) -> float | None:
    plan = subject.trial.plan
    return plan.momentum if plan.momentum is not None else plan.decay


def _judge(subject: Subject, found: Normalised, name: str, rule: Rule, moves: list[Move]) -> Averages:
    """Is it the right rule?"""
    plan = subject.trial.plan
    right = "variance" if name == subject.roles.variance else "mean"
    largest = _largest(subject, found, right, moves)
    kept, taken = rule.kept, rule.taken
    cause = "" if abs(kept) <= CLOSE and _asked(subject) == 1 else _wrong_shares(name, kept, taken)
    if not cause and plan.momentum is not None and abs(taken - plan.momentum) > CLOSE:
        cause = _wrong_momentum(plan.momentum, taken)
    if not cause and plan.decay is not None and min(abs(taken - plan.decay), abs(kept - plan.decay)) > CLOSE:
        cause = f"its decay is ignored: each batch counts for {taken:.3g}, and {plan.decay:g} was asked for"
    if not cause and _asked(subject) is None and taken >= MOST:
        cause = _too_much(taken)
    if not cause:
        wrong = {**WRONG_MEANS, **WRONG_VARIANCES}
        cause = "" if rule.target == right else wrong.get(rule.target, "").format(name=name)
    return Averages(max(largest, CLOSE) if cause else 0.0, cause)


def _wrong_shares(name: str, kept: float, taken: float) -> str:
    """What is kept of the old average and what is taken of the new value have to make one."""
    if abs(taken) <= CLOSE and abs(kept - 1) <= CLOSE:
        return f"`{name}` is never updated"
    if abs(kept + taken - 1) <= CLOSE:
        return f"`{name}` is overwritten by each batch, not averaged" if abs(kept) <= CLOSE else ""
    if abs(kept - 1) <= CLOSE:
        return f"`{name}` adds {taken:.3g} of each batch and gives up nothing: it grows without end"
    if abs(kept) <= CLOSE:
        return f"`{name}` forgets its old value: it is {taken:.3g} times that of the last batch"
    return f"`{name}` becomes {kept:.3g} of itself plus {taken:.3g} of the batch, which do not add up to 1"


def _wrong_momentum(asked: float, taken: float) -> str:
    if abs(taken - (1 - asked)) <= CLOSE:
        return (
            "its momentum follows the Keras convention, the share that the old average keeps: yours 0.9 is "
            f"our 0.1 (for momentum={asked:g} each batch counts for {taken:.3g})"
        )
    return f"its momentum is ignored or changed: each batch counts for {taken:.3g}, not {asked:g}"


def _too_much(taken: float) -> str:
    return (
        f"each batch counts for {taken:.3g} in the running statistics, which is the Keras convention's "
        f"momentum in torch's place: yours {taken:.3g} has to be {1 - taken:.3g}"
    )


def _largest(subject: Subject, found: Normalised, right: str, moves: list[Move]) -> float:
    """How far a statistic is from the reference's after a step from the same state."""
    asked = _asked(subject)
    momentum = 0.1 if asked is None else asked
    expected = (moving_average(move.old, _target(right, move, found), momentum) for move in moves)
    pairs = zip(moves, expected, strict=True)
    return max(apart(move.new / one.abs().max(), one / one.abs().max()) for move, one in pairs)


def _cumulative(subject: Subject, name: str, found: Normalised, right: str) -> bool:
    """Is it the plain average over all batches, as with `momentum=None`?"""
    layer = subject.fresh()
    seen: list[Tensor] = []
    for step in range(STEPS):
        x = subject.trial.batch(30 + step)
        layer(x)
        seen.append(_target(right, Move(x, x, x, x, x), found))
    return agrees(layer.snapshot()[name].reshape(-1), torch.stack(seen).mean(0))


def _unexplained(subject: Subject, name: str, found: Normalised, right: str) -> str:
    if _cumulative(subject, name, found, right):
        return f"`{name}` is the plain average over all batches, and its momentum is ignored"
    return ""


def _graph(subject: Subject) -> Averages:
    """Statistics that remember how they were computed keep every batch in memory."""
    layer: Specimen = subject.fresh()
    layer(subject.trial.batch(12).requires_grad_())
    tensors = layer.tensors()
    names = [name for name in subject.roles.statistics if tensors[name].grad_fn is not None]
    if not names:
        return Averages()
    text = " and ".join(f"`{name}`" for name in names)
    return Averages(
        float("inf"),
        f"{text} stay in the graph, so that memory grows with every batch: update them under "
        "`torch.no_grad()`, from `.detach()`ed values",
    )


def _default(subject: Subject, rules: Mapping[str, Rule]) -> Averages:
    """The share that a batch has where no momentum is given."""
    plan = subject.trial.plan
    name = subject.roles.mean or subject.roles.variance
    if plan.default is None or name is None or name not in rules:
        return Averages()
    bare = Subject(replace(subject.trial, plan=replace(plan, make=plan.default)), subject.roles)
    moves = _moves(bare, name)
    rule = moves and _fit(rules[name].target, moves, Normalised(RIGHT, 0.0))
    if not rule or rule.taken < MOST or abs(rule.taken - 1) <= CLOSE:
        return Averages()
    return Averages(rule.taken, "by default " + _too_much(rule.taken))


def _start(subject: Subject) -> Averages:
    """Where the statistics begin: 0 and 1."""
    if not subject.trial.plan.fresh:
        return Averages()
    tensors = subject.trial.fresh().tensors()
    for name, start in ((subject.roles.mean, 0.0), (subject.roles.variance, 1.0)):
        if name in tensors and name is not None:
            largest = float((tensors[name].detach() - start).abs().max())
            if largest > 0:
                return Averages(largest, f"`{name}` starts at {_shown(tensors[name])}, not at {start:g}")
    return Averages()


def _first(subject: Subject, found: Normalised, name: str, rule: Rule) -> Averages:
    """Does the first batch move a statistic as the later ones do?"""
    layer = subject.fresh()
    before = layer.snapshot()
    if not subject.trial.plan.fresh or not {name, subject.roles.mean or name} <= set(before):
        return Averages()
    x = subject.trial.batch(14)
    layer(x)
    after, mean = layer.snapshot(), subject.roles.mean or name
    values = (before[name], after[name], before[mean], after[mean])
    move = Move(x, *(one.reshape(-1).to(x.dtype) for one in values))
    expected = rule.kept * move.old + rule.taken * _target(rule.target, move, found)
    scale = expected.abs().max()
    largest = apart(move.new / scale, expected / scale)
    cause = (
        f"the first batch does not move `{name}` as the later ones do: it starts at 0 or 1, and moves at once"
    )
    return Averages(largest, cause) if largest > AGREEMENT else Averages()


def _shown(values: Tensor) -> str:
    first = float(values.detach().reshape(-1)[0])
    return f"{first:g}" if bool((values == first).all()) else "other values"
