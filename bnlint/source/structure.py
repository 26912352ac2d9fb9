"""The structure of models: what their constructors build and how tensors flow through their forward."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Final

from bnlint.facts import MOVES, UNKNOWN, Answer3, Chain, Kind, Layer, Op, Setting, Use
from bnlint.finding import Step, Where
from bnlint.source import zoo
from bnlint.source.blocks import block_of
from bnlint.source.conditions import Conditions
from bnlint.source.events import Normalised
from bnlint.source.extract import is_model_name
from bnlint.source.interpret import Interpreter, OutOfFuel
from bnlint.source.layers import LAYERS, NO_DEFAULT, layer_kind, torch_name
from bnlint.source.objects import BASE_ARGS, LOSS_ENDINGS, STANDARD, last_name
from bnlint.source.overrides import is_kept_in_eval
from bnlint.source.state import State
from bnlint.source.statements import calls_in
from bnlint.source.turns import OUTSIDE
from bnlint.source.values import (
    ALWAYS,
    Args,
    ArgVal,
    ClassVal,
    Const,
    Either,
    External,
    Flow,
    Func,
    Guards,
    ListVal,
    Obj,
    Place,
    Sym,
    Value,
    alternatives,
    contradicts,
    fresh,
)

CLASS_FUEL: Final = 3_000
"""Statements that the constructor and the forward of one class may take, with all that they call."""
OPTIONS_FUEL: Final = 20_000
"""The same where the options of a class are not known: rarely asked for, and there are more ways."""
BATCHNORMS: Final = frozenset(name for name, (kind, _) in LAYERS.items() if kind == "batchnorm")
MOST_CALLS: Final = 4
"""How many calls of a function that builds layers are run for what they are given."""
LONGEST_CHAIN: Final = 12
MOST_CHAINS: Final = 8
DEEPEST_BLOCK: Final = 4
ACTIVATION: Final = re.compile(r"(^|_)(act|activation|actfn|nonlin|nonlinearity|gelu|relu)\d*(_|$)")
"""Names of attributes that are called and normalise nothing."""
DEEPEST_LIST: Final = 3
DEEPEST_PART: Final = 40
"""How deep the parts of a model are looked at; each level of modules takes two."""
MOST_NESTED: Final = 3
"""How often a class of the project may be part of itself: one that builds itself twice doubles each time."""

ENDS: Final[frozenset[Kind]] = frozenset({"add", "concat", "multiply", "input", "unknown", "other"})
"""Where a chain of operations ends: several tensors meet, or nothing more is known."""


def where_of(place: Place) -> Where:
    return place.where()


class Structure:
    """Runs the classes of a project by themselves and reads what was recorded.

    A `strict` one takes an attribute that is called and of which nothing is known for a layer as likely
    as for anything else.
    """

    def __init__(self, run: Interpreter, *, strict: bool = False) -> None:
        self.run = run
        self.strict = strict
        self.outputs: dict[Hashable, Value] = {}
        self.contains: dict[tuple[Hashable, Kind], Answer3] = {}
        self.inside: list[ClassVal | External] = []
        self.instances: list[tuple[Obj, Value | None]] = []
        self.made: list[tuple[Obj, Obj]] = []
        self.layers: dict[int, Layer] = {}
        self.conditions = Conditions(run.project)
        self.kept: dict[int, bool] = {}

    # running

    def run_class(self, cls: ClassVal) -> None:
        """Build an instance with its defaults and send a tensor through it."""
        place = Place(cls.module.filename, cls.klass.span)
        obj = Obj(fresh(), cls, Args(entry=True), place)
        result: Value | None = None
        made = len(self.run.events.record.made)
        try:
            with self.alone():
                self.run.objects.prepare(obj)
                result = self.output(obj)
        except OutOfFuel:
            pass
        self.instances.append((obj, result))
        self.made.extend((obj, layer) for layer in self.run.events.record.made[made:])
        if self.is_unseen(cls):
            self.run_options(cls, place)

    def is_unseen(self, cls: ClassVal) -> bool:
        """Whether the constructor makes a BatchNorm only with options that are off by default."""
        init = next((method for method in cls.klass.methods if method.name == "__init__"), None)
        if init is None or not init.calls & BATCHNORMS:
            return False
        written = self.run.events.record.written
        calls = (call for call in calls_in(init.body) if last_name(call.func) in BATCHNORMS)
        return any(Place(cls.module.filename, call.span) not in written for call in calls)

    def run_options(self, cls: ClassVal, place: Place) -> None:
        """Build and run an instance whose options are not known."""
        obj = Obj(fresh(), cls, Args(open=True), place)
        try:
            with self.alone(OPTIONS_FUEL):
                self.run.objects.prepare(obj)
                self.output(obj)
        except OutOfFuel:
            pass

    def try_out(self, obj: Obj) -> None:
        """Send a tensor through an instance of the project's, and forget how: its class was looked at."""
        record = self.run.events.record
        before = len(record.normalised), len(record.functional), len(record.compared)
        try:
            with self.alone():
                self.run.objects.prepare(obj)
                self.output(obj)
        except OutOfFuel:
            pass
        del record.normalised[before[0] :], record.functional[before[1] :], record.compared[before[2] :]

    def run_function(self, func: Func) -> None:
        """Run a function that builds layers, with unknown arguments."""
        try:
            with self.alone():
                self.run.run(func, Args(entry=True), None, Place(func.module.filename, func.function.span))
        except OutOfFuel:
            pass

    def run_calls(self, func: Func) -> None:
        """Run the first calls of such a function that say what it is to build."""
        for call in self.run.postponed[id(func.function)][:MOST_CALLS]:
            try:
                with self.alone():
                    self.run.force(call)
            except OutOfFuel:
                pass

    def alone(self, fuel: int = CLASS_FUEL) -> _Alone:
        return _Alone(self.run, fuel)

    def output(self, obj: Obj) -> Value | None:
        """What an instance's forward returns for unknown tensors."""
        if obj.key in self.outputs:
            return self.outputs[obj.key]
        forward = self.run.objects.find(obj.cls, "forward")
        if not isinstance(forward, Func):
            return None
        self.outputs[obj.key] = Sym(fresh())
        inputs = tuple(
            ArgVal(p.name, Flow("input", p.name, (), obj.place), obj.place)
            for p in forward.function.params[1:]
            if p.kind in {"both", "position", "keyword"} and p.default is None
        )
        self.run.inside_forward = True
        result = self.run.run(forward, Args(inputs), obj, obj.place)
        self.run.inside_forward = False
        self.outputs[obj.key] = result
        return result

    # layers

    def layer(self, obj: Obj) -> Layer | None:
        """A layer of torch as a fact."""
        if id(obj) in self.layers:
            return self.layers[id(obj)]
        kind = self.run.objects.kind(obj)
        if kind is None:
            return None
        name = self.run.objects.torch_name(obj)
        if name is None:
            return None
        args = obj.args
        if isinstance(obj.cls, ClassVal):
            self.run.objects.prepare(obj)
            args = self.run.state.get((obj.key, BASE_ARGS)) or Args(open=True)
        layer = Layer(name, kind, where_of(obj.place), dict(self.settings(name, args, obj.place)))
        self.layers[id(obj)] = layer
        return layer

    def settings(self, name: str, args: Args, place: Place) -> Iterator[tuple[str, Setting]]:
        for position, (argument, default) in enumerate(LAYERS[name][1].items()):
            given = args.get(position, argument)
            if given is not None:
                yield argument, self.setting(given, position if given.name is None else None)
            elif args.open:
                yield argument, Setting(UNKNOWN, where_of(place), given=False)
            elif default is not NO_DEFAULT:
                yield argument, Setting(default, where_of(place), given=False)

    def setting(self, given: ArgVal, position: int | None) -> Setting:
        value = self.run.force(given.value)
        if isinstance(value, Const):
            steps: tuple[Step, ...] = ()
            if value.place is not None and value.place != given.place:
                label = f"`{value.name} = {value.value!r}`" if value.name else f"{value.value!r}"
                steps = (Step(where_of(value.place), f"{label} comes from here"),)
            return Setting(value.value, where_of(given.place), position=position, evidence=steps)
        return Setting(UNKNOWN, where_of(given.place), position=position)

    # chains

    def op(self, flow: Flow) -> Op:
        layer = None if flow.layer is None else self.layer(flow.layer)
        if layer is None and flow.kind == "dropout" and isinstance(flow.call, Args):
            given = flow.call.get(1, "p")
            setting = (
                Setting(0.5, where_of(flow.place), given=False)
                if given is None
                else self.setting(given, None)
            )
            layer = Layer(flow.name, "dropout", where_of(flow.place), {"p": setting})
        return Op(flow.kind, flow.name, where_of(flow.place), layer)

    def chains(
        self, value: Value, guards: Guards, left: int = LONGEST_CHAIN, known: Guards | None = None
    ) -> list[tuple[Flow, ...]]:
        """The ways in which a tensor was computed, nearest operation first.

        `known` are the conditions of whoever uses the tensor. What another turn of a loop over who knows
        what decides may have come before or not: such a way ends there.
        """
        found: list[tuple[Flow, ...]] = []
        for inner, flow in alternatives(value):
            if contradicts(inner, guards):
                continue
            if known is not None and self.run.numbers.decide(inner, known):
                found.append(())
                continue
            if not isinstance(flow, Flow):
                found.append(())
                continue
            if flow.kind in ENDS or left == 0 or not flow.inputs:
                found.append((flow,))
                continue
            for chain in self.chains(flow.inputs[0], guards | inner, left - 1, known):
                found.append((flow, *chain))
            if len(found) > MOST_CHAINS:
                break
        return found[:MOST_CHAINS]

    def as_chain(self, flows: tuple[Flow, ...]) -> Chain:
        return tuple(self.op(flow) for flow in flows)

    # facts

    def norms(self) -> tuple[Layer, ...]:
        layers = (self.layer(obj) for obj in self.run.events.record.norms)
        return tuple(unique({layer.where: layer for layer in layers if layer is not None}))

    def uses(self) -> tuple[Use, ...]:
        """One for each order that is written; a container's counts before that of whoever tries it out."""
        found: dict[object, tuple[Normalised, Use]] = {}
        for event in self.run.events.record.normalised:
            use = self.use(event)
            if use is not None:
                found[(use.where, use.norm.where, shape_of(use.before))] = event, use
        held = {(id(e.layer), nearest(u.before)) for e, u in found.values() if u.where == u.norm.where}
        return tuple(
            use
            for event, use in found.values()
            if use.where == use.norm.where or (id(event.layer), nearest(use.before)) not in held
        )

    def use(self, event: Normalised) -> Use | None:
        norm = self.layer(event.layer)
        if norm is None or not event.flow.inputs:
            return None
        chains = [
            self.through(chain)
            for chain in self.chains(event.flow.inputs[0], event.guards, known=event.guards)
        ]
        before = tuple(self.as_chain(c) for c in chains)
        frozen = self.frozen(event)
        certain = all(self.always_follows(event, chain) for chain in chains)
        return Use(norm, where_of(event.flow.place), event.scope, before, frozen=frozen, certain=certain)

    def frozen(self, event: Normalised) -> Answer3:
        """Whether a BatchNorm may be kept in eval mode for good, by the class that applies it."""
        kept = event.owner is not None and self.is_kept_in_eval(event.owner)
        return "unknown" if kept else "no"

    def through(self, chain: tuple[Flow, ...]) -> tuple[Flow, ...]:
        """A chain goes on inside the block that it comes from, where that has one way only."""
        last = chain[-1] if chain else None
        block = None if last is None else block_of(last)
        if block is None or any(flow.kind not in MOVES for flow in chain[:-1]):
            return chain
        try:
            with self.alone():
                self.run.objects.prepare(block)
                inside = self.output(block)
        except OutOfFuel:
            return chain
        ways = [] if inside is None else self.chains(inside, ALWAYS)
        return (*chain[:-1], *ways[0]) if len(ways) == 1 else chain

    def is_kept_in_eval(self, cls: ClassVal) -> bool:
        if cls.key not in self.kept:
            self.kept[cls.key] = is_kept_in_eval(self.run.objects, cls)
        return self.kept[cls.key]

    def always_follows(self, event: Normalised, chain: tuple[Flow, ...]) -> bool:
        """Whether the BatchNorm is there wherever the layer before it is: no condition of its own."""
        before = next((flow for flow in chain if flow.kind in {"conv", "linear"}), None)
        if before is None or before.layer is None:
            return True
        layer = self.layer(before.layer)
        if layer is None or layer.value("bias") is not True:
            return True
        written = self.conditions.follows(event.layer.place, before.layer.place, across=False)
        return written and self.conditions.follows(event.flow.place, before.place, across=True)

    # does it contain BatchNorm?

    def has_batchnorm(self, value: Value, without: frozenset[Hashable] = frozenset()) -> Answer3:
        """Whether a model contains BatchNorm, as far as its construction can be followed.

        `without` are the keys of parts that do not count.
        """
        return self.has_outside(value, "batchnorm", without)

    def has_dropout(self, value: Value, without: frozenset[Hashable] = frozenset()) -> Answer3:
        """Whether a model contains Dropout that drops anything."""
        return self.has_outside(value, "dropout", without)

    def has_outside(self, value: Value, kind: Kind, without: frozenset[Hashable]) -> Answer3:
        """Whether a model contains a layer of a kind outside of some of its parts."""
        if not without:
            return self.has(value, kind)
        known, self.contains = self.contains, {(key, kind): "no" for key in without}
        try:
            return self.has(value, kind)
        finally:
            self.contains = known

    def has(self, value: Value, kind: Kind, depth: int = 0) -> Answer3:
        """Whether a model contains a layer of a kind."""
        value = self.run.force(value)
        match value:
            case Obj():
                found = self.contains.get((value.key, kind))
                if found is None:
                    self.contains[value.key, kind] = "unknown"
                    found = self.contains[value.key, kind] = self.contained(value, kind, depth)
                return found
            case Either():
                answers = {self.has(v, kind, depth) for _, v in value.alternatives}
                return answers.pop() if len(answers) == 1 else "unknown"
            case Sym(key=(_, "children"), source=Obj() as parent):
                return self.has(parent, kind, depth + 1)
            case Sym(key=key):
                return "no" if self.is_part_without(key, kind) else "unknown"
            case ListVal():
                items = self.run.items(value)
                return self.any_of([h.value for h in items.held] if items else [], kind, depth)
            case Flow(kind="unknown") if self.strict:
                return "unknown"
        return "no"

    def contained(self, obj: Obj, wanted: Kind, depth: int) -> Answer3:
        if depth > DEEPEST_PART:
            return "unknown"
        if isinstance(obj.cls, ClassVal) and self.inside.count(obj.cls) >= MOST_NESTED:
            return "no"  # the same class has been looked into
        self.inside.append(obj.cls)
        try:
            return self.contained_in(obj, wanted, depth)
        finally:
            self.inside.pop()

    def contained_in(self, obj: Obj, wanted: Kind, depth: int) -> Answer3:
        kind = self.run.objects.kind(obj)
        if kind is not None:
            return self.is_active(obj) if kind == wanted else "no"
        container = self.run.objects.is_container(obj)
        if self.run.objects.class_name(obj).endswith(("Config", "Configuration")):
            return "no"
        if container is None and isinstance(obj.cls, External):
            path = obj.cls.path
            if path.startswith(("torch.nn.", "torch.optim.", "builtins.")) or path.endswith(LOSS_ENDINGS):
                return "no"
            if re.fullmatch(r"torch\.[A-Z]\w*", path):  # a kind of tensor
                return "no"
            return self.contained_in_foreign(obj, wanted, depth)
        try:
            with self.alone():
                self.run.objects.prepare(obj)
        except OutOfFuel:
            return "unknown"
        items = self.run.containers.items(obj)
        held = [h.value for h in items.held] if items else self.registered(obj)
        names = self.run.objects.names.get(obj.key, {})
        held += [
            v
            for n, v in ((n, self.run.root.get((obj.key, n))) for n in names)
            if v is not None and (is_model_name(n) or not self.is_number(v))
        ]
        if self.is_subclass(obj, wanted):
            return "yes"
        answer = self.any_of(list(held), wanted, depth + 1)
        if answer == "no" and items is not None and items.open:
            return "unknown"
        if answer == "no" and isinstance(obj.cls, ClassVal):
            return "unknown" if self.strict and self.calls_unknown(obj) else self.doubt(obj.cls)
        return answer

    def is_part_without(self, key: Hashable, kind: Kind) -> bool:
        """Whether something is a part of a library's model that has no such layer."""
        while isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], str):
            key = key[0]
        model = self.run.objects.foreign.get(key)
        return model is not None and self.has(model, kind) == "no"

    def contained_in_foreign(self, obj: Obj, wanted: Kind, depth: int) -> Answer3:
        """What is known of a library's model, and of what the project has put into it since."""
        path = obj.cls.path if isinstance(obj.cls, External) else ""
        known = self.run.project.known_model(path, obj.args)
        if known is None or wanted not in {"batchnorm", "dropout"}:
            return "unknown"
        answer = known.batchnorm if wanted == "batchnorm" else known.dropout
        new = self.run.objects.registered.get(obj.key, ())
        return answer if answer == "yes" else zoo.together(answer, self.any_of(list(new), wanted, depth + 1))

    def is_subclass(self, obj: Obj, wanted: Kind) -> bool:
        """Whether a class extends torch's BatchNorm with a forward of its own."""
        base = self.run.objects.external_base(obj.cls)
        return wanted == "batchnorm" and base is not None and layer_kind(base.path) == "batchnorm"

    def registered(self, obj: Obj) -> list[Value]:
        """What became part of a module; an unknown attribute of a class is a number as likely as a layer."""
        parts = self.run.objects.registered.get(obj.key, ())
        return [p for p in parts if not isinstance(obj.cls, ClassVal) or not self.is_number(p)]

    def is_number(self, value: Value, depth: int = 0) -> bool:
        """Whether nothing is known of a value, in each of the ways that it was computed, nor of its items."""
        return all(self.is_plain(v, depth) for _, v in alternatives(self.run.force(value)))

    def is_plain(self, value: Value, depth: int) -> bool:
        match value:
            case Sym() | Const():
                return True
            case ListVal() if depth < DEEPEST_LIST:
                items = self.run.items(value)
                return items is not None and all(self.is_number(h.value, depth + 1) for h in items.held)
        return False

    def calls_unknown(self, obj: Obj) -> bool:
        """Whether an instance calls an attribute of which nothing is known, and that may normalise."""
        called: set[str] = set()
        for base in self.run.objects.bases(obj.cls):
            if isinstance(base, ClassVal):
                called.update(*(method.calls for method in base.klass.methods))
        for name in self.run.objects.names.get(obj.key, ()):
            value = self.run.root.get((obj.key, name))
            if name in called and not ACTIVATION.search(name) and value is not None:
                parts = [self.run.force(v) for _, v in alternatives(self.run.force(value))]
                if any(isinstance(v, Sym) for v in parts):
                    return True
        return False

    def doubt(self, cls: ClassVal) -> Answer3:
        """Nothing was found; the class may still inherit it from where nobody looked."""
        for base in self.run.objects.bases(cls):
            match base:
                case External(path=path) if torch_name(path) is None and not path.startswith(STANDARD):
                    if not path.endswith("Mixin"):
                        return "unknown"
                case Sym(name=name) if not name.endswith("Mixin"):
                    return "unknown"
                case Either():
                    return "unknown"
        return "no"

    def is_active(self, obj: Obj) -> Answer3:
        """Whether a layer does what it is for: `Dropout(0)` does not."""
        layer = self.layer(obj) if self.run.objects.kind(obj) == "dropout" else None
        match UNKNOWN if layer is None else layer.value("p"):
            case 0:
                return "no"
            case int() | float():
                return "yes"
        return "yes" if layer is None else "unknown"

    def any_of(self, values: list[Value], kind: Kind, depth: int) -> Answer3:
        answers = {self.has(v, kind, depth + 1) for v in values}
        return "yes" if "yes" in answers else "unknown" if "unknown" in answers else "no"


