"""Objects: classes and their bases, attributes, instances, and what calling each of them does."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from bnlint.facts import Answer3, Kind
from bnlint.source import summary as ir
from bnlint.source import taken
from bnlint.source.classes import own_name
from bnlint.source.events import MADE_FROM
from bnlint.source.frameworks import is_model
from bnlint.source.layers import CONTAINERS, HOME_MADE, LOSSES, layer_kind, torch_name
from bnlint.source.state import ITEMS, PARENTS, Arm, State, join
from bnlint.source.turns import OUTSIDE
from bnlint.source.values import (
    ALWAYS,
    Args,
    ArgVal,
    Bound,
    ClassVal,
    Const,
    DictVal,
    Either,
    External,
    Flow,
    Func,
    Held,
    Items,
    ListVal,
    Method,
    Module,
    Obj,
    Partial,
    Place,
    Super,
    Sym,
    Taken,
    Value,
    alternatives,
    contradicts,
    either,
    fresh,
    negated,
    under,
    unknown,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

BASE_ARGS: Final = "#base"
"""Where an instance keeps the arguments that reached torch's constructor."""

MODULE_BASES: Final = ("Module", "LightningModule", "Sequential", "ModuleList", "ModuleDict")
LOSS_ENDINGS: Final = ("Loss", "Criterion", "loss", "criterion")
WRAPPERS: Final = frozenset({"module", "_orig_mod"})
"""Attributes under which a wrapper holds the model that it wraps."""
TRACKING: Final = frozenset({"track_running_stats", "running_mean"})
"""Attributes of a BatchNorm that decide whether it has statistics of its own."""
SWITCHES: Final = frozenset({"train", "eval"})
"""Calls in a constructor that decide the mode that a model begins in."""

TRANSPOSED: Final = frozenset({"T", "mT", "H", "mH"})
"""Attributes of a tensor that are itself with its dimensions swapped."""
FREEZING: Final = re.compile(r"freeze|frozen|fix|eval|mode", re.IGNORECASE)
"""Names of methods of which a constructor calls one to decide the mode of a part."""
STANDARD: Final = ("builtins.", "abc.", "typing.", "enum.", "dataclasses.", "collections.")
"""Where the bases come from that are no modules."""

MOST_BASES = 24
DEEPEST_PART = 6
"""How many levels of parts are gathered."""


