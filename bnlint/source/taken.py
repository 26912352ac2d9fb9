"""State taken out of a model: what filters leave of it, and where it goes.

`model.parameters()` and `model.state_dict()` are followed through comprehensions, copies and loops as
one value. It is saved when it reaches `torch.save`, and exchanged when it is turned into arrays or
written into another model.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bnlint.source import summary as ir
from bnlint.source.events import StateSave, words_of
from bnlint.source.kept import CONVERSIONS
from bnlint.source.values import Args, Const, Place, Taken, Value, alternatives

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

COPIES: Final = frozenset(
    {"clone", "detach", "cpu", "cuda", "to", "float", "half", "double", "data", "contiguous"}
)
"""What leaves a tensor what it was."""
ARRAYS: Final = frozenset({"numpy", "tolist"})
"""What turns a tensor into something that leaves torch: to be sent."""
PART: Final = re.compile(r"(^|[._])(heads?|fc|classifier|cs|linear|gate|prompt|lora)$", re.IGNORECASE)
"""Parts of a model that hardly ever hold BatchNorm."""
STATISTICS: Final = re.compile("running|buffer", re.IGNORECASE)
"""What the names of running statistics hold."""
SETTING_UP: Final = re.compile(r"init|reset|build|setup|copy_params", re.IGNORECASE)
"""Names of what runs before any training."""
BUFFERS: Final = frozenset(
    {"buffers", "named_buffers", "state_dict", "load_state_dict", "update_bn", "_buffers", "running_mean"}
)
"""Calls that show that somebody thought of the buffers."""


def attached(base: Taken, args: Args) -> Taken:
    """`state_dict(keep_vars=True)` holds the parameters themselves."""
    keeps = args.value(2, "keep_vars")
    if isinstance(keeps, Const) and keeps.value is False:
        return base
    return base if keeps is None else replace(base, form="variables")


def listed(base: Taken) -> Taken:
    """`list(model.parameters())`: what is added to a list is added to no tensor."""
    return replace(base, form="list") if base.form == "tensors" else base


def is_list(*values: Value) -> bool:
    """Whether any of these is a list of tensors."""
    return any(isinstance(value, Taken) and value.form == "list" for value in values)


def one_of(base: Taken) -> Taken:
    """One of the tensors that were taken."""
    return replace(base, form="tensors") if base.form == "list" else base


def attribute(base: Taken, name: str) -> Value | None:
    """`parameter.data` is still the parameter."""
    return base if name in COPIES else None


def method(run: Interpreter, base: Taken, name: str, args: Args) -> Value | None:
    """What a method makes of taken state; None where it is something else."""
    if name in {"clone", "copy"}:
        return replace(base, fresh=True, time=base.time if name == "copy" else 0)
    if name in CONVERSIONS:
        return replace(base, time=0)
    if name in {"items", "values", "keys"} or name in COPIES:
        return base
    if name == "update" and args.items:
        run.kept.wrote(base)
        updated(run, base, args)
        return Const(None)
    if name in ARRAYS:
        return Taken(base.model, base.what, base.place, form="array")
    if name == "copy_" and args.items:
        run.kept.wrote(base)
        copied(run, base, args.items[0].value)
        return base
    return run.averages.method(base, name, args)


def added(run: Interpreter, target: Taken, value: Value) -> None:
    """`b.data += …`"""
    if not run.averages.update("+", target, value):
        exchange(run, target, value)


def copied(run: Interpreter, target: Taken, value: Value) -> None:
    """`b.data = a.data`, `b.data.copy_(a.data)`: a step of an average, or an exchange."""
    if not run.averages.write(target, value):
        exchange(run, target, value)


def exchange(run: Interpreter, target: Value, value: Value) -> None:
    """One model's parameters become another's."""
    for _, source in alternatives(run.force(value)):
        if not isinstance(source, Taken) or not isinstance(target, Taken) or source.model is target.model:
            continue
        if source.what != "parameters" or target.what != "parameters":
            continue
        if is_setting_up(run):
            continue  # two new models agree in their buffers
        name = getattr(source.model, "name", "")
        if is_selective(run) or PART.search(name):
            continue
        place = run.loops[-1].place if run.loops else source.place
        exchanged(run, source, place, target.model)


def is_setting_up(run: Interpreter) -> bool:
    """Whether a constructor runs, or something that only a constructor calls."""
    for frame in run.frames:
        if SETTING_UP.search(frame.name):
            return True
        owner = frame.func.owner if frame.func is not None else None
        methods = owner.klass.methods if owner is not None else ()
        inits = (method for method in methods if SETTING_UP.search(method.name))
        if any(frame.name in init.calls for init in inits):
            return True
    return False


def is_selective(run: Interpreter) -> bool:
    """Whether a condition inside the loop picks parameters: somebody decided what becomes of which."""
    turns = run.frame.jumps
    return bool(turns) and bool(run.state.guards - turns[-1][0].guards)


def exchanged(run: Interpreter, taken: Taken, place: Place, into: Value | None = None) -> None:
    """State leaves its model for another place, or another model."""
    frames = [f for f in run.frames if f.func is not None]
    calls = frames[-1].func.function.calls if frames and frames[-1].func else frozenset()
    beside = bool(calls & BUFFERS)
    run.events.record.saves.append(StateSave(taken, place, "exchanged", run.events.calls(), beside, into))


def comprehension(run: Interpreter, node: ir.Comp, source: Value, element: Value) -> Value | None:
    """A comprehension over one model's state is that state, perhaps filtered."""
    if not isinstance(source, Taken):
        return None
    what = source.what
    for test in node.loops[0].tests:
        what = filtered(what, test, attached=source.form == "variables")
    form = element.form if isinstance(element, Taken) else "other"
    if form == "other":
        return None
    if node.kind == "list" and form == "tensors":
        form = "list"
    fresh = isinstance(element, Taken) and element.fresh
    time = element.time if isinstance(element, Taken) else 0
    taken = Taken(source.model, what, run.place(node.span), form=form, fresh=fresh, time=time)
    if form == "array" and what == "parameters":
        exchanged(run, taken, run.place(node.span))
    return taken


