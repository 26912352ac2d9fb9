"""BatchNorm that was frozen and trains in train mode all the same: what was recorded becomes facts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from bnlint.facts import Thaw
from bnlint.finding import Step, Where
from bnlint.source import events
from bnlint.source import summary as ir
from bnlint.source.frozen import DEEPEST, NORM_NAME, Fit, Freeze, Undone
from bnlint.source.structure import where_of
from bnlint.source.values import ClassVal, Const, External, Func, Obj, Place, Sym, Value, alternatives

if TYPE_CHECKING:
    from bnlint.source.scripts import Scripts

FrozenBy: TypeAlias = Literal["eval", "parameters", "hidden"]


class Thaws:
    """Looks for frozen BatchNorm among what trains."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.structure = scripts.structure
        self.run = scripts.run
        self.frozen = scripts.run.frozen

    def __iter__(self) -> Iterator[Thaw]:
        for event in self.scripts.record.forwards:
            if event.trained and {m.mode for m in event.modes} == {"train"} and not event.parts_switched:
                yield from self.of_forward(event)
        for fit in self.frozen.fits:
            yield from self.of_fit(fit)

    # a training loop of the project

    def of_forward(self, event: events.Forward) -> Iterator[Thaw]:
        for undone in event.undone:
            if undone.part.key not in event.resting:
                yield self.undone(event, undone)
        freeze = self.without_gradients(event.model, event.resting)
        if freeze is not None:
            since = no_gradients(freeze)
            yield self.fact(event, "parameters", since, self.switch(event) or since.where)
        hidden = self.hidden(event.model)
        if hidden is not None:
            name, place = hidden
            message = f"`{name}()` freezes BatchNorm, but the attribute of that name hides it"
            yield self.fact(event, "hidden", Step(where_of(place), message))

    def undone(self, event: events.Forward, undone: Undone) -> Thaw:
        message = (
            "BatchNorm is put into eval mode here, once" if undone.norms else "eval mode is set here, once"
        )
        answer = self.structure.has_batchnorm(undone.part)
        thaw = self.fact(event, "eval", Step(where_of(undone.setting.place), message))
        return thaw if undone.norms and answer == "unknown" else replace(thaw, batchnorm=answer)

    def fact(self, event: events.Forward, frozen: FrozenBy, since: Step, where: Where | None = None) -> Thaw:
        return Thaw(
            where=where or self.switch(event) or where_of(event.place),
            model=self.scripts.name(event.model),
            frozen=frozen,
            since=since,
            batchnorm="yes",
            path=tuple(self.scripts.path(event)),
        )

    def switch(self, event: events.Forward) -> Where | None:
        """Where the model was put into train mode; None where it only never left it."""
        return next((where_of(m.place) for m in event.modes if m.how != events.BUILT), None)

    # parameters

    def without_gradients(self, model: Value, resting: frozenset[Hashable]) -> Freeze | None:
        """How the parameters of a BatchNorm were frozen, somewhere in a model that trains otherwise."""
        if not isinstance(model, Obj):
            return None
        own = self.frozen.is_frozen(model.key)
        if own is not None and not own.norms and not self.has_more(model, own):
            return None  # nothing of it trains: an attack, or a style
        return self.norm_below(model, own, resting, 0)

    def has_more(self, model: Obj, freeze: Freeze) -> bool:
        """Whether a frozen model was given a new part afterwards, or one of its parts was released."""
        parts = self.run.objects.registered.get(model.key, ())
        released = any(isinstance(p, Obj | Sym) and p.key in self.frozen.released for p in parts)
        return len(parts) > freeze.parts or released

    def norm_below(
        self, part: Value, freeze: Freeze | None, resting: frozenset[Hashable], depth: int
    ) -> Freeze | None:
        """The first BatchNorm in train mode that is frozen by itself or with what it is part of."""
        if not isinstance(part, Obj) or part.key in resting or depth > DEEPEST:
            return None
        if part.key in self.frozen.released or self.keeps_its_mode(part):
            return None
        freeze = self.frozen.is_frozen(part.key) or freeze
        if self.run.objects.kind(part) == "batchnorm":
            return freeze
        if isinstance(part.cls, External) and freeze is not None:
            return freeze if self.structure.has_batchnorm(part) == "yes" else None
        found = (self.norm_below(inner, freeze, resting, depth + 1) for inner in self.parts(part))
        return next((one for one in found if one is not None), None)

    def parts(self, model: Obj) -> Iterator[Value]:
        """The modules that a module is made of."""
        self.structure.has_batchnorm(model)  # builds it
        items = self.run.containers.items(model)
        held = [h.value for h in items.held] if items else self.structure.registered(model)
        for part in held:
            yield from (value for _, value in alternatives(part))

    def keeps_its_mode(self, part: Obj) -> bool:
        """Whether a class has a `train` of its own: it decides itself what is switched."""
        return isinstance(part.cls, ClassVal) and self.run.objects.find(part.cls, "train") is not None

    # a method that nobody can call

    def hidden(self, model: Value) -> tuple[str, Place] | None:
        """A method that freezes BatchNorm behind an attribute of its own name, and where that is set."""
        if not isinstance(model, Obj) or not isinstance(model.cls, ClassVal):
            return None
        for name in self.run.objects.names.get(model.key, ()):
            method = self.run.objects.find(model.cls, name)
            value = self.run.root.get((model.key, name))
            if isinstance(method, Func) and freezes_norms(method.function) and not is_off(value):
                return name, Place(method.module.filename, method.function.span)
        return None

    # a trainer of a framework

    def of_fit(self, fit: Fit) -> Iterator[Thaw]:
        freeze = self.without_gradients(fit.model, fit.resting) or self.of_unknown(fit)
        if freeze is not None:
            yield Thaw(
                where=where_of(fit.place),
                model=self.scripts.name(fit.model),
                frozen="parameters",
                since=no_gradients(freeze),
                batchnorm="yes",
            )

    def of_unknown(self, fit: Fit) -> Freeze | None:
        """A frozen part of a model that came from elsewhere, which its name says to be BatchNorm."""
        for key, freeze in self.frozen.found.items():
            if key in self.frozen.released or key in fit.resting:
                continue
            match key[0] if isinstance(key, tuple) and key[-1] == "children" else key:
                case (owner, str() as name) if owner == fit.model.key and NORM_NAME.match(name):
                    return freeze
        return None


def no_gradients(freeze: Freeze) -> Step:
    """Where the parameters were frozen."""
    return Step(where_of(freeze.place), "the parameters of BatchNorm get no gradients from here on")


def freezes_norms(method: ir.Function) -> bool:
    """Whether a method puts BatchNorm layers into eval mode."""
    return {"norm", "mode"} <= method.words and "eval" in method.calls and "modules" in method.calls


def is_off(value: Value | None) -> bool:
    """Whether a flag is certainly not set."""
    return value is None or (isinstance(value, Const) and not value.value)