class Objects:
    """What the interpreter asks about objects."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.names: dict[Hashable, dict[str, None]] = {}
        self.lineages: dict[ClassVal, tuple[Value, ...]] = {}
        self.modules: dict[ClassVal, Answer3] = {}
        self.parts: set[ClassVal | External] = set()
        self.containers: dict[Hashable, Obj] = {}
        self.foreign: dict[Hashable, Obj] = {}
        self.registered: dict[Hashable, list[Value]] = {}

    # classes

    def bases(self, cls: Value) -> Iterable[Value]:
        """A class and everything it inherits from, nearest first."""
        if type(cls) is not ClassVal:
            return self.inherited(cls)
        known = self.lineages.get(cls)
        if known is None:
            known = self.lineages[cls] = tuple(self.inherited(cls))
        return known

    def inherited(self, cls: Value) -> Iterator[Value]:
        pending, seen = [cls], 0
        while pending and seen < MOST_BASES:
            seen += 1
            current = pending.pop(0)
            if isinstance(current, Either):
                current = current.alternatives[0][1]
            yield current
            if isinstance(current, ClassVal):
                pending = [*current.bases, *pending]

    def is_module(self, cls: Value) -> Answer3:
        """Whether a class is an nn.Module."""
        if type(cls) is not ClassVal:
            return self.judge(cls)
        if cls not in self.modules:
            self.modules[cls] = self.judge(cls)
        return self.modules[cls]

    def judge(self, cls: Value) -> Answer3:
        answer: Answer3 = "no"
        for base in self.bases(cls):
            match base:
                case External(path=path):
                    name = torch_name(path)
                    if name is not None or path.rpartition(".")[2].endswith(MODULE_BASES) or is_model(path):
                        return "yes"
                    if not path.startswith(STANDARD):
                        answer = "unknown"
                case ClassVal():
                    continue
                case _:
                    answer = "unknown"
        return answer

    def find(self, cls: Value, name: str, behind: ClassVal | None = None) -> Value | None:
        """A member of a class by name; with `behind`, one that comes after that class."""
        skipping = behind is not None
        for base in self.bases(cls):
            if skipping:
                skipping = base is not behind
                continue
            if isinstance(base, ClassVal) and name in self.run.defined[base.key]:
                found: Value | None = self.run.state.get((base.key, name))
                if found is not None:
                    return found
        return None

    def external_base(self, cls: Value) -> External | None:
        """The first thing outside the project that a class inherits from, or is."""
        for base in self.bases(cls):
            if isinstance(base, External):
                return base
        return None

    def kind(self, obj: Obj) -> Kind | None:
        """What an instance is, if it is one of torch's layers; a class with a forward of its own is not."""
        if isinstance(obj.cls, External):
            return layer_kind(obj.cls.path)
        if self.find(obj.cls, "forward") is not None:
            return None
        base = self.external_base(obj.cls)
        return None if base is None else layer_kind(base.path)

    def is_container(self, obj: Obj) -> str | None:
        """The name of torch's container that an instance is, if it is one."""
        if isinstance(obj.cls, ClassVal) and self.find(obj.cls, "forward") is not None:
            return None
        name = self.torch_name(obj)
        return name if name in CONTAINERS else None

    def torch_name(self, obj: Obj) -> str | None:
        """Torch's name for the class of an instance, or for the first of torch's that it inherits from."""
        base = self.external_base(obj.cls)
        return None if base is None else torch_name(base.path)

    # attributes

    def attribute(self, base: Value, attr: str) -> Value:
        base = self.run.force(base)
        match base:
            case Either():
                parts = [(g, self.attribute(v, attr)) for g, v in base.alternatives]
                return either(parts)
            case Module():
                return self.run.project.member(self.run, base, attr)
            case External(path="absl.flags.FLAGS"):
                return self.run.commands.flag(attr) or unknown(attr)
            case External(path=path):
                name = own_name(base) if attr == "__name__" else None
                return External(f"{path}.{attr}") if name is None else Const(name)
            case Obj():
                return self.of_object(base, attr)
            case ClassVal() | Func() | Method() if attr == "__name__":
                return Const(own_name(base))
            case ClassVal():
                found = self.find(base, attr)
                return Sym((base.key, attr), attr) if found is None else self.of_class(found, base)
            case Const(value=PurePosixPath()) | Sym(default=Const(value=PurePosixPath())):
                return self.run.configs.names.attribute(base, attr) or Bound(base, attr)
            case DictVal():
                return self.run.configs.attribute(base, attr) or Bound(base, attr)
            case Sym(key=key):
                return self.of_unknown(base, key, attr)
            case Super():
                found = self.find(self.class_of(base.self), attr, base.owner)
                return self.bound(found, base.self) if found is not None else Bound(base, attr)
            case Flow():
                return base if attr in {"data", "logits", "sample"} else self.derived(base, attr)
            case Taken():
                return taken.attribute(base, attr) or Bound(base, attr)
            case Partial() if attr in {"func", "keywords"}:
                return base.func if attr == "func" else self.keywords(base)
            case ListVal() | Const() | Partial() | Func() | Method():
                return Bound(base, attr)
            case Bound(name=name):
                return unknown(f"{name}.{attr}")
        return unknown(attr)

    def keywords(self, base: Partial) -> Value:
        """`partial.keywords`"""
        named = {a.name: a.value for a in base.args.items if a.name is not None}
        return self.run.new_dict(named, open=base.args.open)

    def derived(self, base: Flow, attr: str) -> Value:
        if attr == "shape":
            return Sym(("shape", fresh()), attr)
        if attr in {"device", "dtype", "is_cuda", "ndim", "grad", "requires_grad", "size"}:
            return unknown(attr)
        return Flow("reshape" if attr in TRANSPOSED else "other", attr, (base,), base.place)

    def class_of(self, value: Value) -> Value:
        return value.cls if isinstance(value, Obj) else value

    def of_object(self, obj: Obj, attr: str) -> Value:
        found = self.held(obj, attr)
        if found is not None:
            return found
        member = self.find(obj.cls, attr)
        if member is not None:
            return self.bound(member, obj)
        if attr in WRAPPERS:
            return obj
        if attr == "training":
            return self.run.events.training_flag(obj)
        if attr == "__class__":
            return obj.cls
        if attr == "__dict__":
            return Bound(obj, attr)
        return self.of_unknown(obj, obj.key, attr)

    def held(self, obj: Obj, attr: str) -> Value | None:
        """An attribute of an instance, as far as it was set."""
        if not obj.ready:
            self.prepare(obj)
        if attr not in self.names.get(obj.key, ()):
            return None
        found: Value | None = self.run.state.get((obj.key, attr))
        return None if found is None else under(found, self.run.state.guards)

    def of_unknown(self, base: Sym | Obj, key: Hashable, attr: str) -> Value:
        found: Value | None = self.run.state.get((key, attr))
        if found is not None:
            return under(found, self.run.state.guards)
        if attr in WRAPPERS and isinstance(base, Sym):
            return base
        if attr == "training":
            return self.run.events.training_flag(base)
        if attr == "__dict__" and isinstance(base, Sym):
            return self.run.configs.view(base, None) or Sym((key, attr), attr)
        return Sym((key, attr), attr, source=base.source if isinstance(base, Sym) else None)

    def bound(self, member: Value, receiver: Value) -> Value:
        """A member of a class, seen from an instance."""
        if not isinstance(member, Func):
            return member
        names = {last_name(d) for d in member.function.decorators}
        if "staticmethod" in names:
            return member
        if names & {"property", "cached_property", "lazy_property"}:
            return self.run.run(member, Args(), receiver, None)
        if "classmethod" in names:
            return Method(member, self.class_of(receiver))
        return Method(member, receiver)

    def of_class(self, member: Value, cls: ClassVal) -> Value:
        """A member of a class, seen from the class itself."""
        if isinstance(member, Func) and "classmethod" in map(last_name, member.function.decorators):
            return Method(member, cls)
        return member

    def hold(self, obj: Obj, attr: str, value: Value) -> None:
        """Write an attribute of an instance; one that is never written is not looked for."""
        self.names.setdefault(obj.key, {})[attr] = None
        self.run.state.set((obj.key, attr), value)

    def set_attribute(self, base: Value, attr: str, value: Value) -> None:
        base = self.run.force(base)
        state = self.run.state
        if attr == "training":
            self.run.events.flag_set(base, value)
        elif attr == "requires_grad":
            self.run.frozen.flag_set(base, value, self.run.place(self.run.assigning))
        elif attr in TRACKING:
            self.run.events.tracking_set(base, attr, value)
        match base:
            case Obj(key=key):
                self.prepare(base)  # what its constructor sets comes first
                self.hold(base, attr, value)
                if self.is_module(base.cls) != "no":
                    self.adopt(base, value)
            case Sym(key=key):
                state.set((key, attr), value)
            case DictVal():
                named = unknown() if attr.startswith("?") else Const(attr)
                self.run.set_item(base, named, self.run.labelled(value, attr))
            case ClassVal(key=number) | Module(key=number):
                self.run.define(number, attr, value)
            case Taken() if attr == "data":
                taken.copied(self.run, base, value)
            case Either():
                for guards, alternative in base.alternatives:
                    if not contradicts(guards, state.guards):
                        self.set_attribute(alternative, attr, under(value, guards))

    def adopt(self, parent: Obj, value: Value) -> None:
        """A module's switch reaches what it has registered."""
        self.registered.setdefault(parent.key, []).append(value)
        for _, child in alternatives(value):
            if isinstance(child, Obj):
                self.parts.add(child.cls)
            if isinstance(child, Obj | Sym):
                key = (child.key, PARENTS)
                if isinstance(child, Sym):
                    self.run.events.adopted(child)
                parents = self.run.state.get(key) or frozenset()
                self.run.state.set(key, parents | {parent.key})

    def inside(self, model: Value) -> dict[Hashable, Obj | Sym]:
        """A module and its parts, by their keys."""
        found: dict[Hashable, Obj | Sym] = {}
        pending: list[tuple[Value, int]] = [(model, 0)]
        while pending:
            part, depth = pending.pop()
            for _, value in alternatives(part):
                if isinstance(value, Obj | Sym) and value.key not in found:
                    found[value.key] = value
                    more = self.registered.get(value.key, ()) if depth < DEEPEST_PART else ()
                    pending.extend((child, depth + 1) for child in more)
        return found

    # instances

    def instantiate(self, cls: ClassVal, args: Args, place: Place) -> Value:
        if self.run.configs.is_plain_dict(cls):
            return self.run.library.handle_dict(args, place)
        obj = Obj(fresh(), cls, args, place)
        module = self.is_module(cls)
        init = self.find(cls, "__init__")
        if module != "no":
            self.run.events.built(obj)
            if self.switches_at_first(cls):
                self.prepare(obj)
            return obj
        if isinstance(init, Func):
            if self.run.eager or self.run.project.matters(init.function):
                obj.ready = True
                self.run.run(init, args, obj, place)
        else:
            obj.ready = True
            self.fill_fields(obj, cls, args)
        return obj

    def switches_at_first(self, cls: ClassVal) -> bool:
        """Whether a constructor, its own or an inherited one, decides the mode that a model begins in.

        It switches itself, or calls a method of the class that does.
        """
        return any(
            method.name == "__init__" and self.switches(cls, method)
            for base in self.bases(cls)
            if isinstance(base, ClassVal)
            for method in base.klass.methods
        )

    def switches(self, cls: ClassVal, init: ir.Function) -> bool:
        if init.calls & SWITCHES:
            return True
        members = (self.find(cls, name) for name in init.calls if FREEZING.search(name))
        return any(isinstance(m, Func) and m.function.calls & SWITCHES for m in members)

    def fill_fields(self, obj: Obj, cls: ClassVal, args: Args) -> None:
        """A dataclass: its arguments are its fields."""
        fields = [
            s.target.id for s in cls.klass.body if isinstance(s, ir.Declare) and isinstance(s.target, ir.Name)
        ]
        for field, arg in zip(fields, args.positional(), strict=False):
            self.hold(obj, field, arg.value)
        for arg in args.items:
            if arg.name is not None:
                self.hold(obj, arg.name, self.run.labelled(arg.value, arg.name))
        after = self.find(cls, "__post_init__")
        if isinstance(after, Func):
            self.run.run(after, Args(), obj, obj.place)

    def prepare(self, obj: Obj) -> None:
        """Run the constructor of an instance when somebody first looks inside."""
        if obj.ready:
            return
        obj.ready = True
        if not isinstance(obj.cls, ClassVal):
            return
        init = self.find(obj.cls, "__init__")
        if not isinstance(init, Func):
            self.construct_base(obj, obj.args)
            return
        run = self.run
        caller, eager = run.state, run.eager
        run.state = State(caller)
        run.eager = eager or self.is_module(obj.cls) != "no"
        loops, run.loops = run.loops, []
        inside, run.inside_forward = run.inside_forward, False
        turn = run.numbers.begin(OUTSIDE)
        try:
            run.run(init, obj.args, obj, obj.place)
        finally:
            written, run.state, run.eager, run.loops = run.state.data, caller, eager, loops
            run.inside_forward = inside
            run.numbers.begin(turn)
            run.root.data.update(written)

    def construct_base(self, obj: Obj, args: Args) -> None:
        """Torch's own constructor ran for an instance."""
        state = self.run.state
        state.set((obj.key, BASE_ARGS), args)
        self.run.loaders.made(obj, args)
        if self.is_container(obj) or self.is_sequential(obj.cls):
            self.fill_container(obj, args)

    def is_sequential(self, cls: Value) -> bool:
        base = self.external_base(cls) if isinstance(cls, ClassVal) else None
        return base is not None and torch_name(base.path) in CONTAINERS

    def fill_container(self, obj: Obj, args: Args) -> None:
        """`Sequential(a, b)`, `Sequential(OrderedDict(…))`, `ModuleList([a, b])`, `ModuleDict({…})`."""
        run = self.run
        positional = args.positional()
        first = run.force(positional[0].value) if positional else None
        is_open = args.open
        if isinstance(first, DictVal):
            entries = run.entries(first)
            held = tuple(
                self.element(v, self.entry_place(v, first.place or obj.place)) for v in entries.held.values()
            )
            is_open |= entries.open
        elif (
            len(positional) == 1
            and not args.open
            and not isinstance(first, Obj | Flow | Either | Func | None)
        ):
            items = run.items(first) or Items((), open=True)
            held, is_open = items.held, is_open or items.open
        else:
            held = tuple(self.element(a.value, a.place) for a in positional)
        run.state.set((obj.key, ITEMS), Items(held, is_open))
        self.containers[obj.key] = obj
        for item in held:
            self.adopt(obj, item.value)
        if is_open:
            self.adopt(obj, unknown())

    def entry_place(self, value: Value, place: Place) -> Place:
        """An entry of a dict is written where its layer is, if that is written in the same file."""
        return value.place if isinstance(value, Obj) and value.place.filename == place.filename else place

    def element(self, value: Value, place: Place) -> Held:
        """An element of a container; one that is only there under conditions carries them."""
        if isinstance(value, Either) and len(value.alternatives) == 1:
            guards, inner = value.alternatives[0]
            return Held(guards, inner, place)
        if isinstance(value, Obj) and value.place.filename == place.filename:
            return Held(ALWAYS, value, place)
        return Held(ALWAYS, value, place)

    # calls

    def call(self, func: Value, args: Args, place: Place) -> Value:
        run = self.run
        match func:
            case ClassVal():
                return self.instantiate(func, args, place)
            case External(path=path):
                return run.library.call(path, args, place)
            case Obj():
                return self.call_object(func, args, place)
            case Sym():
                return self.call_unknown(func, args, place)
            case Bound(base=base, name=name):
                return self.call_method(base, name, args, place)
            case Super():
                return unknown()
        return run.library.result_of("", args, place)

    def call_unknown(self, func: Sym, args: Args, place: Place) -> Value:
        self.run.events.given_away(func.name, args, place)
        given = [v for a in args.items for _, v in alternatives(a.value)]
        if func.name[:1].isupper() and any(
            isinstance(v, Obj) and self.is_module(v.cls) == "yes" for v in given
        ):
            made = Sym(fresh(), func.name)
            self.run.state.set((made.key, MADE_FROM), args)
            return made
        flow = self.run.library.flow("unknown", func.name or "?", args, place)
        flow.call = func
        if self.run.library.looks_like_input(args):
            self.run.events.forward(func, args, place, flow)
            return flow
        if any(isinstance(value, Flow) for value in given):
            return flow
        return Sym(fresh(), func.name, source=self.run.library.source_of(args))

    def call_object(self, obj: Obj, args: Args, place: Place) -> Value:
        run = self.run
        kind = self.kind(obj)
        if kind is not None:
            flow = run.library.flow(kind, self.class_name(obj), args, place, obj)
            if kind == "batchnorm":
                run.events.normalised(obj, flow)
            return flow
        container = self.is_container(obj)
        if container == "Sequential":
            self.prepare(obj)
            with run.events.within():
                result = self.apply(obj, args, place)
            run.events.forward(obj, args, place, result)
            return result
        method = self.find(obj.cls, "__call__")
        if isinstance(method, Func) and self.find(obj.cls, "forward") is None:
            return run.call_function(method, args, obj, place)
        name = self.class_name(obj)
        made: Kind = "activation" if name.replace("_", "").lower() in HOME_MADE else "other"
        flow = run.library.flow(made, name, args, place, obj)
        run.events.called(obj, flow)
        if isinstance(obj.cls, External) and obj.cls.path in LOSSES:
            run.events.compared(obj.cls.path, args, place)
        elif self.is_module(obj.cls) != "no" or self.looks_like_model(obj):
            run.events.forward(obj, args, place, flow)
        return flow

    def looks_like_model(self, obj: Obj) -> bool:
        return isinstance(obj.cls, External) and not obj.cls.path.endswith(LOSS_ENDINGS)

    def class_name(self, obj: Obj) -> str:
        if isinstance(obj.cls, External):
            return obj.cls.path.rpartition(".")[2]
        return obj.cls.klass.name

    def apply(self, obj: Obj, args: Args, place: Place) -> Value:
        """Run a tensor through the elements of a Sequential; each element keeps its conditions."""
        run = self.run
        items: Items | None = run.state.get((obj.key, ITEMS))
        flow = run.library.flow("unknown", "Sequential", args, place)
        if items is None or items.open:
            return flow
        first = args.value(0)
        value: Value = first if first is not None else flow
        for held in items.held:
            if contradicts(held.guards, run.state.guards):
                continue
            value = self.apply_element(held, value)
        return value

    def apply_element(self, held: Held, value: Value) -> Value:
        run = self.run
        arg = Args((ArgVal(None, value, held.place),))
        if not held.guards:
            return run.call(held.value, arg, held.place)
        outer = run.state
        run.state = State(outer, held.guards)
        try:
            made = run.call(held.value, arg, held.place)
        finally:
            written, run.state = run.state.data, outer
        join(outer, [Arm(held.guards, written), Arm(ALWAYS, {})])
        return either([(held.guards, made), (negated(held.guards), value)])

    def call_method(self, base: Value, name: str, args: Args, place: Place) -> Value:
        run = self.run
        base = run.force(base)
        match base:
            case Either():
                return run.each(list(base.alternatives), lambda v: self.call_method(v, name, args, place))
            case Obj():
                found = self.held(base, name) or self.find(base.cls, name)
                if found is not None:
                    return self.call_member(base, found, name, args, place)
                if self.is_module(base.cls) == "no" and isinstance(base.cls, ClassVal):
                    return run.library.result_of(name, args, place)
                return run.library.method(base, name, args, place)
            case Super():
                found = self.find(self.class_of(base.self), name, base.owner)
                if found is not None:
                    return run.call(self.bound(found, base.self), args, place)
                return self.call_torch_base(base, name, args, place)
            case Sym():
                found = run.state.get((base.key, name))
                if found is not None:
                    return run.call(found, args, place)
                return run.library.method(base, name, args, place)
            case Module() | ClassVal() | External():
                made = run.drivers.make(base, name, place) if isinstance(base, ClassVal) else None
                return made or run.call(self.attribute(base, name), args, place)
        return run.library.method(base, name, args, place)

    def call_member(self, base: Obj, found: Value, name: str, args: Args, place: Place) -> Value:
        """A method of the project's own class; `forward` of a module is a call of the module."""
        run = self.run
        calls_module = name in {"forward", "__call__"} and isinstance(found, Func)
        if calls_module and not run.inside_forward and self.is_module(base.cls) != "no":
            return self.call_object(base, args, place)
        receiver = self.bound(found, base) if isinstance(found, Func) else found
        return run.call(receiver, args, place)

    def call_torch_base(self, base: Super, name: str, args: Args, place: Place) -> Value:
        """`super().name()` that leaves the project."""
        if isinstance(base.self, Obj):
            if name == "__init__":
                self.construct_base(base.self, args)
                return Const(None)
            if name == "forward":
                external = self.external_base(base.self.cls)
                kind = layer_kind(external.path) if external else None
                if kind is not None:
                    return self.run.library.flow(kind, self.class_name(base.self), args, place, base.self)
            return self.run.library.method(base.self, name, args, place)
        return self.run.library.result_of(name, args, place)


def last_name(node: ir.Expr) -> str:
    """The last name of a dotted expression or of a call of one."""
    match node:
        case ir.Name(id=name) | ir.Get(attr=name):
            return name
        case ir.Call(func=func):
            return last_name(func)
    return ""