def sifted(source: Taken, test: ir.Function, place: Place) -> Taken:
    """What `filter` leaves of a model's state."""
    what = source.what
    for stmt in test.body:
        if isinstance(stmt, ir.Return) and stmt.value is not None:
            what = filtered(what, stmt.value, attached=source.form == "variables")
    return replace(source, what=what, place=place, form="list")


def filled(index: Value, value: Value) -> str | None:
    """What a dict holds a model's all of, once a loop has filled it: `state[name] = parameter`."""
    if not isinstance(index, Taken) or not isinstance(value, Taken) or index.model is not value.model:
        return None
    return value.what if value.what in {"parameters", "buffers"} else None


def filtered(what: str, test: ir.Expr, *, attached: bool = False) -> str:
    """What a filter leaves: its words tell.

    The tensors of a state are detached, unless it is taken with `keep_vars`: then none requires a gradient.
    """
    text = words_of(test)
    if what == "buffers":
        return what
    if "requires_grad" in text:
        if not asks_for_gradients(test):
            return "unknown"
        return "nothing" if what == "state_dict" and not attached else "trainable"
    if "num_batches_tracked" in text and "running" not in text:
        return what
    return "filtered" if drops_statistics(test) else "unknown"


def asks_for_gradients(test: ir.Expr) -> bool:
    """Whether only what requires a gradient gets through."""
    match test:
        case ir.Get(attr="requires_grad"):
            return True
        case ir.Compare(op="==" | "is", left=ir.Get(attr="requires_grad"), right=ir.Lit(value=True)):
            return True
        case ir.Logic(op="and", parts=parts):
            return any(map(asks_for_gradients, parts))
    return False


def picked(run: Interpreter, node: ir.Comp, made: Value) -> None:
    """A dict of picked entries, wherever they come from: remember whether statistics are among them."""
    if any(drops_statistics(test) for test in node.loops[0].tests):
        run.events.lacks_statistics(made, run.place(node.span))


def updated(run: Interpreter, base: Taken, args: Args) -> None:
    """`state.update(entries)`: what the entries lack stays as the model was built."""
    place = run.events.filters.get(id(run.force(args.items[0].value)))
    if place is not None:
        run.events.lacks_statistics(base, place)


def drops_statistics(test: ir.Expr, *, kept: bool = True) -> bool:
    """Whether a filter lets no running statistics through; `kept` is the way in which an entry stays."""
    match test:
        case ir.Unary(op="not", operand=inner):
            return drops_statistics(inner, kept=not kept)
        case ir.Logic(op=op, parts=parts) if (op == "and") is kept:
            return any(drops_statistics(part, kept=kept) for part in parts)
        case ir.Compare(op="in" | "not in" as op, left=ir.Lit(value=str() as text)):
            return bool(STATISTICS.search(text)) and (op == "in") is not kept
        case ir.Call(func=ir.Get(attr="endswith" | "startswith" | "count" | "find"), args=args):
            return not kept and any(STATISTICS.search(words_of(arg.value)) for arg in args)
    return False
