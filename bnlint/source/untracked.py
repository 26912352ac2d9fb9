"""BatchNorm that has no statistics of its own, or stops to keep them, in models that are evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from bnlint.facts import Answer3, Untracked
from bnlint.finding import Step, Where
from bnlint.source import events
from bnlint.source.names import is_test_file, stem, words
from bnlint.source.structure import where_of
from bnlint.source.values import ClassVal, Obj, Sym, Value

if TYPE_CHECKING:
    from bnlint.source.scripts import Scripts

MEANT: Final = frozenset(
    {"gan", "generator", "discriminator", "critic", "style", "stylization", "adain", "instance"}
    | {"maml", "meta", "reptile", "anil", "fewshot", "shot", "shots", "proto", "prototypical", "episode"}
    | {"tent", "tta", "adapt", "adaptive", "adaptation", "supernet", "nas", "search", "darts"}
)
"""Words of fields in which the statistics of the batch itself are the ones that are wanted."""


class Untrackeds:
    """Looks for evaluations of models whose BatchNorm tracks no statistics."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.run = scripts.run
        self.record = scripts.record
        self.layers = any(self.is_built_without(norm) for norm in self.record.norms)

    def __iter__(self) -> Iterator[Untracked]:
        if not self.layers and not self.record.untracked:
            return
        for number, event in enumerate(self.record.forwards):
            if self.evaluates(event):
                yield from self.of_evaluation(event, number)

    def evaluates(self, event: events.Forward) -> bool:
        """Whether a call certainly evaluates a model that is in eval mode."""
        if event.trained or {m.mode for m in event.modes} != {"eval"}:
            return False
        return next(self.scripts.evaluation(event), None) is not None

    def of_evaluation(self, event: events.Forward, number: int) -> Iterator[Untracked]:
        self.scripts.structure.has_batchnorm(event.model)  # builds it, as far as nobody has yet
        inside = self.run.objects.inside(event.model)
        for part in inside.values():
            if isinstance(part, Obj) and self.is_built_without(part):
                layer = self.scripts.structure.layer(part)
                if layer is not None:
                    yield self.fact(event, layer.arguments["track_running_stats"].where, "built", part)
        for one in self.record.untracked:
            owner = one.norm.key
            known = owner in inside or (isinstance(owner, tuple) and owner[0] in inside)
            if known and one.since <= number and not self.is_undone(one):
                trained = self.trained_between(event, one.since)
                yield self.fact(event, where_of(one.place), "flipped", one.norm, one.calls, trained)

    def is_built_without(self, part: Obj) -> bool:
        if self.run.objects.kind(part) != "batchnorm":
            return False
        layer = self.scripts.structure.layer(part)
        return layer is not None and layer.value("track_running_stats") is False

    def is_undone(self, one: events.Untracking) -> bool:
        """Whether the flag comes back, or somebody removes the buffers too and knows what eval does then."""
        return one.norm.key in self.record.tracked or one.norm.key in self.record.emptied

    def trained_between(self, event: events.Forward, since: int) -> Answer3:
        """Whether the model trains in train mode after the flag was flipped."""
        inside = self.run.objects.inside(event.model)
        for other in self.record.forwards[since:]:
            trains = other.trained and {m.mode for m in other.modes} == {"train"} and not other.parts_switched
            if trains and isinstance(other.model, Obj | Sym) and other.model.key in inside:
                return "yes"
        return "unknown"

    def fact(
        self,
        event: events.Forward,
        where: Where,
        how: Literal["built", "flipped"],
        norm: Value,
        calls: tuple[events.Call, ...] = (),
        trained: Answer3 = "unknown",
    ) -> Untracked:
        name = self.scripts.name(event.model)
        return Untracked(
            where=where,
            model=name,
            how=how,
            trained=trained,
            meant="yes" if self.is_meant(event, where, norm, calls) else "no",
            path=(
                *(step for step in self.scripts.path(event) if "train mode" not in step.message),
                Step(where_of(event.place), f"`{name}` is evaluated here"),
            ),
        )

    def is_meant(
        self, event: events.Forward, where: Where, norm: Value, calls: tuple[events.Call, ...]
    ) -> bool:
        """Whether a name says that batch statistics are wanted, or that this only tests the code."""
        names = [stem(where.filename), stem(event.place.filename)]
        for call in (*event.calls, *calls):
            names += (call.name, call.owner, stem(call.filename))
        for value in (event.model, norm):
            if isinstance(value, Obj):
                names.append(value.name)
                names.append(value.cls.klass.name if isinstance(value.cls, ClassVal) else "")
        if any(is_test_file(filename) for filename in (where.filename, event.place.filename)):
            return True
        return any(set(words(name)) & MEANT for name in names)
