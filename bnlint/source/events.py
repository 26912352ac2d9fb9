"""What happens while a program is interpreted: models are built, switched, called, trained, saved, loaded.

The interpreter reports; this module keeps the modes of objects and a record of each happening. Nothing
is judged here: `scripts` and `structure` turn the record into facts.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeGuard

from bnlint.facts import Mode
from bnlint.source import summary as ir
from bnlint.source.layers import LOSSES, NEAR
from bnlint.source.state import MODE, NOT_SET, PARENTS, ModeRecord, SetAt, Turn, around
from bnlint.source.values import (
    ALWAYS,
    Args,
    ArgVal,
    ClassVal,
    Const,
    Context,
    Either,
    External,
    Flow,
    Func,
    Guards,
    Items,
    ListVal,
    Loop,
    Obj,
    Place,
    Sym,
    Taken,
    Value,
    alternatives,
    contradicts,
    fresh,
)

if TYPE_CHECKING:
    from bnlint.source.frozen import Undone
    from bnlint.source.interpret import Interpreter
    from bnlint.source.summary import Span

BUILT: Final = "built here: a new module is in train mode"
"""What set the mode of a module that nobody has switched."""
DEEPEST: Final = 3
"""How many levels of parts are looked at for one that was switched alone."""

MADE_FROM: Final = "#made from"
"""The key of the arguments that something unknown was built with."""

MODE_CHANGING: Final = re.compile(
    r"eval|train|test|valid|predict|mode|freeze|fit|prepare|infer|set_|switch|init|restore|resume",
    re.IGNORECASE,
)
"""An unknown function with such a name may change the mode of what it is given."""

ANSWER_NAME: Final = re.compile(
    r"(^|_)(logits?|scores?|preds?|predictions?|probs?|probabilit(y|ies)|y_hat|images?|imgs?)$", re.IGNORECASE
)
"""Names of what a model answers."""

RESHAPING: Final = frozenset(
    {"squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t", "resize", "resize_as", "set"}
)
"""What changes the shape of a tensor in place, with an underscore behind it."""

Home: TypeAlias = frozenset[tuple[Place, int]]
"""The loops in which something was built, and their turns."""

JUDGES: Final = re.compile(r"loss|criterion|discriminator|critic|metric", re.IGNORECASE)
"""Classes that judge what they are given: it is an answer still."""


@dataclass(slots=True)
class Call:
    """A call of a project's function that is in progress."""

    name: str
    place: Place | None
    function: int
    owner: str = ""
    filename: str = ""
    definition: ir.Function | None = None


class Hook(NamedTuple):
    """A method that a framework is calling, and the mode in which it calls it."""

    name: str
    mode: Mode
    framework: str
    place: Place


@dataclass(slots=True, eq=False)
class Forward:
    """A call of a model; `resting` are the keys of its parts that were put into eval mode after it."""

    model: Value
    place: Place
    modes: tuple[SetAt, ...]
    calls: tuple[Call, ...]
    contexts: tuple[Context, ...]
    loops: tuple[Loop, ...]
    args: Args
    source: Value | None
    outside: bool = False
    parts_switched: bool = False
    resting: frozenset[Hashable] = frozenset()
    undone: tuple[Undone, ...] = ()
    trained: bool = False
    hook: Hook | None = None
    guards: Guards = ALWAYS

    def turn(self) -> Turn:
        """The loops that were running, and the turn of each."""
        return turn_of(self.loops)


@dataclass(slots=True, eq=False)
class Normalised:
    """A BatchNorm that was applied; `root` is what was run: a forward, or a Sequential by itself.

    `loops` and `within` are the loops and the functions that were running, outermost first. `instance` is
    the module whose forward was run by itself, or whose constructor wrote the Sequential that is tried.
    `contained` says that a container called it.
    """

    layer: Obj
    flow: Flow
    guards: Guards
    scope: str
    owner: ClassVal | None
    root: Hashable = 0
    loops: tuple[Loop, ...] = ()
    within: tuple[ir.Function, ...] = ()
    instance: Obj | None = None
    contained: bool = False


class Entered(NamedTuple):
    """A module of the project that the forward of another one calls."""

    flow: Flow
    guards: Guards
    instance: Obj | None


class Multiplied(NamedTuple):
    """`[layer] * number` was written in a method of `owner`, or in none."""

    number: Value
    owner: ClassVal | None


