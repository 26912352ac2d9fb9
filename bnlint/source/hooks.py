"""The methods of a class that a framework calls, run in the order and the mode in which it calls them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from bnlint.facts import Mode
from bnlint.source import frameworks as table
from bnlint.source.events import Hook
from bnlint.source.frameworks import Hooks
from bnlint.source.interpret import OutOfFuel
from bnlint.source.state import MODE, ModeRecord, SetAt, State
from bnlint.source.values import Args, ArgVal, ClassVal, Func, Loop, Obj, Place, Sym, Value, fresh

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

HOOK_FUEL: Final = 3_000
"""Statements that one of these methods may take."""
TURNS: Final = 2
"""Rounds of training: what one leaves behind meets the next."""


def run_hooks(run: Interpreter, cls: ClassVal) -> None:
    """Run what a framework calls of a class, on an instance that it drives.

    A class that never touches a mode, nor the gradients, can do nothing there that counts.
    """
    if not any("mode" in base.klass.words for base in run.objects.bases(cls) if isinstance(base, ClassVal)):
        return
    for path in run.drivers.paths(cls):
        hooks = table.hooks_of(path)
        framework = table.framework_of(path)
        if hooks is None or framework is None or any(run.objects.find(cls, n) for n in hooks.switches):
            continue
        Round(run, cls, hooks, framework.name).play()


class Round:
    """An instance of a class, and the framework that drives it."""

    def __init__(self, run: Interpreter, cls: ClassVal, hooks: Hooks, framework: str) -> None:
        self.run = run
        self.cls = cls
        self.hooks = hooks
        self.framework = framework
        self.obj = Obj(fresh(), cls, Args(), Place(cls.module.filename, cls.klass.span))

    def play(self) -> None:
        """What comes before training, some of its rounds, what comes after, and the evaluation."""
        hooks, run = self.hooks, self.run
        training = list(self.defined(hooks.train))
        with run.aside():
            run.state = State(run.root)
            run.fuel = HOOK_FUEL
            run.objects.prepare(self.obj)
            self.call_all(self.defined(hooks.before), "train")
            for turn in range(TURNS if training else 0):
                self.take_turn(turn, training)
            self.call_all(self.defined(hooks.after), "train")
            for hook in self.defined(hooks.evaluate):
                run.state = State(run.root)  # whatever it switches is put back
                self.call(hook, "eval")

    def take_turn(self, turn: int, training: list[Func]) -> None:
        span = training[0].function.span
        self.run.loops.append(Loop(None, Place(training[0].module.filename, span), turn, ""))
        try:
            self.call_all(training, "train")
        finally:
            self.run.loops.pop()

    def defined(self, names: Iterable[str]) -> Iterator[Func]:
        """The project's own methods among these."""
        for name in names:
            func = self.run.objects.find(self.cls, name)
            if isinstance(func, Func):
                yield func

    def call_all(self, hooks: Iterable[Func], mode: Mode) -> None:
        for hook in hooks:
            self.call(hook, mode)

    def call(self, hook: Func, mode: Mode) -> None:
        run = self.run
        place = Place(hook.module.filename, hook.function.span)
        given = self.set_mode(hook, mode, place)
        run.events.hook = Hook(hook.function.name, mode, self.framework, place)
        run.fuel = HOOK_FUEL
        try:
            result = run.force(run.run(hook, given, self.obj, None))
            if hook.function.name in self.hooks.losses:
                self.go_backward(result)
        except OutOfFuel:
            pass  # what was seen until there stands
        finally:
            run.events.hook = None

    def go_backward(self, result: Value) -> None:
        """A loss, or a dict that holds one."""
        run = self.run
        for tensor in run.library.tensors(Args((ArgVal(None, result, self.obj.place),))):
            run.events.backward(tensor)

    def set_mode(self, hook: Func, mode: Mode, place: Place) -> Args:
        """The framework sets the mode of the model, wherever the method finds it."""
        first, *attrs = self.hooks.model.split(".")
        params = hook.function.params
        given = Args()
        model: Value = self.obj
        if first != "self":
            at = int(first)
            if len(params) <= at:
                return given
            model = Sym(fresh(), params[at].name)
            given = Args((ArgVal(params[at].name, model, place),))
        for attr in attrs:
            model = self.run.objects.attribute(model, attr)
        if isinstance(model, Obj | Sym):
            self.record(model, hook, mode, place)
        return given

    def record(self, model: Obj | Sym, hook: Func, mode: Mode, place: Place) -> None:
        """Note the mode; where the framework does not set train mode anew, what the hooks did counts."""
        run = self.run
        key = (model.key, MODE)
        if mode == "train" and not self.hooks.anew and run.state.get(key) is not None:
            return
        first = mode == "train" and not self.hooks.anew
        run.clock += 1
        how = f"{self.framework} calls `{hook.function.name}` in {mode} mode"
        record = SetAt(mode, place, how, hook.function.name, run.events.turn())
        run.state.set(key, ModeRecord(0 if first else run.clock, (record,)))
