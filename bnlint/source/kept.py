"""What is kept of a model without a copy: its state, or the model itself under a second name.

`model.state_dict()` holds the model's own tensors. Whoever keeps it while the model trains on keeps nothing.
Here it is recorded when state is taken, when models move, and when somebody uses what was kept; `aliased`
judges that once all is seen.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from bnlint.source import summary as ir
from bnlint.source.extract import is_model_name
from bnlint.source.state import around
from bnlint.source.values import (
    ALWAYS,
    Args,
    Const,
    DictVal,
    Either,
    Guards,
    ListVal,
    Obj,
    Place,
    Sym,
    Taken,
    Value,
    alternatives,
    contradicts,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter
    from bnlint.source.summary import Block

UseOf: TypeAlias = Literal["loaded", "saved", "returned", "used"]

DEEPEST: Final = 3
"""How deep lists and dicts of states are looked into."""
WHOLE: Final = "module"
"""What is taken where the model itself is kept."""
CONVERSIONS: Final = frozenset({"cpu", "cuda", "to", "float", "half", "double", "clone"})
"""What makes a copy of a tensor, or may make one."""


class Moved:
    """A model moved at `time`: it was trained, or another state was loaded into it."""

    __slots__ = ("guards", "key", "place", "time", "trained")

    def __init__(self, key: Hashable, time: int, place: Place, guards: Guards, *, trained: bool) -> None:
        self.key = key
        self.time = time
        self.place = place
        self.guards = guards
        self.trained = trained


@dataclass(slots=True, eq=False)
class Reuse:
    """What was kept of a model is used after the model has `moved`; `same` says that it goes back into it."""

    kept: Taken
    moved: Moved
    use: UseOf
    place: Place
    same: bool = False


class Kept:
    """Keeps what is taken, and when models move, while a program is interpreted."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.time = 0
        self.moves: list[Moved] = []
        self.reuses: list[Reuse] = []
        self.written: set[int] = set()
        self.bodies: dict[int, Block] = {}
        self.models: dict[Place, list[Value]] = {}
        self.aliases: set[str] = set()

    # state is taken

    def taken(self, model: Obj | Sym, what: str, place: Place) -> Taken:
        """`model.state_dict()`, `model.parameters()`: the model's own tensors, from now on."""
        if self.run.eager:
            return Taken(model, what, place)
        self.time += 1
        frame = self.run.frame
        self.bodies[self.time] = frame.func.function.body if frame.func else frame.module.summary.body
        self.models.setdefault(place, []).append(model)
        return Taken(model, what, place, time=self.time)

    def copied(self, value: Value, depth: int = 0) -> Value:
        """A deep copy of something: what was taken is nobody's any more."""
        run = self.run
        match value:
            case Taken(time=time) if time:
                return replace(value, time=0)
            case Either():
                return Either(tuple((g, self.copied(v, depth)) for g, v in value.alternatives))
            case DictVal() if depth < DEEPEST and any(self.inside(value)):
                entries = run.entries(value)
                held = {name: self.copied(v, depth + 1) for name, v in entries.held.items()}
                return run.new_dict(held, value.place, open=entries.open)
            case ListVal() if depth < DEEPEST and any(self.inside(value)):
                items = run.items(value)
                copies = tuple(
                    h._replace(value=self.copied(h.value, depth + 1)) for h in (items.held if items else ())
                )
                return run.new_list(value.kind, copies, value.place, open=items is None or items.open)
        return value

    def wrote(self, target: Value) -> None:
        """Somebody writes into a state: it is no longer what was taken."""
        for _, value in alternatives(target):
            if isinstance(value, Taken):
                self.written.add(value.time)

    # models move

    def trained(self, model: Value, place: Place) -> None:
        """A model is trained: its tensors change in place."""
        self.moved(model, place, trained=True)

    def stepped(self, optimizer: Obj | Sym, place: Place) -> None:
        """`optimizer.step()` moves the parameters that it was built with."""
        given = optimizer.args.value(0, "params") if isinstance(optimizer, Obj) else None
        for _, value in () if given is None else alternatives(self.run.force(given)):
            if isinstance(value, Taken):
                self.moved(value.model, place, trained=True)

    def moved(self, model: Value, place: Place, *, trained: bool) -> None:
        if self.run.eager or not isinstance(model, Obj | Sym):
            return
        self.time += 1
        self.moves.append(Moved(model.key, self.time, place, self.run.state.guards, trained=trained))

    # what was kept is used

    def loaded(self, model: Obj | Sym, args: Args, place: Place) -> None:
        """`model.load_state_dict(state)`: the state is used, and moves the model if it is not its own."""
        state = args.value(0, "state_dict")
        found = [] if state is None else list(self.inside(state))
        own = any(self.is_related(model.key, one.model) for _, one in found)
        self.uses(found, "loaded", place, model)
        assigned = args.value(None, "assign")
        if not own and assigned is None:
            self.moved(model, place, trained=False)

    def saved(self, value: Value, place: Place) -> None:
        """`torch.save(state)`"""
        self.uses(list(self.inside(value)), "saved", place)

    def returned(self, node: ir.Expr, value: Value, place: Place) -> None:
        """A function returns what it has kept."""
        self.uses(list(self.inside(value)), "returned", place)
        for part in node.items if isinstance(node, ir.Display) else (node,):
            self.read(part, "returned", place)

    def uses(
        self, found: list[tuple[Guards, Taken]], use: UseOf, place: Place, into: Obj | Sym | None = None
    ) -> None:
        """Remember the use of what was taken last, if the model has moved since."""
        if self.run.eager or any(one.time == 0 for _, one in found):
            return  # a copy is what counts: the other one only stands in until there is one
        stale = [(one, moved) for guards, one in found if (moved := self.since(one, guards)) is not None]
        if stale:
            one, moved = max(stale, key=lambda pair: pair[0].time)
            same = into is not None and self.is_related(into.key, one.model)
            self.reuses.append(Reuse(one, moved, use, place, same))

    def since(self, one: Taken, guards: Guards) -> Moved | None:
        """What has moved a model since its state was taken, on a way that leads here."""
        if one.time in self.written:
            return None
        here = guards | self.run.state.guards
        for moved in reversed(self.moves):
            if moved.time < one.time:
                return None
            if self.is_related(moved.key, one.model) and not contradicts(moved.guards, here):
                return moved
        return None

    def inside(self, value: Value, guards: Guards = ALWAYS, depth: int = 0) -> Iterator[tuple[Guards, Taken]]:
        """What was taken from models among a value and what it holds."""
        for more, inner in alternatives(self.run.force(value)):
            match inner:
                case Taken(what="state_dict" | "parameters" | "filtered" | "unknown" | "module"):
                    yield guards | more, inner
                case DictVal() if depth < DEEPEST:
                    for entry in self.run.entries(inner).held.values():
                        yield from self.inside(entry, guards | more, depth + 1)
                case ListVal() if depth < DEEPEST:
                    items = self.run.items(inner)
                    for held in items.held if items else ():
                        yield from self.inside(held.value, guards | more | held.guards, depth + 1)

    def is_related(self, key: Hashable, model: Value) -> bool:
        """Whether a model is another one, part of it, or what contains it."""
        if not isinstance(model, Obj | Sym):
            return False
        state = self.run.state
        return key in around(state, model.key) or model.key in around(state, key)

    # the model itself under a second name

    def assigned(self, target: ir.Expr, given: ir.Expr, value: Value) -> None:
        """`best_model = model` keeps no more than the name; whatever else is assigned ends that."""
        match target, given:
            case ir.Display(items=targets), ir.Display(items=values) if len(targets) == len(values):
                for one, source in zip(targets, values, strict=True):
                    if isinstance(source, ir.Name | ir.Get | ir.Lit) and is_best_model(one):
                        self.assigned(one, source, self.run.eval(source))
            case ir.Name() | ir.Get(), _ if is_best_model(target) and not self.run.eager:
                self.renamed(target, given, self.run.force(value))

    def renamed(self, target: ir.Expr, given: ir.Expr, value: Value) -> None:
        if isinstance(given, ir.Name | ir.Get) and isinstance(value, Obj | Sym):
            kept: Value = self.taken(value, WHOLE, self.run.place(self.run.assigning))
            self.aliases.add(name_of(target))
        elif isinstance(value, Obj | Sym):
            kept = Taken(value, WHOLE, self.run.place(self.run.assigning))  # a copy, or another model
        else:
            kept = Const(None)
        if name_of(target) in self.aliases:
            self.run.assign(second_name(target), kept)

    def called(self, node: ir.Call, place: Place) -> None:
        """A call that is given, or asks, a model that has two names."""
        func = node.func
        parts = [arg.value for arg in node.args]
        parts.append(func.base if isinstance(func, ir.Get) else func)
        for part in parts:
            self.read(part, "used", place)

    def read(self, node: ir.Expr, use: UseOf, place: Place) -> None:
        if name_of(node) in self.aliases and not self.run.eager:
            found = self.run.eval(second_name(node))
            self.uses([(g, v) for g, v in alternatives(found) if isinstance(v, Taken)], use, place)


def name_of(node: ir.Expr) -> str:
    """The name of a variable or an attribute."""
    return node.id if isinstance(node, ir.Name) else node.attr if isinstance(node, ir.Get) else ""


def is_best_model(target: ir.Expr) -> bool:
    """Whether something is called as the best of several models is."""
    name = name_of(target)
    return "best" in name and is_model_name(name)


def second_name(node: ir.Expr) -> ir.Expr:
    """Where it is remembered what a variable is another name of."""
    match node:
        case ir.Name(id=name):
            return ir.Name(f"{name}#kept")
        case ir.Get(base=base, attr=attr):
            return ir.Get(base, f"{attr}#kept")
    return node
