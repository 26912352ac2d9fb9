"""`with` blocks and decorators: what is in force where."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bnlint.source import summary as ir
from bnlint.source.objects import last_name
from bnlint.source.summary import Expr
from bnlint.source.values import (
    Args,
    ClassVal,
    Context,
    Func,
    Method,
    Obj,
    Place,
    Value,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

NO_GRAD: Final = frozenset({"no_grad", "inference_mode", "set_grad_enabled"})


class Managers:
    """Context managers: torch's, the project's own, and unknown ones."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run

    def enter_decorators(self, func: Func) -> None:
        for decorator in func.function.decorators:
            if last_name(decorator) in NO_GRAD:
                self.run.contexts.append(
                    Context(f"@{last_name(decorator)}", Place(func.module.filename, func.function.span))
                )

    def enter(self, expr: Expr, target: Expr | None, node: ir.With, body: Callable[[], bool]) -> bool:
        """A `with` block: the project's own context managers are followed."""
        run = self.run
        if isinstance(expr, ir.Call):
            func = run.eval(expr.func)
            inner = func.func if isinstance(func, Method) else func
            receiver = func.self if isinstance(func, Method) else None
            if isinstance(inner, Func) and is_context_manager(inner):
                return self.enter_generator(inner, receiver, run.arguments(expr.args), expr, target, body)
        manager = run.force(run.eval(expr))
        contexts = len(run.contexts)
        place = run.place(node.span)
        name = last_name(expr)
        if name in NO_GRAD and not self.is_switched_off(expr):
            run.contexts.append(Context(name, place))
        value: Value = manager
        methods = self.enter_methods(manager)
        if methods is not None:
            value = run.call(methods[0], Args(), place)
        elif name not in NO_GRAD and not run.drivers.keeps_modes(expr):
            run.events.entered(expr, place)
        if target is not None:
            run.assign(target, value)
        try:
            completes = body()
        finally:
            del run.contexts[contexts:]
        if methods is not None:
            run.call(methods[1], Args(open=True), place)
        return completes

    def is_switched_off(self, expr: Expr) -> bool:
        """`set_grad_enabled(True)`, or one whose argument is not known."""
        if last_name(expr) != "set_grad_enabled" or not isinstance(expr, ir.Call) or not expr.args:
            return False
        return self.run.test(expr.args[0].value).value is not False

    def enter_methods(self, manager: Value) -> tuple[Value, Value] | None:
        if not isinstance(manager, Obj) or not isinstance(manager.cls, ClassVal):
            return None
        objects = self.run.objects
        enter, leave = objects.find(manager.cls, "__enter__"), objects.find(manager.cls, "__exit__")
        if enter is None or leave is None:
            return None
        return objects.bound(enter, manager), objects.bound(leave, manager)

    def enter_generator(
        self,
        func: Func,
        receiver: Value | None,
        args: Args,
        expr: ir.Call,
        target: Expr | None,
        body: Callable[[], bool],
    ) -> bool:
        """`@contextmanager`: the block runs where the generator yields."""
        run = self.run
        outer = run.frames[:]
        done: list[bool] = []

        def block(value: Value) -> None:
            inner = run.frames
            run.frames = outer
            try:
                if target is not None:
                    run.assign(target, value)
                if not done:
                    done.append(body())
            finally:
                run.frames = inner

        run.run(func, args, receiver, run.place(expr.span), yields=block)
        return done[0] if done else True


def is_context_manager(func: Func) -> bool:
    return any(last_name(d) in {"contextmanager", "asynccontextmanager"} for d in func.function.decorators)
