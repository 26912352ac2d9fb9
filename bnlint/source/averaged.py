"""Averaged copies of a model: what became of their buffers, and in which mode they are called."""

from __future__ import annotations

import re
from collections.abc import Container, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from bnlint.facts import Answer3, Average
from bnlint.finding import Step
from bnlint.source import events
from bnlint.source.averages import Averaged
from bnlint.source.state import MOST_AROUND, PARENTS
from bnlint.source.structure import where_of
from bnlint.source.values import Args, Const, External, Obj, Sym, Value

if TYPE_CHECKING:
    from bnlint.source.scripts import Scripts

RECOMPUTING: Final = re.compile(
    r"(^|_)(update|fix|reset|recompute|re_?calibrate|calibrate|re_?estimate|precise|sync|copy|adjust)\w*"
    r"_(bn|batch_?norm)s?(_|$)|(^|_)(bn|batch_?norm)s?_(update|re|calibrat|fix|adjust)"
    r"|(copy|update|sync|average|ema)\w*_buffers?$",
    re.IGNORECASE,
)
"""Names of functions that give an averaged model statistics of its own; torch's is `update_bn`."""
SWA: Final = "torch.optim.swa_utils.AveragedModel"
EQUAL: Final = frozenset({"get_swa_avg_fn", "get_swa_multi_avg_fn"})
"""What averages all models alike: the statistics of the last one do not fit their mean."""


