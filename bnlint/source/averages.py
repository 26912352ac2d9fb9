"""Averages of a model over time: what is averaged, and whether the buffers come with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeGuard

from bnlint.facts import Average
from bnlint.finding import Step
from bnlint.source.events import Forward
from bnlint.source.values import Const, External, Obj, Place, Sym, Value

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter
    from bnlint.source.scripts import Scripts

AVERAGED_MODEL: Final = "torch.optim.swa_utils.AveragedModel"
"""Torch's own average, over parameters alone unless it is told otherwise."""
COPYING: Final = frozenset({"buffers", "named_buffers", "state_dict", "load_state_dict", "_buffers"})
"""Calls in a function that averages which show that it takes care of the buffers too."""
RECALCULATING: Final = frozenset({"update_bn", "bn_update", "update_bn_stats", "recalibrate_bn"})
"""Functions that compute the statistics of an average from data."""


@dataclass(slots=True, eq=False)
class Averaged:
    """The parameters of one model move towards those of another, and those alone."""

    target: Obj | Sym
    place: Place


class Averages:
    """Watches loops that mix the parameters of two models."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.happened: list[Averaged] = []

    def mixed(self, target: Value, source: Value) -> None:
        """A parameter becomes a mix of itself and of another model's."""
        run = self.run
        if not run.loops or target is source or not isinstance(target, Obj | Sym):
            return
        frames = [f for f in run.frames if f.func is not None]
        calls = (
            frames[-1].func.function.calls if frames and frames[-1].func else run.frame.module.summary.calls
        )
        if not calls & COPYING:
            self.happened.append(Averaged(target, run.loops[-1].place))


def averages(scripts: Scripts) -> Iterator[Average]:
    """The averages of parameters that are evaluated with buffers that nobody averaged."""
    if any(summary.calls & RECALCULATING for summary in scripts.run.project.summaries.values()):
        return
    for averaged in scripts.run.averages.happened:
        evaluated = evaluation_of(scripts, averaged.target)
        if evaluated is not None:
            yield fact(scripts, averaged.target, averaged.target, averaged.place, evaluated)
    for event in scripts.record.forwards:
        if is_averaged_model(event.model) and is_evaluation(event):
            inner = event.model.args.value(0)
            if inner is not None:
                yield fact(scripts, event.model, inner, event.model.place, event)


def fact(scripts: Scripts, average: Value, model: Value, place: Place, evaluated: Forward) -> Average:
    return Average(
        where=place.where(),
        model=scripts.name(average),
        batchnorm=scripts.structure.has_batchnorm(model),
        evaluated=Step(evaluated.place.where(), f"`{scripts.name(average)}` is evaluated here, in eval mode"),
        path=tuple(scripts.path(evaluated)),
    )


def evaluation_of(scripts: Scripts, model: Obj | Sym) -> Forward | None:
    """A forward of a model in eval mode; None if it also runs in train mode and so has its own statistics."""
    events = [
        e for e in scripts.record.forwards if isinstance(e.model, Obj | Sym) and e.model.key == model.key
    ]
    if any(mode.mode != "eval" for event in events for mode in event.modes):
        return None
    return next((event for event in events if is_evaluation(event)), None)


def is_evaluation(event: Forward) -> bool:
    return not event.trained and {mode.mode for mode in event.modes} == {"eval"}


def is_averaged_model(model: Value) -> TypeGuard[Obj]:
    """Whether a model is torch's average of parameters alone."""
    if not isinstance(model, Obj) or not isinstance(model.cls, External) or model.cls.path != AVERAGED_MODEL:
        return False
    buffers = model.args.value(4, "use_buffers")
    return not model.args.open and (buffers is None or (isinstance(buffers, Const) and not buffers.value))