class _Alone:
    """Run something in eager mode, outside of whatever is running, with fuel of its own."""

    def __init__(self, run: Interpreter, fuel: int) -> None:
        self.run = run
        self.given = fuel

    def __enter__(self) -> None:
        run = self.run
        self.saved = (run.state, run.frames, run.loops, run.contexts, run.eager, run.inside_forward, run.fuel)
        self.turn = run.numbers.begin(OUTSIDE)
        run.state = State(run.root)
        run.frames, run.loops, run.contexts = [], [], []
        run.eager, run.inside_forward, run.fuel = True, False, self.given

    def __exit__(self, *_: object) -> None:
        run = self.run
        run.root.data.update(run.state.data)
        run.numbers.begin(self.turn)
        (run.state, run.frames, run.loops, run.contexts, run.eager, run.inside_forward, run.fuel) = self.saved


def unique(found: dict[Where, Layer]) -> Iterator[Layer]:
    yield from found.values()


def nearest(chains: tuple[Chain, ...]) -> frozenset[tuple[str, ...]]:
    """The names of what comes before by each of the ways, two operations deep."""
    return frozenset(tuple(op.name for op in chain[:2]) for chain in chains)


def shape_of(chains: tuple[Chain, ...]) -> object:
    """What tells one set of chains from another."""
    return tuple(tuple((op.kind, op.where) for op in chain) for chain in chains)
