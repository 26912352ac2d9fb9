"""The interpreter: it walks through summaries as Python would, with values that may be unknown.

Branches whose condition is unknown are both taken, each under its guard, and joined. Loops run their
body twice, so that what one pass leaves behind meets the next. Calls of the project's functions are
followed; recursion, depth and fuel are bounded, and what lies beyond is unknown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bnlint.source import summary as ir
from bnlint.source import taken
from bnlint.source.averages import Averages
from bnlint.source.commands import Commands
from bnlint.source.configs import Configs
from bnlint.source.containers import Containers
from bnlint.source.devices import Devices
from bnlint.source.drivers import Drivers
from bnlint.source.events import Events
from bnlint.source.exports import Exports
from bnlint.source.extract import Later
from bnlint.source.fits import Fits
from bnlint.source.frozen import NORMS, Frozen, lets_norms_through
from bnlint.source.hydra import Hydra
from bnlint.source.kept import Kept
from bnlint.source.library import Library
from bnlint.source.loaders import Loaders
from bnlint.source.managers import Managers
from bnlint.source.objects import Objects
from bnlint.source.operators import Operators
from bnlint.source.options import Options
from bnlint.source.recomputed import Checkpoints
from bnlint.source.state import ENTRIES, ITEMS, MODE, MOST_ITEMS, Arm, ModeRecord, State, join, join_modes
from bnlint.source.summary import Block, Expr, Span
from bnlint.source.turns import OUTSIDE, Turns
from bnlint.source.values import (
    ALWAYS,
    Args,
    ArgVal,
    Bound,
    ClassVal,
    Const,
    Context,
    DictVal,
    Either,
    Entries,
    External,
    Flow,
    Func,
    Guards,
    Held,
    Items,
    ListVal,
    Loop,
    Method,
    Module,
    Obj,
    Partial,
    Place,
    Super,
    Sym,
    Taken,
    Thunk,
    Truth,
    Value,
    contradicts,
    either,
    fresh,
    negated,
    under,
    unknown,
)

if TYPE_CHECKING:
    from bnlint.source.link import Project

new_tuple: Final = tuple.__new__
MOST_CALLS: Final = 14
"""Calls within calls that are followed."""
CALL_FUEL: Final = 4
"""What a call costs beside its statements."""
STARS: Final = frozenset({"*", "**"})
CONDITIONS: Final = frozenset({ir.Unary, ir.Logic, ir.Compare})
MOST_TURNS: Final = 8
"""Turns of a loop over something known that are all taken; of longer ones the first and the last."""


class OutOfFuel(Exception):  # noqa: N818  it is no error: what was seen until then stands
    """The program takes too long to follow; what was seen until here stands."""


class Turn(NamedTuple):
    """A turn of a loop: what it gives to the target, and the conditions under which it is taken."""

    loop: Loop
    target: Expr | None = None
    value: Value | None = None
    guards: Guards = ALWAYS
    number: int = OUTSIDE


class Frame:
    """A running function (or the body of a module or a class)."""

    __slots__ = (
        "args",
        "base",
        "captured",
        "exits",
        "filename",
        "func",
        "globals",
        "jumps",
        "key",
        "module",
        "scopes",
        "self",
        "site",
        "yields",
    )

    def __init__(
        self, module: Module, key: int, scopes: tuple[int, ...], func: Func | None, site: Place | None
    ) -> None:
        self.module = module
        self.filename = module.filename
        self.key = key
        self.scopes = (key, *scopes)
        self.func = func
        self.site = site
        self.self: Value | None = None
        self.args = Args()
        self.exits: list[tuple[Arm, Value]] = []
        self.jumps: list[tuple[State, list[Arm], State, list[Arm]]] = []
        self.globals: set[str] = set()
        self.base: State | None = None
        self.captured = False
        self.yields: Callable[[Value], None] | None = None

    @property
    def name(self) -> str:
        return self.func.function.name if self.func else ""


class Interpreter:
    """Runs parts of one project and tells its listener what happens."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.library = Library(self)
        self.operators = Operators(self)
        self.containers = Containers(self)
        self.options = Options(self)
        self.configs = Configs(self)
        self.commands = Commands(self)
        self.hydra = Hydra(self)
        self.managers = Managers(self)
        self.objects = Objects(self)
        self.events = Events(self)
        self.frozen = Frozen(self)
        self.averages = Averages(self)
        self.kept = Kept(self)
        self.drivers = Drivers(self)
        self.exports = Exports(self)
        self.numbers = Turns()
        self.postponed: defaultdict[int, list[Thunk]] = defaultdict(list)
        self.loaders = Loaders(self)
        self.fits = Fits(self)
        self.steps: dict[Place, ArgVal] = {}
        self.devices = Devices(self)
        self.checkpoints = Checkpoints(self)
        self.root = State()
        self.state = self.root
        self.frames: list[Frame] = []
        self.loops: list[Loop] = []
        self.contexts: list[Context] = []
        self.fuel = 0
        self.eager = False
        self.inside_forward = False
        self.visited: set[int] = set()
        self.clock = 0
        self.defined: defaultdict[int, set[str]] = defaultdict(set)
        self.comprehended: tuple[Value, Value] = (unknown(), unknown())
        self.assigning = Span(1, 0, 1, 0)

    # frames

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    def place(self, span: Span) -> Place:
        return new_tuple(Place, (self.frames[-1].filename, span))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Run something that does not belong to what runs now: its writes go to the root."""
        saved = (self.state, self.frames, self.loops, self.contexts)
        self.state, self.frames, self.loops, self.contexts = self.root, [], [], []
        try:
            yield
        finally:
            self.state, self.frames, self.loops, self.contexts = saved

    def run_module(self, module: Module) -> None:
        """Run the body of a file, once."""
        with self.aside():
            self.frames = [Frame(module, module.key, (), None, None)]
            self.define(module.key, "__name__", Const("__main__"))
            self.define(module.key, "__file__", Const(module.filename))
            self.block(module.summary.body)

    # statements

    def block(self, body: Block) -> bool:
        """Run statements; False where none of them lets the next one run."""
        for stmt in body:
            self.fuel -= 1
            if self.fuel < 0:
                raise OutOfFuel
            if STATEMENTS[type(stmt)](self, stmt) is False:
                return False
        return True

    def branch(self, guards: Guards, body: Block) -> dict[Any, Any] | None:
        """Run statements in a layer of their own; None where they do not complete."""
        outer = self.state
        self.state = State(outer, guards)
        try:
            completes = self.block(body)
            return self.state.data if completes else None
        finally:
            self.state = outer

    def do_if(self, node: ir.If) -> bool:
        truth = selective(exclusive(self.test(node.test)), node.test, node.span)
        if truth.value is not None:
            return self.block(node.body if truth.value else node.other)
        arms: list[Arm] = []
        for guards, body in ((truth.then, node.body), (truth.other, node.other)):
            if contradicts(guards, self.state.guards):
                continue
            written = self.branch(guards, body)
            if written is not None:
                arms.append(Arm(guards, written))
        if not arms:
            return False
        join(self.state, arms)
        if len(arms) == 1:
            self.state.guards |= arms[0].guards
        return True

    def do_assign(self, node: ir.Assign) -> None:
        targets, given, span = node
        value = self.named(self.eval(given), targets[0], span)
        self.assigning = span
        for target in targets:
            self.assign(target, value)
        self.kept.assigned(targets[0], given, value)

    def do_declare(self, node: ir.Declare) -> None:
        if node.value is not None:
            value = self.named(self.eval(node.value), node.target, node.span)
            self.assign(node.target, value)

    def named(self, value: Value, target: Expr, span: Span) -> Value:
        """A value learns the first name that it is given."""
        match value, target:
            case Const(value=int() | float(), name=""), ir.Name(id=name):
                return Const(value.value, self.place(span), name)
            case Obj(attr=""), ir.Get(attr=attr):
                value.attr, value.held = attr, self.place(span)
                value.name = value.name or spell(target)
            case ((Obj(name="") | Sym(name="")), ir.Name() | ir.Get()):
                value.name = spell(target)
        return value

    def do_update(self, node: ir.Update) -> None:
        old = self.eval(node.target)
        new = self.eval(node.value)
        if self.loops and not self.loops[-1].whole and (is_count(old) or (type(old) is Sym and self.eager)):
            self.assign(node.target, unknown())  # a counter, of turns that are not all taken
            return
        if isinstance(old, ListVal) and node.op == "+":
            self.extend(old, new)
            return
        if isinstance(old, Taken) and node.op == "+":
            if not taken.is_list(old, new):  # a longer list changes no model
                taken.added(self, old, new)
            return
        if isinstance(old, Taken) and self.averages.update(node.op, old, new):
            return
        self.assign(node.target, self.operators.binary(node.op, old, new, self.place(node.span)))

    def do_do(self, node: ir.Do) -> None:
        value = self.eval(node.value)
        if type(value) is Thunk and "write" in value.func.function.words:
            value = self.force(value)  # it is called for what it leaves behind
        self.events.discarded(value)

    def do_return(self, node: ir.Return) -> bool:
        value = Const(None) if node.value is None else self.eval(node.value)
        if self.inside_forward and node.value is not None:
            self.events.returned(node.value, value)
        elif node.value is not None and self.keeps_state():
            self.kept.returned(node.value, value, self.place(node.span))
        self.leave(value)
        return False

    def keeps_state(self) -> bool:
        """Whether the function that runs may return a model, or state of one, that was kept."""
        func = self.frame.func
        return func is not None and (bool(self.kept.aliases) or "state" in func.function.words)

    def leave(self, value: Value) -> None:
        frame = self.frame
        if frame.base is None:
            return
        guards = self.state.guards - frame.base.guards
        frame.exits.append((Arm(guards, dict(self.state.written_since(frame.base))), value))

    def do_raise(self, _node: ir.Raise) -> bool:
        return False

    def do_jump(self, node: ir.Break | ir.Continue) -> bool:
        if self.frame.jumps:
            turn, again, start, gone = self.frame.jumps[-1]
            base, arms = (start, gone) if type(node) is ir.Break else (turn, again)
            arms.append(Arm(self.state.guards - base.guards, dict(self.state.written_since(base))))
        return False

    def do_for(self, node: ir.For) -> bool:
        source = self.eval(node.source)
        place, words = self.place(node.span), spell(node.source)
        known, whole = self.takes_every_turn(source)
        began = fresh()

        def loop(at: int, value: Value) -> Loop:
            return Loop(source, place, at, words, phase_of(value), known, whole, began)

        turns = [
            Turn(loop(at, value), node.target, value, guards, number)
            for at, (guards, value, number) in enumerate(self.turns(source))
        ]
        return self.loop(node, turns)

    def do_while(self, node: ir.While) -> bool:
        place = self.place(node.span)
        began = fresh()
        turns = [Turn(Loop(None, place, at, "", began=began), number=fresh()) for at in range(2)]
        return self.loop(node, [] if self.test(node.test).value is False else turns)

    def loop(self, node: ir.For | ir.While, turns: list[Turn]) -> bool:
        """A loop ends by itself or by one of its `break`s."""
        outer = self.state
        gone: list[Arm] = []
        self.state = State(outer)
        try:
            completes = self.take(turns, node.body, outer, gone) and self.block(node.other)
            arms = [Arm(ALWAYS, self.state.data), *gone] if completes else gone
        finally:
            self.state = outer
        if arms:
            join(outer, arms)
        return bool(arms)

    def take(self, turns: list[Turn], body: Block, outer: State, gone: list[Arm]) -> bool:
        """The turns of a loop; False where no way comes to its end.

        A loop may end before or behind each of its turns, if not all of them are known.
        """
        modes: dict[Any, ModeRecord] = {}
        certain = not turns or turns[0].loop.known
        for turn in turns:
            modes = {key: record for key, record in self.state.data.items() if key[1] == MODE}
            left = len(gone)
            if not self.turn(turn, body, outer, gone):
                return not certain and len(gone) == left
        if not certain:
            for key, before in modes.items():
                after = self.state.data[key]
                if {m.mode for m in before.modes} != {m.mode for m in after.modes}:
                    self.state.set(key, join_modes(None, [(ALWAYS, before), (ALWAYS, after)]))
        return True

    def turn(self, turn: Turn, body: Block, start: State, gone: list[Arm]) -> bool:
        """One turn of a loop: the next one begins where its ways meet that do not leave the loop."""
        outer = self.state
        again: list[Arm] = []
        self.frame.jumps.append((outer, again, start, gone))
        self.state = State(outer, turn.guards)
        self.loops.append(turn.loop)
        number = self.numbers.begin(turn.number or self.numbers.owners[-1])
        try:
            if turn.target is not None and turn.value is not None:
                self.assign(turn.target, turn.value)
            if self.block(body):
                again.append(Arm(turn.guards, self.state.data))
            if self.inside_forward and not turn.loop.whole:
                for arm in (*again, *gone):
                    self.events.loosened(arm.written.values())
        finally:
            self.numbers.begin(number)
            self.loops.pop()
            self.frame.jumps.pop()
            self.state = outer
        if turn.guards and not contradicts(turn.guards, outer.guards):
            again.append(Arm(negated(turn.guards), {}))
        if again:
            join(outer, again)
        return bool(again)

    def turns(self, source: Value, *, plain: bool = False) -> list[tuple[Guards, Value, int]]:
        """What a loop goes over: everything if it is short and known, else two unknown turns.

        Unknown ones have a number each. `plain` says that the turns call nothing: then a long one is as
        easy to follow.
        """
        items = self.items(source)
        if items is not None and not items.open:
            held = list(items.held)
            if not self.eager and isinstance(source, Obj):
                held = held[:2]
            elif len(held) > MOST_TURNS and not plain and not self.configs.goes_through(source, items):
                held = [*held[:3], *held[-2:]]
            return [
                (h.guards, h.value, OUTSIDE) for h in held if not contradicts(h.guards, self.state.guards)
            ]
        return [(ALWAYS, *self.unknown_turn(source, turn)) for turn in range(2)]

    def unknown_turn(self, source: Value, turn: int) -> tuple[Value, int]:
        """An unknown element of something, and the number of the turn that it is given to."""
        number = fresh()
        outer = self.numbers.begin(number)
        found = self.element(source, turn)
        self.numbers.begin(outer)
        return found, number

    def takes_every_turn(self, source: Value, *, plain: bool = False) -> tuple[bool, bool]:
        """Whether a loop takes a turn for all that is known of something, and that is all of it."""
        items = self.items(source)
        if items is None or items.open:
            return False, False
        most = 2 if not self.eager and isinstance(source, Obj) else MOST_TURNS
        every = plain or len(items.held) <= most or self.configs.goes_through(source, items)
        return every, every and items.whole

    def element(self, source: Value, turn: int) -> Value:
        """An unknown element of something."""
        return self.containers.element(source, turn)

    def do_with(self, node: ir.With) -> bool:
        return self.enter(list(node.items), node)

    def enter(self, items: list[tuple[Expr, Expr | None]], node: ir.With) -> bool:
        if not items:
            return self.block(node.body)
        (expr, target), rest = items[0], items[1:]
        return self.managers.enter(expr, target, node, lambda: self.enter(rest, node))

    def do_try(self, node: ir.Try) -> bool:
        exits = len(self.frame.exits)
        completes = self.block(node.body) and self.block(node.other)
        arms = [] if not completes else [Arm(ALWAYS, {})]
        for handler in node.handlers:
            guards = frozenset({(("except", fresh()), True)})
            written = self.branch(guards, handler)
            if written is not None:
                arms.append(Arm(guards, written))
        if node.final:
            self.leave_by(node.final, exits)
        if len(arms) > 1 or (arms and not completes):
            join(self.state, arms)
        return bool(arms) and self.block(node.final)

    def leave_by(self, final: Block, since: int) -> None:
        """Whoever returns from a `try` passes its `finally`."""
        frame = self.frame
        if frame.base is None:
            return
        outer, exits = self.state, frame.exits[since:]
        del frame.exits[since:]
        for arm, value in exits:
            self.state = State(frame.base, arm.guards)
            self.state.data.update(arm.written)
            if self.block(final):
                frame.exits.append((Arm(arm.guards, self.state.data), value))
        self.state = outer

    def do_assert(self, node: ir.Assert) -> None:
        truth = self.test(node.test)
        if truth.value is None and not contradicts(truth.then, self.state.guards):
            self.state.guards |= truth.then

    def do_global(self, node: ir.Global) -> None:
        self.frame.globals.update(node.names)

    def do_nonlocal(self, _node: ir.Nonlocal) -> None:
        return

    def do_import(self, node: ir.Import) -> None:
        self.project.bind_import(self, node)

    def do_function(self, node: ir.Function) -> None:
        frame = self.frame
        frame.captured = True
        owner = self.class_here
        scopes = frame.scopes[1:] if owner is not None else frame.scopes
        func = Func(node, frame.module, scopes, owner)
        self.define(frame.key, node.name, func)
        if node.decorators:
            self.drivers.decorated(node, func)

    class_here: ClassVal | None = None

    def do_class(self, node: ir.Class) -> None:
        frame = self.frame
        frame.captured = True
        bases = tuple(self.eval(base) for base in node.bases)
        outer = frame.scopes[1:] if self.class_here is not None else frame.scopes
        cls = ClassVal(node, frame.module, outer, fresh(), bases)
        self.define(frame.key, node.name, cls)
        self.project.classes.append(cls)
        saved, self.class_here = self.class_here, cls
        self.frames.append(Frame(frame.module, cls.key, outer, None, None))
        try:
            self.block(node.body)
        finally:
            self.frames.pop()
            self.class_here = saved

    # assignments

    def assign(self, target: Expr, value: Value) -> None:
        match target:
            case ir.Name(id=name):
                frame = self.frame
                scope = frame.module.key if name in frame.globals else frame.key
                self.define(scope, name, value)
            case ir.Get(base=base, attr=attr):
                self.objects.set_attribute(self.eval(base), attr, value)
            case ir.Item(base=base, key=key):
                self.set_item(self.eval(base), self.eval(key), value)
            case ir.Display(items=targets):
                self.unpack(targets, value)
            case ir.Star(value=inner):
                self.assign(inner, unknown())

    def unpack(self, targets: tuple[Expr, ...], value: Value) -> None:
        items = self.items(value)
        starred = any(isinstance(t, ir.Star) for t in targets)
        if items is not None and not items.open and not starred and len(items.held) == len(targets):
            for target, held in zip(targets, items.held, strict=True):
                self.assign(target, held.value)
            return
        for at, target in enumerate(targets):
            self.assign(target, self.containers.part(value, at))

    def set_item(self, base: Value, index: Value, value: Value) -> None:
        base = self.force(base)
        match base, index:
            case DictVal(), Const(value=str() | int() as name):
                entries: Entries = self.state.get((base.key, ENTRIES)) or Entries({})
                self.state.set((base.key, ENTRIES), Entries({**entries.held, name: value}, entries.open))
                self.configs.wrote(base)
            case DictVal(), _:
                entries = self.state.get((base.key, ENTRIES)) or Entries({})
                what = taken.filled(index, value)
                left = {**entries.held, ("all", what): value}
                if what is None:
                    left = self.configs.overwritten(entries.held)
                self.state.set((base.key, ENTRIES), Entries(left, open=True))
                self.configs.wrote(base)
            case ((Sym() | Obj()), Const(value=str() | int() as name)):
                self.state.set((base.key, f"[{name}]"), value)
            case ListVal(), Const(value=int() as at):
                items = self.state.get((base.key, ITEMS)) or Items()
                held = list(items.held)
                if -len(held) <= at < len(held):
                    held[at] = held[at]._replace(value=value)
                    self.state.set((base.key, ITEMS), Items(tuple(held), items.open))
            case ListVal(), _:
                items = self.state.get((base.key, ITEMS)) or Items()
                self.state.set((base.key, ITEMS), Items(items.held, open=True))
            case Taken(), _:
                self.kept.wrote(base)
                self.averages.fill(base)

    # lists and dicts

    def new_list(
        self, kind: str, held: tuple[Held, ...], place: Place | None = None, *, open: bool = False
    ) -> ListVal:
        made = ListVal(fresh(), kind, place)
        self.state.set((made.key, ITEMS), Items(held, open))
        return made

    def new_dict(self, held: dict[Any, Value], place: Place | None = None, *, open: bool = False) -> DictVal:
        made = DictVal(fresh(), place)
        self.state.set((made.key, ENTRIES), Entries(held, open))
        return made

    def items(self, value: Value) -> Items | None:
        """The contents of something that can be gone through; None where they are not known."""
        return self.containers.items(value)

    def entries(self, value: DictVal) -> Entries:
        found: Entries | None = self.state.get((value.key, ENTRIES))
        return found or Entries({}, open=True)

    def append(self, key: Hashable, held: Held) -> None:
        items: Items = self.state.get((key, ITEMS)) or Items()
        if self.leaves_gaps(key):
            held = held._replace(gap=True)
        if len(items.held) < MOST_ITEMS:
            self.state.set((key, ITEMS), Items((*items.held, held), items.open))
        else:
            self.state.set((key, ITEMS), Items(items.held, open=True))

    def leaves_gaps(self, key: Hashable) -> bool:
        """Whether a loop fills something that is older than itself, and not every turn is taken."""
        return isinstance(key, int) and any(not loop.whole and loop.began > key for loop in self.loops)

    def extend(self, target: ListVal | Obj, source: Value) -> None:
        items: Items = self.state.get((target.key, ITEMS)) or Items()
        more = self.items(source)
        if more is None or len(items.held) + len(more.held) > MOST_ITEMS:
            self.state.set((target.key, ITEMS), Items(items.held, open=True))
        else:
            added = more.held
            if self.leaves_gaps(target.key):
                added = tuple(held._replace(gap=True) for held in added)
            self.state.set((target.key, ITEMS), Items(items.held + added, items.open or more.open))

    # expressions

    def eval(self, node: Expr) -> Value:
        if type(node) is ir.Name:
            return self.lookup(node.id)
        return EXPRESSIONS[type(node)](self, node)

    def define(self, scope: int, name: str, value: Value) -> None:
        """Bind a variable; a name that a scope never binds is not looked for there."""
        self.defined[scope].add(name)
        self.state.set((scope, name), value)

    def eval_name(self, node: ir.Name) -> Value:
        return self.lookup(node.id)

    def lookup(self, name: str) -> Value:
        frame = self.frames[-1]
        defined = self.defined
        for scope in frame.scopes:
            if name not in defined[scope]:
                continue
            found: Value | None = self.state.get((scope, name))
            if found is not None:
                return under(found, self.state.guards) if type(found) is Either else found
        return self.project.global_name(self, frame.module, name)

    def eval_get(self, node: ir.Get) -> Value:
        return self.objects.attribute(self.eval(node.base), node.attr)

    def eval_lit(self, node: ir.Lit) -> Value:
        return Const(node.value, None if node.span is None else self.place(node.span))

    def eval_call(self, node: ir.Call) -> Value:
        called, given, span = node
        place = self.place(span)
        if self.kept.aliases:
            self.kept.called(node, place)
        if type(called) is ir.Get:
            base = self.eval(called.base)
            args = self.arguments(given)
            value = self.objects.call_method(base, called.attr, args, place)
            self.library.in_place(node, value)
            return value
        func = self.eval(called)
        return self.call(func, self.arguments(given), place)

    def arguments(self, nodes: tuple[ir.Arg, ...]) -> Args:
        out: list[ArgVal] = []
        is_open = False
        for name, given, span in nodes:
            value = self.eval(given)
            place = new_tuple(Place, (self.frames[-1].filename, span))
            if name not in STARS:
                out.append(new_tuple(ArgVal, (name, value, place)))
            elif name == "*":
                items = self.items(value)
                if items is None or items.open:
                    is_open = True
                for held in () if items is None else items.held:
                    one = held.value if not held.guards else Either(((held.guards, held.value),))
                    out.append(ArgVal(None, one, held.place))
            else:
                value = self.force(value)
                if isinstance(value, DictVal):
                    entries = self.entries(value)
                    is_open |= entries.open
                    out.extend(ArgVal(k, v, place) for k, v in entries.held.items() if isinstance(k, str))
                else:
                    is_open = True
        return Args(tuple(out), is_open)

    def eval_star(self, node: ir.Star) -> Value:
        return self.eval(node.value)

    def eval_display(self, node: ir.Display) -> Value:
        held: list[Held] = []
        is_open = False
        for item, span in zip(node.items, node.spans, strict=True):
            value = self.eval(item)
            if isinstance(item, ir.Star):
                items = self.items(value)
                is_open |= items is None or items.open
                held.extend(() if items is None else items.held)
            else:
                held.append(Held(ALWAYS, value, self.place(span)))
        return self.new_list(node.kind, tuple(held), self.place(node.span), open=is_open)

    def eval_table(self, node: ir.Table) -> Value:
        held: dict[Any, Value] = {}
        is_open = False
        for key, value_node in node.entries:
            value = self.eval(value_node)
            if key is None:
                inner = self.force(value)
                entries = self.entries(inner) if isinstance(inner, DictVal) else Entries({}, open=True)
                held = self.configs.overwritten(held) if entries.open else held
                held.update(entries.held)
                is_open |= entries.open
                continue
            name = self.eval(key)
            if isinstance(name, Const) and isinstance(name.value, str | int | float | bool | None):
                held[name.value] = self.labelled(value, name.value)
            else:
                is_open = True
        return self.new_dict(held, self.place(node.span), open=is_open)

    def labelled(self, value: Value, name: object) -> Value:
        """A constant in a dict is known by its key."""
        if isinstance(value, Const) and not value.name and isinstance(name, str):
            return Const(value.value, value.place, name)
        return value

    def eval_binary(self, node: ir.Binary) -> Value:
        left, right = self.eval(node.left), self.eval(node.right)
        return self.operators.binary(node.op, left, right, None)

    def eval_unary(self, node: ir.Unary) -> Value:
        if node.op == "not":
            truth = self.test(node)
            return unknown() if truth.value is None else Const(truth.value)
        return self.operators.unary(node.op, self.eval(node.operand))

    def eval_compare(self, node: ir.Compare) -> Value:
        truth = self.test(node)
        if truth.value is not None:
            return Const(truth.value)
        if len(truth.then) == 1:
            ((key, way),) = truth.then
            if way:
                return Sym(key)
        return unknown()

    def eval_logic(self, node: ir.Logic) -> Value:
        """`a or b` is a value: the first part that decides."""
        *first, last = node.parts
        for part in first:
            truth, value = self.decide(part)
            if truth.value is None:
                parts = [(truth.then, value), (truth.other, self.eval(last))]
                if len(first) > 1 or node.op == "and":
                    return self.logic_unknown(node, truth)
                return either(parts)
            if truth.value is (node.op == "or"):
                return value
        return self.eval(last)

    def decide(self, node: Expr) -> tuple[Truth, Value]:
        """A condition and its value, computed once: `kwargs.pop("norm", None)` changes what it asks."""
        if isinstance(node, ir.Unary | ir.Logic | ir.Compare):
            return self.test(node), self.eval(node)
        value = self.eval(node)
        return self.truth(value), value

    def logic_unknown(self, node: ir.Logic, truth: Truth) -> Value:
        whole = self.test(node)
        if whole.value is not None:
            return Const(whole.value)
        if len(whole.then) == 1 and next(iter(whole.then))[1] and len(truth.then) == 1:
            return Sym(next(iter(whole.then))[0])
        return unknown()

    def eval_choice(self, node: ir.Choice) -> Value:
        truth = exclusive(self.test(node.test))
        if truth.value is not None:
            return self.eval(node.then if truth.value else node.other)
        parts: list[tuple[Guards, Value]] = []
        arms: list[Arm] = []
        outer = self.state
        for guards, part in ((truth.then, node.then), (truth.other, node.other)):
            if contradicts(guards, outer.guards):
                continue
            self.state = State(outer, guards)
            parts.append((guards, self.eval(part)))
            arms.append(Arm(guards, self.state.data))
            self.state = outer
        join(outer, arms)
        return either(parts)

    def eval_item(self, node: ir.Item) -> Value:
        return self.containers.item(self.eval(node.base), node.key)

    def eval_slice(self, _node: ir.Slice) -> Value:
        return unknown()

    def eval_lambda(self, node: ir.Lambda) -> Value:
        self.frame.captured = True
        return Func(node.function, self.frame.module, self.frame.scopes)

    def eval_comp(self, node: ir.Comp) -> Value:
        made = self.new_dict({}) if node.kind == "dict" else self.new_list("list", (), self.place(node.span))
        self.comprehend(node, 0, made)
        source, element = self.comprehended
        if type(made) is DictVal:
            taken.picked(self, node, made)
        return taken.comprehension(self, node, source, element) or made

    def comprehend(self, node: ir.Comp, depth: int, made: ListVal | DictVal) -> None:
        if depth == len(node.loops):
            self.collect(node, made)
            return
        loop = node.loops[depth]
        source = self.eval(loop.source)
        if depth == 0:
            self.comprehended = (source, source)
        items = self.items(source)
        plain = isinstance(node.element, ir.Name | ir.Get | ir.Lit) and depth == 0
        known, whole = self.takes_every_turn(source, plain=plain)
        began = fresh()
        for turn, (given, value, _) in enumerate(self.turns(source, plain=plain)):
            self.assign(loop.target, value)
            tests = [selective(exclusive(self.test(test)), test, node.span) for test in loop.tests]
            if any(t.value is False for t in tests):
                continue
            guards = given.union(*(t.then for t in tests))
            outer = self.state
            self.loops.append(
                Loop(source, self.place(node.span), turn, spell(loop.source), "", known, whole, began)
            )
            self.state = State(outer, guards)
            try:
                self.comprehend(node, depth + 1, made)
            finally:
                self.loops.pop()
                written, self.state = self.state.data, outer
            arms = [Arm(guards, written), Arm(negated(guards), {})] if guards else [Arm(ALWAYS, written)]
            join(outer, arms)
        if (items is None or items.open) and isinstance(made, ListVal):
            found = self.state.get((made.key, ITEMS))
            self.state.set((made.key, ITEMS), Items(found.held, open=True))

    def collect(self, node: ir.Comp, made: ListVal | DictVal) -> None:
        self.fuel -= 1
        if self.fuel < 0:
            raise OutOfFuel
        value = self.eval(node.element)
        self.comprehended = (self.comprehended[0], value)
        if isinstance(made, ListVal):
            self.append(made.key, Held(ALWAYS, value, self.place(node.span)))
            return
        key = self.eval(node.key) if node.key is not None else unknown()
        self.set_item(made, key, value)

    def eval_yield(self, node: ir.Yield) -> Value:
        value = Const(None) if node.value is None else self.eval(node.value)
        if self.frame.yields is not None:
            self.frame.yields(value)
        return unknown()

    def eval_bind(self, node: ir.Bind) -> Value:
        value = self.eval(node.value)
        self.assign(node.target, value)
        return value

    def eval_opaque(self, node: ir.Opaque) -> Value:
        for part in node.parts:
            self.eval(part)
        return unknown()

    def eval_joined(self, node: ir.Joined) -> Value:
        parts = [self.force(self.eval(part)) for part in node.parts]
        return self.configs.names.computed(lambda *texts: "".join(map(str, texts)), parts, "f") or unknown()

    # conditions

    def test(self, node: Expr) -> Truth:
        """Decide a condition as far as it can be decided."""
        if type(node) not in CONDITIONS:
            return self.truth(self.eval(node))
        match node:
            case ir.Unary(op="not", operand=operand):
                inner = self.test(operand)
                value = None if inner.value is None else not inner.value
                return Truth(value, inner.other, inner.then)
            case ir.Logic(op=op, parts=parts):
                return self.test_logic(op, parts)
            case ir.Compare(op=op, left=left, right=right):
                return self.operators.compare(op, self.eval(left), self.eval(right))
        return self.truth(self.eval(node))

    def test_logic(self, op: str, parts: tuple[Expr, ...]) -> Truth:
        decisive = op == "or"
        open_parts: list[Truth] = []
        for part in parts:
            truth = self.test(part)
            if truth.value is decisive:
                return truth if not open_parts else Truth(decisive)
            if truth.value is None:
                open_parts.append(truth)
        if not open_parts:
            return Truth(not decisive)
        if len(open_parts) == 1:
            return open_parts[0]
        if decisive:
            return Truth(None, ALWAYS, ALWAYS.union(*(t.other for t in open_parts)))
        return Truth(None, ALWAYS.union(*(t.then for t in open_parts)), ALWAYS)

    def truth(self, value: Value) -> Truth:
        value = self.force(value)
        match value:
            case Const(value=constant):
                return Truth(bool(constant))
            case Sym(key=key):
                return Truth(None, frozenset({(key, True)}), frozenset({(key, False)}))
            case Either():
                return self.truth_either([(g, self.truth(v)) for g, v in value.alternatives])
            case ListVal() | DictVal():
                return self.operators.truth_of_contents(value)
            case External(path=path) if path.rpartition(".")[2].isupper():  # a setting, by its name
                key = ("external", path)
                return Truth(None, frozenset({(key, True)}), frozenset({(key, False)}))
            case Flow() | Taken() | Bound() | Super():
                return Truth(None)
        return Truth(True)

    def truth_either(self, parts: list[tuple[Guards, Truth]]) -> Truth:
        ways = {truth.value for _, truth in parts}
        if len(ways) == 1 and None not in ways:
            return Truth(ways.pop())
        then = [g | t.then for g, t in parts if t.value is not False]
        other = [g | t.other for g, t in parts if t.value is not True]
        return Truth(None, then[0] if len(then) == 1 else ALWAYS, other[0] if len(other) == 1 else ALWAYS)

    # calls

    def force(self, value: Value) -> Value:
        """What a value is, if it is a call that nobody asked for yet."""
        if type(value) is Thunk:
            if value.result is None:
                value.result = unknown()
                value.result = self.run(value.func, value.args, value.self, value.place)
            return value.result
        return value

    def call(self, func: Value, args: Args, place: Place) -> Value:
        func = self.force(func)
        match func:
            case Func():
                return self.call_function(func, args, None, place)
            case Method():
                return self.call_function(func.func, args, func.self, place)
            case Either():
                return self.call_either([(g, v) for g, v in func.alternatives], args, place)
            case Partial(func=inner, args=first):
                merged = Args(first.items + args.items, first.open or args.open)
                return self.call(inner, merged, place)
        return self.objects.call(func, args, place)

    def call_either(self, parts: list[tuple[Guards, Value]], args: Args, place: Place) -> Value:
        return self.each(parts, lambda value: self.call(value, args, place))

    def each(self, parts: list[tuple[Guards, Value]], act: Callable[[Value], Value]) -> Value:
        """Do something to each of several values, each in its own branch."""
        parts = picked(parts)
        outer = self.state
        results: list[tuple[Guards, Value]] = []
        arms: list[Arm] = []
        for guards, value in parts:
            if contradicts(guards, outer.guards):
                continue
            self.state = State(outer, guards)
            try:
                results.append((guards, act(value)))
            finally:
                written, self.state = self.state.data, outer
            modes = [key for key in written if key[1] == MODE and self.events.is_born_under(key[0], guards)]
            outer.data.update({key: written.pop(key) for key in modes})
            arms.append(Arm(guards, written))
        if arms:
            join(outer, arms)
        return either(results)

    def call_function(self, func: Func, args: Args, receiver: Value | None, place: Place) -> Value:
        is_needed = func.function.name == "__init__" or self.project.matters(func.function)
        if not self.eager and not is_needed:
            postponed = Thunk(func, receiver, args, place)
            if "norm" in func.function.words:
                self.postponed[id(func.function)].append(postponed)
            return postponed
        return self.run(func, args, receiver, place)

    def run(
        self,
        func: Func,
        args: Args,
        receiver: Value | None,
        place: Place | None,
        yields: Callable[[Value], None] | None = None,
    ) -> Value:
        """Follow a call; a recursive or too deep one is unknown."""
        outer = [f.args for f in self.frames if f.func is not None and f.func.function is func.function]
        if len(self.frames) >= MOST_CALLS or (outer and not self.configs.descends(args, outer)):
            return unknown(func.function.name)
        self.fuel -= CALL_FUEL
        self.visited.add(id(func.function))
        caller = self.state
        frame = Frame(func.module, fresh(), func.scopes, func, place)
        frame.self, frame.args = receiver, args
        self.frames.append(frame)
        frame.yields = yields
        collected: list[Held] = []
        if func.function.generator and yields is None:
            began = fresh()
            frame.yields = lambda v: collected.append(
                Held(ALWAYS, v, self.place(func.function.span), self.leaves_gaps(began))
            )
        saved_class, self.class_here = self.class_here, None
        contexts = len(self.contexts)
        frame.base = caller
        self.state = State(caller)
        try:
            self.bind(func, args, receiver)
            self.managers.enter_decorators(func)
            if self.block(func.function.body):
                self.leave(Const(None))
        finally:
            del self.contexts[contexts:]
            self.class_here = saved_class
            self.frames.pop()
            self.state = caller
        result = self.finish(frame, caller)
        if func.function.generator and yields is None:
            return self.new_list("generator", tuple(collected), open=True)
        return result

    def finish(self, frame: Frame, caller: State) -> Value:
        """Join the ways out of a function into the caller's state; its own variables are forgotten."""
        if not frame.exits:
            return unknown()
        arms = [arm for arm, _ in frame.exits]
        if not frame.captured:
            arms = [Arm(g, {k: v for k, v in w.items() if k[0] != frame.key}) for g, w in arms]
        join(caller, arms)
        return either((arm.guards, value) for arm, value in frame.exits)

    def bind(self, func: Func, args: Args, receiver: Value | None) -> None:
        """Give a function's parameters their values."""
        key = self.frame.key
        positional = [a.value for a in args.positional()]
        if receiver is not None:
            positional.insert(0, receiver)
        named = {a.name: a.value for a in args.items if a.name is not None}
        for param in func.function.params:
            is_open = args.open or ((args.entry or args.optional) and param.kind in STARS)
            value = self.argument(func, param, positional, named, is_open)
            self.define(key, param.name, value if not args.optional else as_option(value))

    def argument(
        self, func: Func, param: ir.Param, positional: list[Value], named: dict[str, Value], is_open: bool
    ) -> Value:
        if param.kind == "*":
            held = tuple(Held(ALWAYS, v, self.place(param.span)) for v in positional)
            positional.clear()
            return self.new_list("tuple", held, open=is_open)
        if param.kind == "**":
            options = self.commands.options(func) if func.function.decorators else {}
            return self.new_dict({**options, **named}, open=is_open and not options)
        if positional and param.kind != "keyword":
            return self.labelled(positional.pop(0), param.name)
        if param.name in named:
            return self.labelled(named.pop(param.name), param.name)
        if param.default is not None and not is_open:
            default = self.default(func, param)
            if isinstance(default, Const):
                return Const(default.value, self.place(param.span), param.name)
            return default
        given = self.commands.parameter(func, param) if func.function.decorators else None
        return given or Sym(fresh(), param.name)

    def default(self, func: Func, param: ir.Param) -> Value:
        """A default is computed where the function is defined."""
        if isinstance(param.default, ir.Lit):
            return Const(param.default.value)
        return unknown() if param.default is None else self.eval_outside(func, param.default)

    def eval_outside(self, func: Func, node: Expr) -> Value:
        """Compute an expression where a function is defined."""
        with self.outside(func):
            return self.eval(node)

    def arguments_outside(self, func: Func, nodes: tuple[ir.Arg, ...]) -> Args:
        """Compute the arguments of a decorator."""
        with self.outside(func):
            return self.arguments(nodes)

    @contextmanager
    def outside(self, func: Func) -> Iterator[None]:
        """Be where a function is defined."""
        outer = Frame(
            func.module, func.scopes[0] if func.scopes else func.module.key, func.scopes[1:], None, None
        )
        if func.owner is not None:
            outer.scopes = (func.owner.key, *outer.scopes)
        self.frames.append(outer)
        try:
            yield
        finally:
            self.frames.pop()


