"""What the objects of a framework do to the models that they run."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from bnlint.facts import Mode
from bnlint.source import frameworks as table
from bnlint.source import summary as ir
from bnlint.source.frameworks import Driver, Engine, Left, Model
from bnlint.source.state import MODE
from bnlint.source.values import (
    Args,
    ArgVal,
    ClassVal,
    DictVal,
    External,
    Func,
    ListVal,
    Loop,
    Obj,
    Partial,
    Place,
    Sym,
    Value,
    alternatives,
    fresh,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

EVALUATED: Final = " > evaluate"
"""What a framework does when it leaves a model in eval mode: as if a function of that name had set it."""
SELF_SWITCHING: Final = frozenset({"eval", "freeze"})
"""Calls in a model's own methods that may leave it in another mode than its framework does."""
TURNS: Final = 2
"""Batches that an engine is given: what one leaves behind meets the next."""


BEGINS: Final = "STARTED"
"""How the names of events end that come before the batch."""


class Handler(NamedTuple):
    """A function that an engine calls beside its own; `more` are the arguments that it is given as well."""

    begins: bool
    function: Value
    more: tuple[ArgVal, ...]


class Drivers:
    """Follows the objects of frameworks as `frameworks` describes them."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.handlers: dict[Hashable, list[Handler]] = {}
        self.known: dict[ClassVal, tuple[str, ...]] = {}

    # what is known

    def paths(self, cls: Value) -> tuple[str, ...]:
        """The classes of frameworks that something is an instance of."""
        if isinstance(cls, External):
            return (cls.path,) if table.framework_of(cls.path) is not None else ()
        if not isinstance(cls, ClassVal):
            return ()
        found = self.known.get(cls)
        if found is None:
            bases = (base.path for base in self.run.objects.bases(cls) if isinstance(base, External))
            found = self.known[cls] = tuple(path for path in bases if table.framework_of(path) is not None)
        return found

    # functions and classes of frameworks

    def call(self, path: str, args: Args, place: Place) -> Value | None:
        """A call of a framework's function or class; None where the table says nothing of it."""
        if table.framework_of(path) is None:
            return None
        if table.driver_of(path) is not None or table.engine_of(path) is not None:
            return Obj(fresh(), External(path), args, place, ready=True)
        mode = table.gives(path)
        if mode is None or mode == "same":
            return None
        made = Sym(fresh(), path.rpartition(".")[2])
        self.begin_in(made, mode, made.name, place)
        return made

    def make(self, cls: ClassVal, name: str, place: Place) -> Value | None:
        """`Net.load_from_checkpoint(…)`, `Net.from_pretrained(…)`: an instance with arguments from a file."""
        mode = self.given(cls, name)
        if mode is None or self.run.objects.find(cls, name) is not None:
            return None
        made = self.run.objects.instantiate(cls, Args(open=True), place)
        if isinstance(made, Obj):
            if mode != "train" or self.switches_itself(cls):
                self.begin_in(made, mode if mode == "eval" else "unknown", name, place)
            self.run.events.record.loaded.add(made.key)
        return made

    def begin_in(self, made: Obj | Sym, mode: Mode, name: str, place: Place) -> None:
        events = self.run.events
        events.left_in(made.key, mode, place, f"`{name}()` gives it in {mode} mode", events.purpose_here())

    def given(self, cls: ClassVal, name: str) -> Left | None:
        models = (table.model_of(path) for path in self.paths(cls))
        return next((m.given[name] for m in models if m is not None and name in m.given), None)

    # methods

    def method(self, base: Obj | Sym, name: str, args: Args, place: Place) -> Value | None:
        """A method that a framework defines; None where the table says nothing of it."""
        for path in self.paths(base.cls) if isinstance(base, Obj) else ():
            driver, engine, model = table.driver_of(path), table.engine_of(path), table.model_of(path)
            done = None
            if driver is not None:
                done = self.drive(base, driver, name, args, place)
            if done is None and engine is not None:
                done = self.use_engine(base, engine, name, args, place)
            if done is None and model is not None:
                done = self.use_model(base, model, name, args, place)
            if done is not None:
                return done
        return None

    def drive(self, base: Obj | Sym, driver: Driver, name: str, args: Args, place: Place) -> Value | None:
        run = self.run
        if name in driver.left:
            run.fits.called(base, name, args, place)
            given = Args((*args.items, *(base.args.items if isinstance(base, Obj) else ())))
            for model in self.models(given):
                self.leave(model, driver.left[name], name, place)
            return Sym(fresh(), name)
        if name in driver.passing and args.items:
            return self.given_back(args, place)
        if name in driver.launching and args.items:
            first = ArgVal(None, base, place)
            return run.call(args.items[0].value, Args((first, *args.items[1:]), args.open), place)
        return run.library.result_of(name, args, place) if name in driver.quiet else None

    def given_back(self, args: Args, place: Place) -> Value:
        """One object for one, a tuple for several; what else is given are settings."""
        if args.open:  # nobody knows which of them is which
            self.run.events.forget_modes(args, place)
            return Sym(fresh(), "prepared")
        values = [arg.value for arg in args.positional() or args.items]
        return values[0] if len(values) == 1 else self.run.containers.tuple_of(*values, place=place)

    def use_model(self, base: Obj | Sym, model: Model, name: str, args: Args, place: Place) -> Value | None:
        if name in model.left:
            self.leave(base, model.left[name], name, place)
            return base
        if name in model.backward:
            for tensor in self.run.library.tensors(args):
                self.run.events.backward(tensor)
            return Sym(fresh(), name)
        return self.run.library.result_of(name, args, place) if name in model.quiet else None

    def leave(self, model: Obj | Sym, left: Left, name: str, place: Place) -> None:
        """A framework has run a model, and left it in a mode."""
        events = self.run.events
        if left == "same":
            if {m.mode for m in events.modes_of(model)} == {"train"} and not self.switches_itself(model):
                return
            left = "unknown"
        purpose = events.purpose_here() + (EVALUATED if left == "eval" else "")
        how = f"`{name}()` sets its mode" if left == "unknown" else f"`{name}()` leaves it in {left} mode"
        events.left_in(model.key, left, place, how, purpose)

    def models(self, args: Args, depth: int = 0) -> Iterator[Obj | Sym]:
        """The models among arguments, as far as they are known or named by what they are given as."""
        for arg in args.items:
            for _, value in alternatives(self.run.force(arg.value)):
                if isinstance(value, Sym) or (isinstance(value, Obj) and self.is_model(value)):
                    yield value
                elif isinstance(value, DictVal | ListVal) and not depth:
                    yield from self.models(self.contents(value, arg.place), depth + 1)

    def contents(self, value: DictVal | ListVal, place: Place) -> Args:
        """What a dict or a list of models holds."""
        if isinstance(value, DictVal):
            held = list(self.run.entries(value).held.values())
        else:
            items = self.run.items(value)
            held = [item.value for item in items.held] if items else []
        return Args(tuple(ArgVal(None, inner, place) for inner in held))

    def is_model(self, obj: Obj) -> bool:
        has_mode = self.run.state.get((obj.key, MODE)) is not None
        return has_mode or self.run.objects.is_module(obj.cls) == "yes"

    def switches_itself(self, model: Obj | Sym | ClassVal) -> bool:
        """Whether a model's own methods, which the framework calls, may leave it in another mode."""
        cls = model if isinstance(model, ClassVal) else model.cls if isinstance(model, Obj) else None
        if not isinstance(cls, ClassVal):
            return False
        restored = {name for path in self.paths(cls) if (h := table.hooks_of(path)) for name in h.evaluate}
        return any(
            method.calls & SELF_SWITCHING
            for base in self.run.objects.bases(cls)
            if isinstance(base, ClassVal)
            for method in base.klass.methods
            if method.name not in {"__init__", *restored}
        )

    # engines

    def use_engine(
        self, base: Obj | Sym, engine: Engine, name: str, args: Args, place: Place
    ) -> Value | None:
        if name == engine.add and len(args.items) > 1:
            event, handler, *more = args.items
            self.register(base, event.value, handler.value, tuple(more))
            return Sym(fresh(), name)
        if name == engine.run and isinstance(base, Obj) and base.args.items:
            self.run_engine(base, args, place)
            return Sym(fresh(), name)
        return None

    def register(self, base: Obj | Sym, event: Value, handler: Value, more: tuple[ArgVal, ...]) -> None:
        """A function to be called when something begins, or when it is over."""
        of = event.cls if isinstance(event, Obj) else event
        begins = isinstance(of, External) and of.path.endswith(BEGINS)
        self.handlers.setdefault(base.key, []).append(Handler(begins, handler, more))

    def run_engine(self, base: Obj, args: Args, place: Place) -> None:
        """Each batch is given to the engine's function; around it comes what was registered beside it."""
        run = self.run
        data = args.value(0, "data") or Sym(fresh(), "data")
        name = data.name if isinstance(data, Sym | Obj) else ""
        engine = ArgVal(None, base, place)
        for turn in range(TURNS):
            run.loops.append(Loop(data, place, turn, name))
            try:
                self.call_handlers(engine, begins=True)
                batch = ArgVal(None, run.element(data, turn), place)
                run.force(run.call(base.args.items[0].value, Args((engine, batch)), place))
                self.call_handlers(engine, begins=False)
            finally:
                run.loops.pop()

    def call_handlers(self, engine: ArgVal, *, begins: bool) -> None:
        base = engine.value
        for handler in self.handlers.get(base.key, ()) if isinstance(base, Obj) else ():
            if handler.begins == begins:
                given = Args(self.fitting(handler.function, engine, handler.more))
                self.run.force(self.run.call(handler.function, given, engine.place))

    def fitting(self, handler: Value, engine: ArgVal, more: tuple[ArgVal, ...]) -> tuple[ArgVal, ...]:
        """A handler is given the engine if it takes it."""
        takes = isinstance(handler, Func) and not handler.function.params
        return more if takes or isinstance(handler, Partial) else (engine, *more)

    def decorated(self, node: ir.Function, func: Func) -> None:
        """`@engine.on(event)` registers a function."""
        for decorator in node.decorators:
            match decorator:
                case ir.Call(func=ir.Get(base=owner, attr=attr), args=given):
                    base = self.run.force(self.run.eval(owner)) if attr in ATTACHING else None
                    is_engine = isinstance(base, Obj) and any(map(table.engine_of, self.paths(base.cls)))
                    if isinstance(base, Obj) and is_engine and given:
                        event, *more = self.run.arguments(given).items
                        self.register(base, event.value, func, tuple(more))

    # contexts

    def keeps_modes(self, expr: ir.Expr) -> bool:
        """Whether a context manager is a framework's own and switches nothing."""
        match expr:
            case ir.Call(func=ir.Get(base=ir.Name() | ir.Get() as owner, attr=attr)):
                base = self.run.force(self.run.eval(owner))
                if attr == "accumulate" and isinstance(base, Obj):
                    self.run.fits.accumulating(base)
                drivers = map(table.driver_of, self.paths(base.cls)) if isinstance(base, Obj) else ()
                return any(driver is not None and attr in driver.quiet for driver in drivers)
        return False


ATTACHING: Final = frozenset(e.attach for f in table.FRAMEWORKS for e in f.engines)
"""The names of decorators that register a function with an engine."""
