"""BatchNorm that its module does not know: in plain lists and dicts, in closures, made in `forward`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from bnlint.facts import Unregistered
from bnlint.source.state import PARENTS
from bnlint.source.statements import names_in
from bnlint.source.values import ClassVal, DictVal, Func, ListVal, Obj, Place, Value, alternatives

if TYPE_CHECKING:
    from bnlint.source.structure import Structure

Holder = Literal["list", "dict", "tuple", "closure", "forward"]

DEEPEST: Final = 6
"""Modules within modules in which a BatchNorm is looked for."""


def unregistered(structure: Structure) -> Iterator[Unregistered]:
    """One fact for each plain container's element, closure and call that hides a BatchNorm."""
    hidden = Hidden(structure)
    for owner, _ in structure.instances:
        assert isinstance(owner.cls, ClassVal)
        if structure.run.objects.is_module(owner.cls) != "yes":
            continue
        for attr in structure.run.objects.names.get(owner.key, ()):
            value = structure.run.state.get((owner.key, attr))
            for _, inner in alternatives(value):
                yield from hidden.behind(owner.cls, inner)
    for owner, layer in structure.made:
        assert isinstance(owner.cls, ClassVal)
        fact = hidden.fact(owner.cls, layer, "forward")
        if fact is not None and fact.layer.value("affine") is not False:
            yield fact


class Hidden:
    """Looks behind the attributes of a module."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.run = structure.run

    def behind(self, owner: ClassVal, value: Value, depth: int = 0) -> Iterator[Unregistered]:
        """What one attribute hides, also in lists of lists."""
        match value:
            case ListVal() if depth < DEEPEST:
                items = self.run.items(value)
                held = [h.value for h in items.held] if items else []
                kind: Holder = "tuple" if value.kind == "tuple" else "list"
                yield from self.among(owner, held, kind, depth, value.place)
            case DictVal() if depth < DEEPEST:
                entries = list(self.run.entries(value).held.values())
                yield from self.among(owner, entries, "dict", depth, value.place)
            case Func():
                yield from self.among(owner, list(self.captured(value)), "closure", depth)

    def among(
        self, owner: ClassVal, values: list[Value], held: Holder, depth: int, place: Place | None = None
    ) -> Iterator[Unregistered]:
        for value in values:
            for _, inner in alternatives(value):
                if isinstance(inner, ListVal | DictVal):
                    yield from self.behind(owner, inner, depth + 1)
                elif isinstance(inner, Obj) and not self.is_on_purpose(inner, values):
                    layer = self.batchnorm_in(inner, 0)
                    fact = None if layer is None else self.fact(owner, layer, held, place)
                    if fact is not None:
                        yield fact

    def is_on_purpose(self, obj: Obj, values: list[Value]) -> bool:
        """Registered elsewhere, in eval mode, or a network alone in its list, as one hides a teacher."""
        run = self.run
        if run.state.get((obj.key, PARENTS)) or any(m.mode == "eval" for m in run.events.modes_of(obj)):
            return True
        return len(values) == 1 and run.objects.kind(obj) is None

    def batchnorm_in(self, obj: Obj, depth: int) -> Obj | None:
        """The first BatchNorm in a module."""
        if self.run.objects.kind(obj) == "batchnorm":
            return obj
        if depth == DEEPEST or self.run.objects.kind(obj) is not None or not self.is_module(obj):
            return None
        items = self.run.containers.items(obj)
        inside: list[Value] = [h.value for h in items.held if not h.guards] if items else []
        names = self.run.objects.names.get(obj.key, ())
        inside += [v for v in (self.run.root.get((obj.key, n)) for n in names) if v is not None]
        for value in inside:
            if isinstance(value, Obj):
                found = self.batchnorm_in(value, depth + 1)
                if found is not None:
                    return found
        return None

    def is_module(self, obj: Obj) -> bool:
        return self.run.objects.is_container(obj) is not None or self.run.objects.is_module(obj.cls) == "yes"

    def captured(self, func: Func) -> Iterator[Value]:
        """The objects of the functions around a function that it uses."""
        around = [scope for scope in func.scopes if scope != func.module.key]
        for name in dict.fromkeys(names_in(func.function.body)):
            for scope in around:
                value = self.run.root.get((scope, name))
                if isinstance(value, Obj):
                    yield value

    def fact(
        self, owner: ClassVal, obj: Obj, held: Holder, place: Place | None = None
    ) -> Unregistered | None:
        layer = self.structure.layer(obj)
        if layer is None or (held == "forward" and self.run.state.get((obj.key, PARENTS))):
            return None
        return Unregistered(layer, owner.klass.name, held, None if place is None else place.where())