def as_option(value: Value) -> Value:
    """A default that somebody may well replace; of None nothing is left then."""
    if not isinstance(value, Const):
        return value
    return Sym(fresh(), value.name, None if value.value is None else value)


def exclusive(truth: Truth) -> Truth:
    """A condition whose two ways never hold together, also where it is too involved to be known again."""
    if truth.value is not None or (truth.then and truth.other):
        return truth
    key = ("if", fresh())
    return Truth(None, truth.then | {(key, True)}, truth.other | {(key, False)})


def is_count(value: Value) -> bool:
    """Whether a value is a constant, on some way at least."""
    return type(value) is Const or (
        type(value) is Either and any(type(v) is Const for _, v in value.alternatives)
    )


def phase_of(value: Value) -> str:
    """The word that a turn of a loop is about: `for phase in ("train", "val")`."""
    return value.value if isinstance(value, Const) and isinstance(value.value, str) else ""


def selective(truth: Truth, test: Expr, span: Span) -> Truth:
    """A condition that is not known but says that only BatchNorm layers get through."""
    if truth.value is not None or not lets_norms_through(test):
        return truth
    return truth._replace(then=truth.then | {((NORMS, span), True)})


def picked(parts: list[tuple[Guards, Value]]) -> list[tuple[Guards, Value]]:
    """Several values of which one is there at a time, also where their conditions do not say so."""
    if all(contradicts(one, other) for (one, _), (other, _) in combinations(parts, 2)):
        return parts
    subject = tuple(getattr(value, "key", at) for at, (_, value) in enumerate(parts))
    return [(guards | {(("at", subject, at), True)}, value) for at, (guards, value) in enumerate(parts)]