class Untracking(NamedTuple):
    """The flag of a BatchNorm was set to False; `since` counts the forwards before that."""

    norm: Obj | Sym
    place: Place
    calls: tuple[Call, ...]
    since: int


class Functional(NamedTuple):
    """`F.batch_norm` was called by a module's forward; `path` holds each function on the way and its call."""

    args: Args
    place: Place
    owner: Obj
    path: tuple[tuple[Func, Span], ...]


class Compared(NamedTuple):
    """A loss of torch, between what a model answers and a target."""

    loss: str
    answer: Value
    target: Value
    place: Place


class Returned(NamedTuple):
    """A tensor that a forward returns under a name of answers."""

    flow: Flow
    name: str
    place: Place


@dataclass(slots=True, eq=False)
class StateLoad:
    """`model.load_state_dict(…)`

    `dropped` is the filter that dropped statistics from what is loaded; `merged` says that the model's
    own state filled the gaps.
    """

    model: Obj | Sym
    args: Args
    place: Place
    calls: tuple[Call, ...]
    result: Sym
    dropped: Place | None = None
    merged: bool = False


@dataclass(slots=True, eq=False)
class StateSave:
    """State that leaves a model; `how` is "saved" or "exchanged", the latter perhaps `into` another model."""

    taken: Taken
    place: Place
    how: str
    calls: tuple[Call, ...]
    buffers_beside: bool = False
    into: Value | None = None


@dataclass(slots=True)
class Record:
    """Everything that happened.

    `training_loops` are all loops around something that trains, `stepping_loops` the innermost of them.
    `homes` holds the layers that were built in a loop of which not every turn was taken, `loose` the
    tensors of which more turns, or an operation in place, may have made something else.
    """

    forwards: list[Forward] = field(default_factory=list)
    normalised: list[Normalised] = field(default_factory=list)
    functional: list[Functional] = field(default_factory=list)
    loads: list[StateLoad] = field(default_factory=list)
    saves: list[StateSave] = field(default_factory=list)
    discarded: set[int] = field(default_factory=set)
    training_loops: set[Place] = field(default_factory=set)
    stepping_loops: set[Place] = field(default_factory=set)
    training_functions: set[int] = field(default_factory=set)
    loaded: set[Hashable] = field(default_factory=set)
    norms: list[Obj] = field(default_factory=list)
    made: list[Obj] = field(default_factory=list)
    written: set[Place] = field(default_factory=set)
    compared: list[Compared] = field(default_factory=list)
    returned: dict[int, Returned] = field(default_factory=dict)
    continued: set[ClassVal] = field(default_factory=set)
    switched: list[SetAt] = field(default_factory=list)
    saved_whole: list[SetAt] = field(default_factory=list)
    untracked: list[Untracking] = field(default_factory=list)
    tracked: set[Hashable] = field(default_factory=set)
    emptied: set[Hashable] = field(default_factory=set)
    multiplied: dict[Hashable, Multiplied] = field(default_factory=dict)
    instances: dict[ClassVal, list[Obj]] = field(default_factory=dict)
    entered: list[Entered] = field(default_factory=list)
    homes: dict[Hashable, Home] = field(default_factory=dict)
    loose: dict[int, Flow] = field(default_factory=dict)


