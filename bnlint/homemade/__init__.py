"""A BatchNorm that somebody wrote, measured against the reference: a class or a layer in, facts out.

How it is built and what it takes is found by trying (`build`), what its tensors are by what they do
(`roles`), and where it differs, the cause by computing what each known mistake would give (`formulas`). All
this runs the user's code, on small inputs and on layers of its own; the process is as it was afterwards
(`undisturbed`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from bnlint.facts import AGREEMENT, Answer3, Deviation, Facts, Homemade, Kept, Unknown
from bnlint.finding import Step
from bnlint.homemade import smallest
from bnlint.homemade.averages import Averages, averages, kept_size
from bnlint.homemade.build import said, trials
from bnlint.homemade.evaluation import Evaluated, evaluated, single
from bnlint.homemade.outputs import Gradients, Normalised, gradients, normalised
from bnlint.homemade.places import method, place
from bnlint.homemade.roles import roles
from bnlint.homemade.subject import Subject
from bnlint.reference.isolation import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from bnlint.homemade.build import Trial
    from bnlint.homemade.smallest import Seen

__all__ = ["Measured", "measure"]

T = TypeVar("T")
MOST_TRIED = 6
"""So many failures say what is wrong."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The facts, and a line for each thing that could not be looked at. `ran` says whether anything was."""

    facts: Facts
    skipped: tuple[str, ...] = ()
    ran: bool = True


def measure(target: Any) -> Measured:
    """Measure a class, or a layer, of which only copies are touched."""
    cls = target if isinstance(target, type) else type(target)
    with undisturbed():
        try:
            found = trials(target)
        except Exception as problem:  # a layer that cannot be copied
            return Measured(Facts(), (f"{cls.__name__}: cannot be tried: {said(problem)}",), ran=False)
        if not found.trials:
            return Measured(Facts(), _untried(cls.__name__, found.failures), ran=False)
        measurements = [_Measurement(cls, trial) for trial in found.trials]
        for one in measurements:
            one.measure()
        kept = _meant(measurements)
    notes = [note for one in kept for note in one.notes]
    if accidents := ", ".join(f"{one.trial.dims}-D" for one in measurements if one not in kept):
        notes.append(
            f"{cls.__name__}: {accidents} input: it runs on it, but with statistics for each position: not "
            "judged, as if it were not made for it"
        )
    facts = Facts(homemade=(_merged([one.result for one in kept]),))
    return Measured(facts, tuple(dict.fromkeys(notes)))


def _untried(name: str, failures: Any) -> tuple[str, ...]:
    """What was tried, and what came of it."""
    tried: dict[str, list[str]] = {}
    for what, came in failures.items():
        tried.setdefault(came, []).append(what)
    lines = [f"{_listed(whats)}: {came}" for came, whats in tried.items()][:MOST_TRIED]
    return (f"{name}: could not be built and run on any input", *(f"{name}: tried {line}" for line in lines))


def _listed(whats: list[str]) -> str:
    """The first few of what was tried."""
    return ", ".join(whats[:3]) + (f" and {len(whats) - 3} more" if len(whats) > 3 else "")


def _meant(measurements: list[_Measurement]) -> list[_Measurement]:
    """Those for inputs that the layer is made for: `x.mean(0)` of a 1d layer runs on images by accident."""
    return [one for one in measurements if not one.by_accident] or measurements


