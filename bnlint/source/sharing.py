"""One BatchNorm object in several places: applied after different layers, or held several times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Final

from bnlint.facts import Kind, Op, Shared
from bnlint.finding import Step
from bnlint.source.hidden import Hidden
from bnlint.source.operators import ARITHMETIC
from bnlint.source.state import ITEMS
from bnlint.source.structure import where_of
from bnlint.source.values import (
    ClassVal,
    Const,
    Flow,
    Func,
    Guards,
    Held,
    Items,
    Obj,
    Sym,
    Value,
    alternatives,
    contradicts,
    unknown,
)

if TYPE_CHECKING:
    from bnlint.source.events import Multiplied, Normalised
    from bnlint.source.structure import Structure

MOVING: Final[frozenset[Kind]] = frozenset(
    {"activation", "dropout", "pool", "reshape", "resample", "identity", "softmax"}
)
"""What hands on what a layer made."""
MEETING: Final[frozenset[Kind]] = frozenset({"add", "concat", "multiply"})
"""Where the results of several layers meet."""
MOST_STEPS: Final = 60
"""Operations behind a BatchNorm that are looked at for the layers that feed it."""

MULTIPLIED: Final = "the list is multiplied by 2 or more"

Feeders = dict[Hashable, Flow]
"""The layers that feed a tensor, each with its last application; the inputs of a forward are one of them."""


def shared(structure: Structure) -> Iterator[Shared]:
    """One fact for each BatchNorm that is applied in several places, and each container that repeats one."""
    sharing = Sharing(structure)
    applied = {fact.norm.where: fact for fact in reversed(list(sharing.applied()))}
    held = {fact.where: fact for fact in sharing.held()}
    yield from {**held, **{fact.where: fact for fact in applied.values()}}.values()


class Sharing:
    """Finds the places in which one BatchNorm object stands."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.run = structure.run
        self.hidden = Hidden(structure)

    # applied several times

    def applied(self) -> Iterator[Shared]:
        """BatchNorm objects that one forward applies to what different layers give."""
        together: dict[tuple[Hashable, Hashable], list[Normalised]] = defaultdict(list)
        for event in self.run.events.record.normalised:
            together[event.root, event.layer.key].append(event)
        for events in together.values():
            fact = self.mixed(events) if len(events) > 1 else None
            if fact is not None:
                yield fact

    def mixed(self, events: list[Normalised]) -> Shared | None:
        """The first two applications of one object that certainly meet on one path and share no layer."""
        fed = [(event, feeders(event)) for event in events if not is_picked(event.guards)]
        for (one, first), (other, second) in combinations(fed, 2):
            if first and second and not first.keys() & second.keys() and meet(one.guards, other.guards):
                norm = self.structure.layer(other.layer)
                if norm is None:
                    return None
                return Shared(
                    norm,
                    where_of(other.flow.place),
                    "applied",
                    (self.nearest(first), self.nearest(second)),
                    frozen=self.structure.frozen(other),
                    evidence=(
                        Step(norm.where, f"the {norm.cls} is built here, once"),
                        Step(where_of(one.flow.place), "it is applied here as well"),
                    ),
                )
        return None

    def nearest(self, fed: Feeders) -> Op:
        return self.structure.op(next(iter(fed.values())))

    # held several times

    def held(self) -> Iterator[Shared]:
        """BatchNorm objects, and modules with BatchNorm, of which a container holds one several times."""
        for container in list(self.run.objects.containers.values()):
            items: Items | None = self.run.state.get((container.key, ITEMS))
            found = (
                () if items is None else (self.of_container(container, again) for again in repeated(items))
            )
            yield from list(filter(None, found))[:1]

    def of_container(self, container: Obj, again: Held) -> Shared | None:
        """What a container holds once more, if it is a BatchNorm or contains one."""
        assert isinstance(again.value, Obj)
        kind = self.run.objects.is_container(container) or "Sequential"
        is_anonymous = again.place == again.value.place
        if kind == "ModuleDict" or (kind == "ModuleList" and not is_anonymous):
            return None  # one head for several levels or outputs: its weights are shared on purpose
        multiplied = self.run.events.record.multiplied.get(again.value.key)
        assumed = None if multiplied is None else self.number(multiplied)
        inner = self.hidden.batchnorm_in(again.value, 0)
        norm = None if inner is None else self.structure.layer(inner)
        if norm is None or assumed == "":
            return None
        built = Step(where_of(again.value.place), "the object is built here, once")
        return Shared(
            norm, where_of(again.place), "repeated", container=kind, assumed=assumed, evidence=(built,)
        )

    def number(self, multiplied: Multiplied) -> str | None:
        """What has to be assumed of `[layer] * number`: None if nothing, "" if the project says otherwise."""
        number, owner = multiplied
        given: list[Value] = []
        if isinstance(number, Sym) and number.default is not None:
            given = [number.default]
        elif isinstance(number, Sym) and owner is not None:
            given = [computed(number.key, value) for value in self.given(owner, number.name)]
        if any(map(is_several, given)):
            return None
        return "" if given and all(isinstance(value, Const) for value in given) else MULTIPLIED

    def given(self, owner: ClassVal, name: str) -> Iterator[Value]:
        """What the project gives to a parameter of a class's constructor."""
        init = self.run.objects.find(owner, "__init__")
        names = [p.name for p in init.function.params[1:]] if isinstance(init, Func) else []
        for obj in self.run.events.record.instances.get(owner, ()) if name in names else ():
            value = obj.args.value(names.index(name), name)
            if value is not None:
                yield self.run.force(value)