class Averagings:
    """Looks for averaged models that somebody evaluates."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.structure = scripts.structure
        self.run = scripts.run
        self.averages = scripts.run.averages
        summaries = self.run.project.summaries
        self.calls: frozenset[str] = frozenset().union(*(s.calls for s in summaries.values()))
        self.mentioning = {name for name, summary in summaries.items() if "statistics" in summary.words}
        self.recomputes = any(RECOMPUTING.search(name) for name in self.calls)

    def __iter__(self) -> Iterator[Average]:
        for group in self.groups():
            yield from self.of_loop(group)
        for model in self.averaged_models():
            yield from self.of_torch(model)

    # loops over the parameters

    def groups(self) -> Iterator[list[Averaged]]:
        """The models that one call of a loop averages: several where an option picks one of them."""
        found: dict[Hashable, dict[Hashable, Averaged]] = {}
        for one in self.averages.found:
            way = (one.place, tuple(call.place for call in one.calls))
            found.setdefault(way, {}).setdefault(one.target.key, one)
        yield from (list(group.values()) for group in found.values())

    def of_loop(self, group: list[Averaged]) -> Iterator[Average]:
        forwards = [event for one in group for event in self.forwards(one.target)]
        if not forwards:
            return
        target = group[0].target
        made = "is copied here" if target.key in self.averages.copies else "is built here"
        name = self.scripts.name(target)
        yield Average(
            where=where_of(group[0].place),
            model=name,
            how="parameters",
            modes=frozenset(m.mode for event in forwards for m in event.modes),
            buffers=agreed(self.buffers(one) for one in group),
            batchnorm=agreed(self.batchnorm(one.target) for one in group),
            moving=agreed(self.moving(one.source) for one in group),
            path=(
                Step(where_of(target.place), f"`{name}` {made}, with its buffers"),
                *self.evaluated(forwards, name),
            ),
        )

    def batchnorm(self, model: Value) -> Answer3:
        """Whether a model contains BatchNorm; a copy of one of torch's containers holds what that holds."""
        while (
            isinstance(model, Obj) and isinstance(model.cls, External) and model.key in self.averages.copies
        ):
            model = self.averages.copies[model.key]
        return self.structure.has_batchnorm(model)

    def moving(self, source: Value) -> Answer3:
        """Whether the averaged model runs in train mode, so that its statistics move on."""
        if not isinstance(source, Obj) or self.scripts.frozen(source) != "no":
            return "unknown"
        trained = (e for e in self.forwards(source) if {m.mode for m in e.modes} == {"train"})
        moved = (e for e in trained if not e.parts_switched and self.has_awake(e))
        return "unknown" if next(moved, None) is None else "yes"

    def has_awake(self, event: events.Forward) -> bool:
        """Whether a called model has BatchNorm that was not put into eval mode by itself."""
        return self.structure.has_batchnorm(event.model, event.resting) == "yes"

    def buffers(self, one: Averaged) -> Answer3:
        """Whether the buffers of the copy come from somewhere: whoever names them may well see to it."""
        if one.target.key in self.averages.fed:
            return "yes"
        files = {one.place.filename, *(call.filename for call in one.calls)}
        return "unknown" if self.recomputes or files & self.mentioning else "no"

    def evaluated(self, forwards: Iterable[events.Forward], name: str) -> Iterator[Step]:
        """Where the copy was put into eval mode, and where it is called then."""
        event = next((e for e in forwards if {m.mode for m in e.modes} == {"eval"}), None)
        if event is None:
            return
        for mode in event.modes:
            if mode.place.filename:
                yield Step(where_of(mode.place), mode.how)
        yield Step(where_of(event.place), f"`{name}` is called here, in eval mode")

    # calls

    def forwards(self, model: Obj) -> Iterator[events.Forward]:
        """The calls of a model, of its parts and of what it is a part of."""
        inside, around = self.run.objects.inside(model), self.around(model)
        for event in self.scripts.record.forwards:
            if is_inside(event.model, inside):
                yield event
            elif isinstance(event.model, Obj) and event.model.key in around:
                is_wrapper = around[event.model.key]  # of several parts, who knows which are called
                if is_wrapper or {m.mode for m in event.modes} != {"eval"}:
                    yield event

    def around(self, model: Obj) -> dict[Hashable, bool]:
        """The modules that a model is part of, and whether it is their only part."""
        found: dict[Hashable, bool] = {}
        pending: list[tuple[Hashable, bool]] = [(model.key, True)]
        while pending and len(found) < MOST_AROUND:
            key, alone = pending.pop()
            for parent in self.run.root.get((key, PARENTS)) or ():
                if parent not in found:
                    found[parent] = alone and len(self.run.objects.registered.get(parent, ())) == 1
                    pending.append((parent, found[parent]))
        return found

    # torch's own

    def averaged_models(self) -> Iterator[Obj]:
        """The instances of torch's `AveragedModel` that are called."""
        found = {
            event.model.key: event.model
            for event in self.scripts.record.forwards
            if isinstance(event.model, Obj)
            and isinstance(event.model.cls, External)
            and event.model.cls.path == SWA
        }
        if "update_parameters" in self.calls:
            yield from found.values()

    def of_torch(self, model: Obj) -> Iterator[Average]:
        source = model.args.value(0, "model")
        if source is None:
            return
        forwards = list(self.forwards(model))
        name = self.scripts.name(model)
        yield Average(
            where=where_of(model.place),
            model=name,
            how="AveragedModel",
            modes=frozenset(m.mode for event in forwards for m in event.modes),
            buffers=self.buffers_of_torch(model),
            batchnorm=self.batchnorm(source),
            moving=self.moving(source),
            path=tuple(self.evaluated(forwards, name)),
        )

    def buffers_of_torch(self, model: Obj) -> Answer3:
        """What torch does with the buffers: it copies those of the last model, or averages them."""
        if model.key in self.averages.fed or model.args.open or self.recomputes:
            return "unknown"
        if model.place.filename in self.mentioning:
            return "unknown"
        flag = model.args.value(4, "use_buffers")
        if flag is not None and not (isinstance(flag, Const) and flag.value is False):
            return "yes" if isinstance(flag, Const) else "unknown"
        return "no" if averages_alike(model.args) else "yes"


def averages_alike(args: Args) -> bool:
    """Whether all models count the same, as they do unless a function says otherwise."""
    for given in (args.value(2, "avg_fn"), args.value(3, "multi_avg_fn")):
        match given:
            case None | Const(value=None):
                continue
            case Sym(name=name) if name in EQUAL:
                continue
        return False
    return True


def is_inside(model: Value, keys: Container[Hashable]) -> bool:
    """Whether a called model is one of these, or was drawn from one of them."""
    key: Hashable = model.key if isinstance(model, Obj | Sym) else None
    while key not in keys:
        if not isinstance(key, tuple) or not key:
            return False
        key = key[0]
    return True


def agreed(answers: Iterable[Answer3]) -> Answer3:
    """The answer that all give."""
    given = set(answers)
    return given.pop() if len(given) == 1 else "unknown"