class _Measurement:
    """One layer with inputs of one number of dimensions. What its code raises is a note, and no end."""

    def __init__(self, cls: type, trial: Trial) -> None:
        self.cls = cls
        self.trial = trial
        self.notes: list[str] = []
        self.result = Homemade(place(cls), cls.__name__)
        self.normalised: Normalised | None = None
        self.by_accident = False

    def measure(self) -> None:
        """Measure all."""
        self.result = self._measured(self.result)

    def _measured(self, bare: Homemade) -> Homemade:
        found_roles = self._try("its tensors", lambda: roles(self.trial))
        if found_roles is None:
            return bare
        subject = Subject(self.trial, found_roles)
        found = self._try("train mode", lambda: normalised(subject))
        if found is None:
            return bare
        self.normalised = found
        self.by_accident = self._runs_by_accident(subject, found)
        got = self._try("its gradients", lambda: gradients(subject, found)) or Gradients()
        moved = self._try("its running statistics", lambda: averages(subject, found)) or Averages()
        judged = self._try("eval mode", lambda: self._evaluated(subject, found, moved)) or Evaluated()
        if not found.largest:
            self._say_stateless(judged)
        statistic = self._statistic(subject, moved)
        return replace(
            bare,
            output=self._deviation(subject, found, found, (smallest.output, "")),
            gradients=self._deviation(
                subject, found, got, (smallest.gradient, "the gradient of the sum of the cubed output is ")
            ),
            averages=self._deviation(subject, found, moved, statistic),
            evaluation=self._deviation(
                subject, found, judged, (smallest.evaluation, "in eval mode, after the batch 2x + 1, ")
            ),
            statistics=self._kept(found_roles.statistics),
            affine=() if found.frozen else self._kept((found_roles.scale, found_roles.shift)),
            single=self._try("one value per channel", lambda: single(subject)) or "unknown",
            changed=judged.changed,
            modeless="yes" if judged.modeless else "no",
        )

    def _runs_by_accident(self, subject: Subject, found: Normalised) -> bool:
        """Does it run on inputs that it is not made for, and keep statistics of another size afterwards?

        A scale for each channel, which stand behind the samples, does not run by accident on more dimensions.
        """
        if self.trial.plan.dims == self.trial.dims or (self.trial.layout == "first" and subject.roles.scale):
            return False
        if subject.roles.statistics:
            return not kept_size(subject)
        return found.formula is not None and found.formula.mean_over == "position"

    def _try(self, what: str, do: Callable[[], T]) -> T | None:
        try:
            return do()
        except Exception as problem:
            name = self.cls.__name__
            self.notes.append(f"{name}: {what} ({self.trial.dims}-D input): {said(problem)}")
            return None

    def _evaluated(self, subject: Subject, found: Normalised, moved: Averages) -> Evaluated:
        if self.trial.fresh().has_modes:
            return evaluated(subject, found, moved)
        self.notes.append(f"{self.cls.__name__}: eval mode: it has none that could be switched to")
        return Evaluated()

    def _say_stateless(self, judged: Evaluated) -> None:
        if judged.stateless:
            self.notes.append(
                f"{self.cls.__name__}: running statistics: it keeps none, and normalises with the batch in "
                "eval mode too, as `track_running_stats=False` does: BN503 to BN505 have nothing to judge"
            )

    def _kept(self, names: tuple[str | None, ...]) -> tuple[Kept, ...]:
        """How tensors are held. A class that is no module has no `state_dict()` that could lack them."""
        layer = self.trial.fresh()
        layer(self.trial.batch(0))
        if not hasattr(layer.layer, "state_dict"):
            self.notes.append(
                f"{self.cls.__name__}: it is no nn.Module: there is no `state_dict()`, no `.to()`, and an "
                "optimizer does not find its parameters by itself: BN505 and BN506 have nothing to judge"
            )
            return ()
        tensors = layer.tensors()
        return tuple(
            Kept(name, layer.held(name), self._trained(tensors[name]))
            for name in names
            if name in tensors and name
        )

    def _trained(self, tensor: Tensor) -> Answer3:
        """Does it take gradients? Where a layer was built by somebody else, it may have been frozen since."""
        if tensor.requires_grad:
            return "yes"
        return "no" if self.trial.plan.fresh else "unknown"

    def _statistic(self, subject: Subject, moved: Averages) -> tuple[Callable[..., Seen], str]:
        """The statistic that a cause is about."""
        variance = subject.roles.variance
        about_variance = variance and ("varia" in moved.cause or f"`{variance}`" in moved.cause)
        name = variance if variance and about_variance else subject.roles.mean or variance or ""
        look = smallest.after_one_batch(name, "running_var" if name == variance else "running_mean")
        return look, f"after this batch `{name}` is "

    def _deviation(
        self,
        subject: Subject,
        found: Normalised,
        result: Normalised | Gradients | Averages | Evaluated,
        look: tuple[Callable[..., Seen], str],
    ) -> Deviation:
        """A difference, and the smallest input that shows it."""
        if result.largest <= AGREEMENT:
            return Deviation(result.largest)
        seen = smallest.smallest(subject, found.eps, look[0])
        steps = () if seen is None else (Step(method(self.cls), _shown(look[1], *seen)),)
        return Deviation(result.largest, result.cause, steps)


def _merged(measured: list[Homemade]) -> Homemade:
    """One layer on inputs of several numbers of dimensions: what one of them shows is true of it."""
    return replace(
        measured[0],
        output=max((one.output for one in measured), key=_size),
        gradients=max((one.gradients for one in measured), key=_size),
        averages=max((one.averages for one in measured), key=_size),
        evaluation=max((one.evaluation for one in measured), key=_size),
        statistics=next((one.statistics for one in measured if one.statistics), ()),
        affine=next((one.affine for one in measured if one.affine), ()),
        changed=next((one.changed for one in measured if one.changed), ()),
        single=max(
            (one.single for one in measured), key=("unknown", "refused", "accepted", "not a number").index
        ),
        modeless="yes" if any(one.modeless == "yes" for one in measured) else "no",
    )


def _size(deviation: Deviation) -> tuple[bool, bool, float]:
    """What says most: a difference, a cause for it, a large one."""
    largest = -1.0 if isinstance(deviation.largest, Unknown) else deviation.largest
    return largest > AGREEMENT, bool(deviation.cause), largest


def _shown(what: str, x: Tensor, seen: Seen) -> str:
    """An input, and what both give for it."""
    shape = tuple(x.shape)
    return (
        f"the smallest input that shows it, shape {shape}: {_numbers(x)}; {what}{_numbers(seen[0])}, and "
        f"{_numbers(seen[1])} in the reference"
    )


def _numbers(values: Tensor) -> str:
    """Values in a line, short enough to be read."""
    flat = [f"{value:.4g}" for value in values.reshape(-1).tolist()]
    return "[" + ", ".join(flat[:6]) + (", …]" if len(flat) > 6 else "]")