def computed(key: Hashable, value: Value) -> Value:
    """What a parameter's value makes of the arithmetic that the key of something computed from it spells."""
    match key, value:
        case (inner, str() as op, int() as other), Const():
            match computed(inner, value):
                case Const(value=int() as number) if op in ARITHMETIC and other:
                    return Const(ARITHMETIC[op](number, other))
            return unknown()
        case tuple(), _:
            return unknown()
    return value


def is_several(value: Value) -> bool:
    """Whether a value is a number above one."""
    return isinstance(value, Const) and isinstance(value.value, int) and value.value > 1


def repeated(items: Items) -> Iterator[Held]:
    """The items of which the very same object came before, on a path that reaches both; each object once."""
    before: dict[int, Guards] = {}
    told: set[int] = set()
    for held in items.held:
        key = id(held.value)
        if not isinstance(held.value, Obj) or key in told:
            continue
        if key in before and meet(before[key], held.guards):
            told.add(key)
            yield held
        before[key] = held.guards


def meet(one: Guards, other: Guards) -> bool:
    """Whether one of two places is reached wherever the other is."""
    return one <= other or other <= one


def is_picked(guards: Guards) -> bool:
    """Whether a place is only reached for one choice from a list whose index is not known."""
    return any(isinstance(key, tuple) and key and key[0] == "at" for key, _ in guards)


def feeders(event: Normalised) -> Feeders:
    """The layers whose results a BatchNorm is applied to; empty where one of them is not known."""
    found: Feeders = {}
    pending: list[Value] = list(event.flow.inputs[:1])
    seen: set[int] = set()
    while pending:
        for guards, flow in alternatives(pending.pop()):
            if contradicts(guards, event.guards) or id(flow) in seen:
                continue
            seen.add(id(flow))
            if not isinstance(flow, Flow) or len(seen) > MOST_STEPS:
                return {}
            if flow.kind in MOVING:
                if not flow.inputs:
                    return {}
                pending.append(flow.inputs[0])
            elif flow.kind in MEETING:
                pending.extend(flow.inputs)
            elif flow.kind == "input":
                found["input"] = flow
            elif flow.layer is None:
                return {}
            elif flow.layer is not event.layer:
                found.setdefault(flow.layer.key, flow)
    return found