def spell(node: Expr) -> str:
    """How the source spells a name or a call, without its arguments."""
    match node:
        case ir.Name(id=name):
            return name
        case ir.Get(base=base, attr=attr):
            return f"{spell(base)}.{attr}"
        case ir.Call(func=func, args=args):
            inner = ", ".join(filter(None, (spell(a.value) for a in args)))
            return f"{spell(func)}({inner})"
        case ir.Item(base=base, key=ir.Lit(value=value)):
            return f"{spell(base)}[{value!r}]"
        case ir.Item(base=base):
            return f"{spell(base)}[]"
    return ""


STATEMENTS: Final[dict[type, Callable[[Interpreter, Any], bool | None]]] = {
    ir.Assign: Interpreter.do_assign,
    ir.Update: Interpreter.do_update,
    ir.Declare: Interpreter.do_declare,
    ir.Do: Interpreter.do_do,
    ir.Return: Interpreter.do_return,
    ir.If: Interpreter.do_if,
    ir.For: Interpreter.do_for,
    ir.While: Interpreter.do_while,
    ir.With: Interpreter.do_with,
    ir.Try: Interpreter.do_try,
    ir.Raise: Interpreter.do_raise,
    ir.Break: Interpreter.do_jump,
    ir.Continue: Interpreter.do_jump,
    ir.Assert: Interpreter.do_assert,
    ir.Global: Interpreter.do_global,
    ir.Nonlocal: Interpreter.do_nonlocal,
    ir.Import: Interpreter.do_import,
    ir.Function: Interpreter.do_function,
    Later: Interpreter.do_function,
    ir.Class: Interpreter.do_class,
}
EXPRESSIONS: Final[dict[type, Callable[[Interpreter, Any], Value]]] = {
    ir.Name: Interpreter.eval_name,
    ir.Get: Interpreter.eval_get,
    ir.Lit: Interpreter.eval_lit,
    ir.Call: Interpreter.eval_call,
    ir.Star: Interpreter.eval_star,
    ir.Display: Interpreter.eval_display,
    ir.Table: Interpreter.eval_table,
    ir.Binary: Interpreter.eval_binary,
    ir.Unary: Interpreter.eval_unary,
    ir.Compare: Interpreter.eval_compare,
    ir.Logic: Interpreter.eval_logic,
    ir.Choice: Interpreter.eval_choice,
    ir.Item: Interpreter.eval_item,
    ir.Slice: Interpreter.eval_slice,
    ir.Lambda: Interpreter.eval_lambda,
    ir.Comp: Interpreter.eval_comp,
    ir.Yield: Interpreter.eval_yield,
    ir.Bind: Interpreter.eval_bind,
    ir.Opaque: Interpreter.eval_opaque,
    ir.Joined: Interpreter.eval_joined,
}