class Events:
    """Keeps modes in the interpreter's state, and the record."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.record = Record()
        self.producers: dict[int, Forward] = {}
        self.kept: list[Flow] = []
        self.filters: dict[int, Place] = {}
        self.filtered: list[Value] = []
        self.born: dict[Hashable, Guards] = {}
        self.assemblies: dict[Hashable, list[Obj | Sym]] = {}
        self.containers = 0
        self.outside = False
        self.sequel = False
        self.hook: Hook | None = None

    # modes

    def turn(self) -> Turn:
        return turn_of(self.run.loops)

    def built(self, obj: Obj) -> None:
        """A module starts in train mode, if it certainly is one."""
        run = self.run
        if run.objects.kind(obj) == "batchnorm":
            self.record.norms.append(obj)
            self.record.written.add(obj.place)
            if run.inside_forward and run.frame.func is not None:
                self.record.made.append(obj)
        if isinstance(obj.cls, ClassVal):
            self.record.instances.setdefault(obj.cls, []).append(obj)
        if run.loops and (home := home_of(run.loops)):
            self.record.homes[obj.key] = home
        if run.eager or not self.is_surely_module(obj):
            return
        run.clock += 1
        mode: Mode = "unknown" if self.outside else "train"
        record = ModeRecord(run.clock, (SetAt(mode, obj.place, BUILT, self.purpose_here(), self.turn()),))
        run.root.set((obj.key, MODE), record)  # no branch knows another beginning
        self.born[obj.key] = run.state.guards

    def is_born_under(self, key: Hashable, guards: Guards) -> bool:
        """Whether an object only exists under these conditions: then it has no mode where they fail."""
        return bool(guards) and guards <= self.born.get(key, ALWAYS)

    def assembled(self, obj: Obj) -> None:
        """A container of modules that exist already: their modes count, not its own flag."""
        run = self.run
        items = run.containers.items(obj)
        if run.eager or items is None:
            return
        values = [v for held in items.held for _, v in alternatives(held.value)]
        parts = [v for v in values if self.has_own_mode(v)]
        modes = {m: None for v in parts for m in self.modes_of(v)}
        if modes:
            run.clock += 1
            self.assemblies[obj.key] = parts
            run.root.set((obj.key, MODE), ModeRecord(run.clock, tuple(modes)))

    def has_own_mode(self, value: Value) -> TypeGuard[Obj | Sym]:
        """Whether a part came from elsewhere: a new layer is in train mode like its container."""
        if isinstance(value, Obj):
            return self.run.objects.kind(value) is None
        return isinstance(value, Sym)

    def is_surely_module(self, obj: Obj) -> bool:
        if isinstance(obj.cls, External):
            return self.run.project.comes_in_train_mode(obj.cls.path, obj.args)
        return self.run.objects.is_module(obj.cls) == "yes"

    def set_mode(self, key: Hashable, mode: Mode, place: Place, how: str) -> None:
        self.record.switched.append(self.left_in(key, mode, place, how, self.purpose_here()))

    def left_in(self, key: Hashable, mode: Mode, place: Place, how: str, purpose: str) -> SetAt:
        """The mode of an object from here on, whoever has set it: the program itself did so in `set_mode`."""
        run = self.run
        run.clock += 1
        where = SetAt(mode, place, how, purpose, self.turn(), run.state.guards)
        run.state.set((key, MODE), ModeRecord(run.clock, (where,)))
        return where

    def purpose_here(self) -> str:
        return " > ".join(f.name for f in self.run.frames if f.func is not None)

    def modes_of(self, value: Obj | Sym) -> tuple[SetAt, ...]:
        """The modes that an object can be in: what was last set on it or on what contains it."""
        found = self.latest(value)
        if found is None:
            return (NOT_SET,)
        guards = self.run.state.guards
        later = [r for part in self.assemblies.get(value.key, ()) if (r := self.latest(part)) is not None]
        if any(record.time > found.time for record in later):
            modes = tuple({mode: None for record in later for mode in record.modes})
        else:
            modes = (*found.modes, *self.of_other_parents(value, found))
        return tuple(m for m in modes if not contradicts(m.guards, guards)) or (NOT_SET,)

    def of_other_parents(self, value: Obj | Sym, found: ModeRecord) -> Iterator[SetAt]:
        """The modes of something that is part of several modules, of which only one need be there."""
        own: ModeRecord | None = self.run.state.get((value.key, MODE))
        parents = self.run.state.get((value.key, PARENTS)) or ()
        for key in parents if len(parents) > 1 else ():
            record: ModeRecord | None = self.run.state.get((key, MODE))
            if record is None or record is found or is_only_built(record):
                continue
            if own is None or record.time > own.time:
                yield from record.modes

    def latest(self, value: Obj | Sym) -> ModeRecord | None:
        """What last set the mode of an object, or of what contains it.

        What is built around a module switches it no more than it switches itself.
        """
        best: ModeRecord | None = None
        outer: ModeRecord | None = None
        for key in around(self.run.state, value.key):
            record: ModeRecord | None = self.run.state.get((key, MODE))
            if record is not None and key != value.key and is_only_built(record):
                outer = record if outer is None or record.time > outer.time else outer
            elif record is not None and (best is None or record.time > best.time):
                best = record
        return best or outer

    def adopted(self, child: Sym) -> None:
        """Something that came from elsewhere became part of a module: it keeps its mode, whatever that is."""
        if self.modes_of(child) == (NOT_SET,):
            self.run.clock += 1
            self.run.state.set((child.key, MODE), ModeRecord(self.run.clock, (NOT_SET,)))

    def switch_call(self, base: Obj | Sym, name: str, args: Args, place: Place) -> bool:
        """`train()`, `train(False)`, `eval()`: False where the call is something else."""
        if len(args.items) > 1 or (name == "eval" and args.items):
            return False
        mode: Mode = "eval" if name == "eval" else "train"
        if args.items:
            value = self.run.force(args.items[0].value)
            truth = self.run.truth(value)
            if isinstance(value, Const) and not isinstance(value.value, bool | int):
                return False
            if not isinstance(value, Const | Sym | Either) or args.items[0].name not in {None, "mode"}:
                return False
            mode = "unknown" if truth.value is None else "train" if truth.value else "eval"
        self.set_mode(
            base.key, mode, place, f"`{name}()` sets {mode} mode" if mode != "unknown" else "mode set"
        )
        return True

    def flag_set(self, base: Value, value: Value) -> None:
        """`module.training = False`: its children are not switched, which is for others to know."""
        if isinstance(base, Obj | Sym):
            off = isinstance(value, Const) and value.value is False
            place = self.run.frame.site or NOT_SET.place
            self.set_mode(base.key, "eval" if off else "unknown", place, "`training` is set")

    def tracking_set(self, base: Value, attr: str, value: Value) -> None:
        """`norm.track_running_stats = False`, until something else is set; `norm.running_mean = None`"""
        if not isinstance(base, Obj | Sym):
            return
        if attr == "running_mean":
            self.record.emptied.add(base.key)
        elif isinstance(value, Const) and not value.value:
            place, since = self.run.place(self.run.assigning), len(self.record.forwards)
            self.record.untracked.append(Untracking(base, place, self.calls(), since))
        else:
            self.record.tracked.add(base.key)

    def training_flag(self, base: Obj | Sym) -> Value:
        """`model.training`"""
        modes = {m.mode for m in self.modes_of(base)}
        if modes == {"train"}:
            return Const(True)
        if modes == {"eval"}:
            return Const(False)
        return Sym(("training", base.key, self.run.clock), "training")

    def forget_modes(self, args: Args, place: Place) -> None:
        """Something unknown got hold of these models."""
        for arg in args.items:
            for _, value in alternatives(self.run.force(arg.value)):
                if isinstance(value, Obj | Sym) and self.run.state.get((value.key, MODE)) is not None:
                    self.set_mode(value.key, "unknown", place, "given to a function that is not known")

    def given_away(self, path: str, args: Args, place: Place) -> None:
        if MODE_CHANGING.search(path.rpartition(".")[2]) and not path.startswith(
            ("torch.nn.init", "torch.optim")
        ):
            self.forget_modes(args, place)

    def may_switch(self, name: str) -> bool:
        """Whether a method that is not known may change modes, by its name."""
        return name == "step" or bool(MODE_CHANGING.search(name))

    def unknown_method(self, base: Obj | Sym, name: str, args: Args, place: Place) -> None:
        """A method that the project does not define, of something that it may know."""
        if name == "step":
            self.mark_training()
            self.run.kept.stepped(base, place)
            self.run.fits.stepped(place)
            if self.moves_inputs(base):
                self.forget_training()
        if name in {
            "set_train",
            "set_eval",
            "freeze",
            "unfreeze",
            "train_mode",
            "eval_mode",
            "fit",
            "test",
            "predict",
        }:
            self.forget_modes(Args((ArgVal(None, base, place), *args.items)), place)
        elif MODE_CHANGING.search(name):
            self.forget_modes(args, place)

    def moves_inputs(self, optimizer: Obj | Sym) -> bool:
        """Whether an optimizer certainly holds free tensors only, and no parameter of a model."""
        if not (
            isinstance(optimizer, Obj)
            and isinstance(optimizer.cls, External)
            and optimizer.cls.path.startswith("torch.optim.")
        ):
            return False
        given = optimizer.args.value(0)
        items = self.run.containers.items(given) if isinstance(given, ListVal) else None
        if items is None or items.open or not items.held:
            return False
        values = [v for held in items.held for _, v in alternatives(held.value)]
        return all(isinstance(v, Flow) or is_parameter(v) for v in values)

    def forget_training(self) -> None:
        """What was computed in this turn moves an input (an attack, a style): it trains no model."""
        here = [loop.place for loop in self.run.loops]
        kept = [e for e in self.record.forwards if not (e.trained and [lp.place for lp in e.loops] == here)]
        self.record.forwards[:] = kept

    def driven(self, base: Obj | Sym, name: str, place: Place) -> None:
        """A trainer that is not known may switch the model that it was built with."""
        if MODE_CHANGING.search(name):
            self.forget_modes(self.made_from(base), place)

    def made_from(self, base: Obj | Sym) -> Args:
        """What something of another library was built with."""
        if isinstance(base, Sym):
            return self.run.state.get((base.key, MADE_FROM)) or Args()
        foreign = isinstance(base.cls, External) and not base.cls.path.startswith("torch.")
        return base.args if foreign else Args()

    def applied(self, base: Obj | Sym, args: Args, place: Place) -> None:
        """`model.apply(fn)`: a function that switches modes makes them unknown."""
        for arg in args.items:
            for _, func in alternatives(arg.value):
                if isinstance(func, Func):
                    part = Sym((base.key, "children"), "module", source=base)
                    self.run.run(func, Args((ArgVal(None, part, place),)), None, place)
                if not isinstance(func, Func) or {"eval", "train"} & func.function.calls:
                    self.set_mode(base.key, "unknown", place, "`apply`")

    def entered(self, expr: ir.Expr, place: Place) -> None:
        """A context manager that is not known may switch the models that it is given."""
        if isinstance(expr, ir.Call):
            for arg in expr.args:
                value = self.run.eval(arg.value)
                self.forget_modes(Args((ArgVal(None, value, place),)), place)

    def copied(self, obj: Obj, place: Place) -> Value:
        """A deep copy: the same class, and the mode of the original."""
        copy = Obj(fresh(), obj.cls, obj.args, place, ready=False, assumed=obj.assumed)
        if isinstance(obj.cls, External):
            copy.ready = True
            for name in ("#items",):
                held = self.run.state.get((obj.key, name))
                if held is not None:
                    self.run.root.set((copy.key, name), held)  # no branch knows another beginning
        modes = self.modes_of(obj)
        self.run.averages.copies[copy.key] = obj
        self.run.clock += 1
        self.run.root.set((copy.key, MODE), ModeRecord(self.run.clock, modes))
        return copy

    # happenings

    def calls(self) -> tuple[Call, ...]:
        return tuple(
            Call(
                f.name,
                f.site,
                id(f.func.function),
                f.func.owner.klass.name if f.func.owner else "",
                f.func.module.filename,
                f.func.function,
            )
            for f in self.run.frames
            if f.func is not None
        )

    def forward(self, model: Obj | Sym, args: Args, place: Place, result: Value | None) -> None:
        if self.run.eager or self.containers:
            return
        event = self.seen(model, args, place)
        self.record.forwards.append(event)
        for _, flow in () if result is None else alternatives(result):
            if isinstance(flow, Flow):
                self.producers.setdefault(id(flow), event)
                self.kept.append(flow)

    def seen(self, model: Obj | Sym, args: Args, place: Place) -> Forward:
        """A model as it is now, given something."""
        return Forward(
            model,
            place,
            self.modes_of(model),
            self.calls(),
            tuple(self.run.contexts),
            tuple(self.run.loops),
            args,
            self.run.library.source_of(args),
            self.sequel,
            self.parts_switched(model),
            frozenset(self.resting(model)),
            tuple(self.undone(model)),
            hook=self.hook,
            guards=self.run.state.guards,
        )

    @contextmanager
    def within(self) -> Iterator[None]:
        """The elements of a container are called: it is the container that somebody evaluates or trains."""
        self.containers += 1
        try:
            yield
        finally:
            self.containers -= 1

    def parts_switched(self, model: Obj | Sym) -> bool:
        """Whether parts of a model, picked from all of them, were switched after the model itself."""
        parts: ModeRecord | None = self.run.state.get(((model.key, "children"), MODE))
        own: ModeRecord | None = self.run.state.get((model.key, MODE))
        return parts is not None and (own is None or parts.time > own.time)

    def resting(self, model: Obj | Sym, depth: int = 0) -> Iterator[Hashable]:
        """The parts of a model that were put into eval mode after the model's own mode was set."""
        own: ModeRecord | None = self.run.state.get((model.key, MODE))
        if own is not None and is_only_built(own):
            own = None
        if isinstance(model, Obj) and self.has_switched(model.args):
            self.run.objects.prepare(model)
        for part in self.run.objects.registered.get(model.key, ()) if depth < DEEPEST else ():
            if not isinstance(part, Obj):
                continue
            record: ModeRecord | None = self.run.state.get((part.key, MODE))
            later = record is not None and (own is None or record.time > own.time)
            if later and record is not None and {m.mode for m in record.modes} == {"eval"}:
                yield part.key
            elif not later:
                yield from self.resting(part, depth + 1)

    def undone(self, model: Obj | Sym) -> Iterator[Undone]:
        """The parts that were put into eval mode to stay there, and were switched with the model."""
        record = self.latest(model)
        return iter(()) if record is None else self.run.frozen.undone(model, record)

    def has_switched(self, args: Args) -> bool:
        """Whether another module whose mode is known is among what a module is built with."""
        values = (v for arg in args.items for _, v in alternatives(arg.value) if isinstance(v, Obj | Sym))
        return any(self.run.state.get((value.key, MODE)) is not None for value in values)

    def backward(self, value: Value) -> None:
        """A loss goes backward: every model call behind it is training.

        Where it comes from is not always known: then it is what this turn of the loop has called.
        """
        self.mark_training()
        for event in list(self.behind(value)) or list(self.of_this_turn()):
            event.trained = True
            self.run.kept.trained(event.model, event.place)

    def behind(self, value: Value) -> Iterator[Forward]:
        """The model calls that a tensor was computed from."""
        pending: list[Value] = [value]
        seen: set[int] = set()
        while pending:
            current = pending.pop()
            if id(current) in seen:
                continue
            seen.add(id(current))
            if isinstance(current, Flow):
                event = self.producers.get(id(current))
                if event is not None:
                    yield event
                pending.extend(current.inputs)
            elif isinstance(current, Either):
                pending.extend(v for _, v in current.alternatives)

    def of_this_turn(self) -> Iterator[Forward]:
        """The model calls of the innermost loop's turn that gradients can flow through."""
        turn = self.turn()
        for event in reversed(self.record.forwards):
            if not turn or event.turn()[: len(turn)] != turn:
                return
            if len(event.contexts) <= len(self.run.contexts):
                yield event

    def mark_training(self) -> None:
        self.record.training_loops.update(loop.place for loop in self.run.loops)
        self.record.stepping_loops.update(loop.place for loop in self.run.loops[-1:])
        self.record.training_functions.update(c.function for c in self.calls())

    def normalised(self, layer: Obj, flow: Flow) -> None:
        frames = [f for f in self.run.frames if f.func is not None]
        scope = frames[-1].name if frames else ""
        owner = next((f.self for f in reversed(frames) if isinstance(f.self, Obj)), None)
        event = Normalised(
            layer,
            flow,
            self.run.state.guards,
            scope,
            owner.cls if owner is not None and isinstance(owner.cls, ClassVal) else None,
            frames[0].key if frames else 0,
            tuple(self.run.loops),
            tuple(f.func.function for f in frames if f.func is not None),
            self.alone() or (owner if self.run.eager else None),
            contained=self.run.eager or self.containers > 0,
        )
        self.record.normalised.append(event)

    def alone(self) -> Obj | None:
        """The module whose forward is run by itself, if one is."""
        outer = self.run.frames[0] if self.run.inside_forward and self.run.frames else None
        return outer.self if outer is not None and isinstance(outer.self, Obj) else None

    def called(self, block: Obj, flow: Flow) -> None:
        """A forward calls a module of the project."""
        if self.run.inside_forward and isinstance(block.cls, ClassVal):
            self.record.entered.append(Entered(flow, self.run.state.guards, self.alone()))

    def changed(self, flow: Flow, name: str) -> None:
        """A tensor is changed in place; whoever holds it has a tensor of another shape then."""
        if name in RESHAPING:
            self.record.loose[id(flow)] = flow

    def loosened(self, values: Iterable[object]) -> None:
        """A turn ends of a loop of which not every turn is taken: what it leaves may be of any turn."""
        for value in values:
            if isinstance(value, Flow):
                self.record.loose[id(value)] = value
            elif isinstance(value, Either):
                self.loosened(inner for _, inner in value.alternatives)
            elif isinstance(value, Items):
                self.loosened(held.value for held in value.held)

    def multiplied(self, items: Items, number: Value) -> None:
        """`[layer] * number`, where nobody knows the number yet."""
        func = self.run.frame.func if self.run.frames else None
        for held in items.held:
            if isinstance(held.value, Obj):
                self.record.multiplied[held.value.key] = Multiplied(number, func.owner if func else None)

    def functional(self, args: Args, place: Place) -> None:
        """`F.batch_norm` is called: what counts is a forward that runs by itself."""
        frames = self.run.frames
        outer = frames[0] if self.run.inside_forward and frames else None
        if outer is None or outer.name != "forward" or not isinstance(outer.self, Obj):
            return
        sites = [*(f.site for f in frames[1:]), place]
        path = [(f.func, s.span) for f, s in zip(frames, sites, strict=True) if f.func and s is not None]
        if len(path) == len(frames):
            self.record.functional.append(Functional(args, place, outer.self, tuple(path)))

    def compared(self, path: str, args: Args, place: Place) -> None:
        """A loss is computed."""
        answer, target = args.value(0, "input"), args.value(1, "target")
        if answer is not None and target is not None:
            self.record.compared.append(Compared(path.rpartition(".")[2], answer, target, place))

    def returned(self, node: ir.Expr, value: Value) -> None:
        """A forward returns; remember the tensors whose names say that they are answers."""
        run = self.run
        if run.frame.name != "forward":
            return
        inputs = {param.name for param in run.frame.func.function.params} if run.frame.func else set()
        parts: list[tuple[ir.Expr, Value]] = [(node, value)]
        if isinstance(node, ir.Display) and isinstance(value, ListVal):
            items = run.items(value)
            parts = list(zip(node.items, [h.value for h in items.held] if items else [], strict=False))
        for part, inner in parts:
            name = tensor_name(part)
            if ANSWER_NAME.search(name) and name not in inputs:
                for _, flow in alternatives(inner):
                    if isinstance(flow, Flow):
                        self.record.returned[id(flow)] = Returned(flow, name, flow.place)

    def continues(self, flow: Flow) -> None:
        """A forward computes with what other models of the project return: they are parts of it."""
        if not self.run.inside_forward or (flow.kind == "other" and not is_block(flow)):
            return
        for value in flow.inputs:
            for _, tensor in alternatives(value):
                source = near_source(tensor)
                cls = source.layer.cls if source is not None and source.layer is not None else None
                if source is not None and source.kind == "other" and isinstance(cls, ClassVal):
                    self.record.continued.add(cls)

    def filled(self, obj: Obj) -> None:
        """A Sequential was written: its order is its own, whatever it is fed."""
        run = self.run
        if run.objects.is_container(obj) != "Sequential":
            return
        items = run.containers.items(obj)
        held = [v for h in (items.held if items else ()) for _, v in alternatives(h.value)]
        if any(isinstance(v, Obj) and run.objects.kind(v) == "batchnorm" for v in held):
            eager, run.eager = run.eager, True
            since = len(self.record.normalised)
            tensor = Flow("input", "input", (), obj.place)
            run.objects.apply(obj, Args((ArgVal(None, tensor, obj.place),)), obj.place)
            run.eager = eager
            for event in self.record.normalised[since:]:
                event.root = obj.key

    def library_call(self, path: str, args: Args, place: Place) -> bool:
        """A call that is recorded and otherwise does nothing."""
        if path in {"torch.save", "pickle.dump", "joblib.dump", "safetensors.torch.save_file"}:
            for arg in args.items[:1]:
                self.run.kept.saved(arg.value, place)
                self.saved_whole(arg.value, place)
                found = self.taken_in(arg.value, 0)
                whole = {id(taken.model) for taken in found if taken.what in {"buffers", "state_dict"}}
                for taken in found:
                    beside = id(taken.model) in whole
                    self.record.saves.append(StateSave(taken, place, "saved", self.calls(), beside))
            return True
        if path.startswith("torch.nn.init."):
            return True
        if path in LOSSES:
            self.compared(path, args, place)
        if path == "torch.autograd.backward":
            for tensor in self.run.library.tensors(args):
                self.backward(tensor)
            return True
        return False

    def saved_whole(self, value: Value, place: Place) -> None:
        """A module is pickled as it is, its mode included."""
        for _, model in alternatives(value):
            if isinstance(model, Obj) and self.run.objects.is_module(model.cls) == "yes":
                how = "a whole model is saved here, in train mode"
                found = (m._replace(place=place, how=how, guards=ALWAYS) for m in self.modes_of(model))
                self.record.saved_whole.extend(found)

    def taken_in(self, value: Value, depth: int) -> list[Taken]:
        """State of models in a value that is saved."""
        from bnlint.source.values import DictVal, ListVal

        found: list[Taken] = []
        for _, inner in alternatives(self.run.force(value)):
            match inner:
                case Taken():
                    found.append(inner)
                case DictVal() if depth < 3:
                    for entry in self.run.entries(inner).held.values():
                        found.extend(self.taken_in(entry, depth + 1))
                case ListVal() if depth < 3:
                    items = self.run.items(inner)
                    for held in items.held if items else ():
                        found.extend(self.taken_in(held.value, depth + 1))
        return found

    def loaded(self, base: Obj | Sym, args: Args, place: Place) -> Value:
        result = Sym(fresh(), "load_state_dict")
        state = None if not args.items else self.run.force(args.items[0].value)
        dropped, merged = self.filters.get(id(state)), isinstance(state, Taken)
        self.record.loads.append(StateLoad(base, args, place, self.calls(), result, dropped, merged))
        self.record.loaded.add(base.key)
        self.run.kept.loaded(base, args, place)
        self.run.averages.loaded(base.key)
        return result

    def lacks_statistics(self, value: Value, filter_: Place) -> None:
        """A state that a filter of keys took the statistics from."""
        self.filters[id(value)] = filter_
        self.filtered.append(value)

    def discarded(self, value: Value) -> None:
        """An expression whose value nobody keeps."""
        if isinstance(value, Sym):
            self.record.discarded.add(hash(value.key))


