"""`train` and `eval` methods that replace torch's, judged by what their bodies say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from bnlint.facts import Answer3, Override
from bnlint.source import summary as ir
from bnlint.source.objects import last_name
from bnlint.source.structure import Structure, where_of
from bnlint.source.values import ClassVal, Place


def overrides(structure: Structure, classes: list[ClassVal]) -> Iterator[Override]:
    """The overrides in classes that certainly are modules."""
    for cls in classes:
        if structure.run.objects.is_module(cls) != "yes":
            continue
        for stmt in cls.klass.body:
            if isinstance(stmt, ir.Function) and stmt.name in {"train", "eval"} and stmt.params:
                yield override(cls, stmt)


def override(cls: ClassVal, method: ir.Function) -> Override:
    name: Literal["train", "eval"] = "train" if method.name == "train" else "eval"
    receiver = method.params[0].name
    calls = list(calls_in(method.body))
    supers = [c for c in calls if is_super(c, name)]
    modes = [c for c in calls if is_switch(c) and not is_super(c, name)]
    parameter = method.params[1].name if len(method.params) > 1 else ""
    used = {n for n in names_in(method.body)}
    return Override(
        cls=cls.klass.name,
        method=name,
        where=where_of(Place(cls.module.filename, method.span)),
        returns=returns(method.body, receiver),
        reaches=reaches(supers, modes, calls, method),
        honours=honours(parameter, used, method, supers),
        always_eval=any(is_constant_false(c) for c in (*supers, *modes)),
    )


def reaches(supers: list[ir.Call], modes: list[ir.Call], calls: list[ir.Call], method: ir.Function) -> Answer3:
    """Whether the method gets to torch's own switch, or does what it does."""
    if supers:
        return "yes"
    if modes or any(isinstance(s, ir.For | ir.While | ir.With) for s in method.body):
        return "unknown"
    abstract = any(last_name(d) in {"abstractmethod", "overload"} for d in method.decorators)
    if abstract or not method.body or isinstance(method.body[0], ir.Raise):
        return "unknown"
    if any(call_name(c) in {"children", "modules", "apply", "setattr"} for c in calls):
        return "unknown"
    return "no"


def honours(parameter: str, used: set[str], method: ir.Function, supers: list[ir.Call]) -> Answer3:
    """Whether the parameter `mode` decides anything."""
    if method.name == "eval" or any(p.kind in {"*", "**"} for p in method.params):
        return "unknown"
    if parameter in used:
        return "yes"
    if any(c.args for c in supers):
        return "unknown"
    return "no" if parameter == "mode" or supers else "unknown"


def returns(body: ir.Block, receiver: str) -> Literal["self", "nothing", "unknown"]:
    """What comes back: "nothing" where no path returns anything."""
    values = list(returned(body))
    if not values:
        return "unknown" if not body or any(isinstance(s, ir.Raise) for s in body) else "nothing"
    if all(value is None for value in values):
        return "nothing"
    if all(value == ir.Name(receiver) for value in values):
        return "self"
    return "unknown"


def returned(body: ir.Block) -> Iterator[ir.Expr | None]:
    for stmt in statements(body):
        if isinstance(stmt, ir.Return):
            yield stmt.value


def statements(body: ir.Block) -> Iterator[ir.Stmt]:
    """Every statement of a body; nested functions and classes are their own."""
    for stmt in body:
        yield stmt
        match stmt:
            case ir.If(body=inner, other=other) | ir.For(body=inner, other=other) | ir.While(body=inner, other=other):
                yield from statements(inner)
                yield from statements(other)
            case ir.With(body=inner):
                yield from statements(inner)
            case ir.Try(body=inner, handlers=handlers, other=other, final=final):
                for block in (inner, *handlers, other, final):
                    yield from statements(block)


def expressions(body: ir.Block) -> Iterator[tuple[object, ...]]:
    """Every expression in a body."""
    pending: list[object] = [part for stmt in statements(body) for part in parts_of(stmt)]
    while pending:
        part = pending.pop()
        if isinstance(part, tuple):
            if hasattr(part, "_fields"):
                yield part
            pending.extend(part)


def parts_of(stmt: ir.Stmt) -> tuple[object, ...]:
    """The expressions of a statement, without the blocks below it."""
    match stmt:
        case ir.If(test=test) | ir.While(test=test) | ir.Assert(test=test):
            return (test,)
        case ir.For(target=target, source=source):
            return (target, source)
        case ir.With(items=items):
            return items
        case ir.Try() | ir.Function() | ir.Class() | ir.Import():
            return ()
    return tuple(stmt)


def calls_in(body: ir.Block) -> Iterator[ir.Call]:
    for part in expressions(body):
        if isinstance(part, ir.Call):
            yield part


def names_in(body: ir.Block) -> Iterator[str]:
    for part in expressions(body):
        if isinstance(part, ir.Name):
            yield part.id


def call_name(call: ir.Call) -> str:
    return last_name(call.func)


def is_super(call: ir.Call, name: str) -> bool:
    """`super().train(…)`, `super(Net, self).eval()`, `nn.Module.train(self, …)`, `self.train(False)` in eval."""
    match call.func:
        case ir.Get(base=ir.Call(func=ir.Name(id="super"))):
            return call_name(call) in {"train", "eval"}
        case ir.Get(base=ir.Get(attr="Module") | ir.Name(id="Module"), attr=attr):
            return attr in {"train", "eval"}
        case ir.Get(base=ir.Name(), attr="train"):
            return name == "eval"
    return False


def is_switch(call: ir.Call) -> bool:
    return call_name(call) in {"train", "eval"}


def is_constant_false(call: ir.Call) -> bool:
    """`train(False)`, or `eval()` inside `train`: the module is kept in eval whatever is asked."""
    if call_name(call) == "train":
        return any(isinstance(a.value, ir.Lit) and a.value.value is False for a in call.args)
    return False