def home_of(loops: Iterable[Loop]) -> Home:
    """Where something is built that other turns of a loop may build as well."""
    return frozenset((loop.place, loop.turn) for loop in loops if not loop.whole)


def turn_of(loops: Iterable[Loop]) -> Turn:
    """Which turn of each loop it is."""
    return tuple((loop.place.span, loop.turn) for loop in loops)


def is_only_built(record: ModeRecord) -> bool:
    """Whether nobody has switched a module since it was built."""
    return all(mode.how == BUILT for mode in record.modes)


def tensor_name(node: ir.Expr) -> str:
    """The name of the tensor that an expression moves or squashes: `logits.view(-1)`, `F.softmax(logits)`."""
    match node:
        case ir.Name(id=name):
            return name
        case ir.Call(func=ir.Get(base=ir.Name(id="F" | "torch")), args=(first, *_)):
            return tensor_name(first.value)
        case ir.Call(func=ir.Get(base=base)) | ir.Item(base=base):
            return tensor_name(base)
    return ""


def words_of(node: ir.Expr) -> str:
    """The names and strings in an expression, joined."""
    match node:
        case ir.Name(id=name):
            return name
        case ir.Lit(value=str() as text):
            return text
        case ir.Get(base=base, attr=attr):
            return f"{words_of(base)} {attr}"
        case ir.Unary(operand=operand):
            return words_of(operand)
        case ir.Compare(left=left, right=right) | ir.Binary(left=left, right=right):
            return f"{words_of(left)} {words_of(right)}"
        case ir.Logic(parts=parts):
            return " ".join(map(words_of, parts))
        case ir.Call(func=func, args=args):
            return " ".join([words_of(func), *(words_of(a.value) for a in args)])
        case ir.Display(items=items):
            return " ".join(map(words_of, items))
    return ""


def is_parameter(value: Value) -> bool:
    """Whether a value is a parameter that belongs to nobody yet."""
    return (
        isinstance(value, Obj) and isinstance(value.cls, External) and value.cls.path == "torch.nn.Parameter"
    )


def is_block(flow: Flow) -> bool:
    """Whether a call is one of a module of the project that computes with what it is given."""
    block = flow.layer
    return block is not None and isinstance(block.cls, ClassVal) and not JUDGES.search(block.cls.klass.name)


def near_source(value: Value) -> Flow | None:
    """The operation that made a tensor, past what only moves, resizes or squashes it."""
    while isinstance(value, Flow) and value.kind in NEAR and value.inputs:
        value = value.inputs[0]
    return value if isinstance(value, Flow) else None
