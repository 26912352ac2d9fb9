"""Whether a value is an instance of a class, and what a class or a function says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bnlint.source.layers import CONTAINERS, LAYERS, torch_name
from bnlint.source.values import (
    ClassVal,
    Const,
    DictVal,
    External,
    Func,
    ListVal,
    Method,
    Obj,
    Partial,
    Value,
    alternatives,
    same,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

ABSTRACT: Final = ("collections.abc.", "typing.", "numbers.", "abc.")
"""Classes that others are instances of without inheriting from them."""
FUNCTIONS: Final = frozenset({"types.FunctionType", "types.LambdaType"})
NUMBERS: Final = {"bool": frozenset({"bool", "int"})}
"""Which of Python's own types a constant of a type is an instance of, where it is more than one."""


def is_instance(run: Interpreter, value: Value, wanted: Value) -> bool | None:
    """Whether a value is an instance of a class or of one of several; None where that is not known."""
    if isinstance(wanted, ListVal):
        items = run.containers.items(wanted)
        held = [] if items is None else [run.force(h.value) for h in items.held]
        answers = {is_instance(run, value, each) for each in held}
        if True in answers:
            return True
        return None if items is None or items.open or None in answers else False
    answers = {is_one(run, each, wanted) for _, each in alternatives(value)}
    return answers.pop() if len(answers) == 1 else None


def is_one(run: Interpreter, value: Value, wanted: Value) -> bool | None:
    """The same, for one value and one class."""
    value = run.force(value)
    if isinstance(value, Const) and value.value is None:
        return False if isinstance(wanted, ClassVal | External) else None
    if isinstance(value, Obj):
        return inherits(run, value.cls, wanted)
    if not isinstance(wanted, External):
        return None
    if wanted.path.startswith(ABSTRACT):
        return has_interface(value, wanted.path.rpartition(".")[2])
    names = types_of(value)
    if names is None:
        return None
    return wanted.path in names


def has_interface(value: Value, name: str) -> bool | None:
    """Whether a value is something that can be gone through."""
    if name not in {"Iterable", "Sequence"}:
        return None
    match value:
        case Const(value=constant):
            return isinstance(constant, str | bytes)
        case ListVal(kind=kind) if kind in {"list", "tuple"}:
            return True
        case DictVal():
            return name == "Iterable"
    return None


def types_of(value: Value) -> frozenset[str] | None:
    """The types of a value by their dotted paths; None where they are not known."""
    match value:
        case Const(value=constant):
            name = type(constant).__name__
            return frozenset(f"builtins.{each}" for each in NUMBERS.get(name, {name}))
        case ListVal(kind=kind):
            return frozenset({f"builtins.{kind}"})
        case DictVal():
            return frozenset({"builtins.dict"})
        case Func():
            return FUNCTIONS
        case Method():
            return frozenset({"types.MethodType"})
        case Partial():
            return frozenset({"functools.partial"})
        case ClassVal():
            return frozenset({"builtins.type"})
        case External(path=path) if is_layer(path):
            return frozenset({"builtins.type"})
    return None


def is_layer(path: str) -> bool:
    """Whether a path is that of one of torch's layers, so that it is a class for certain."""
    return torch_name(path) in {*LAYERS, *CONTAINERS, "Module"}


def inherits(run: Interpreter, cls: Value, wanted: Value) -> bool | None:
    """Whether a class is, or inherits from, another one."""
    certain = True
    for base in run.objects.bases(cls):
        if same(base, wanted):
            return True
        match base:
            case External(path=path) if is_layer(path):
                if isinstance(wanted, External) and torch_name(wanted.path) == "Module":
                    return True
                # torch's layers inherit from bases of their own, which only torch knows
                certain &= isinstance(wanted, ClassVal) or is_layer_or_plain(wanted)
            case ClassVal() | External(path="builtins.object"):
                continue
            case _:
                certain = False
    return False if certain else None


def is_layer_or_plain(wanted: Value) -> bool:
    return isinstance(wanted, External) and (
        is_layer(wanted.path) or wanted.path.startswith(("builtins.", "functools.", "types."))
    )


def own_name(value: Value) -> str | None:
    """`cls.__name__`"""
    match value:
        case ClassVal(klass=klass):
            return klass.name
        case External(path=path) if is_layer(path):
            return path.rpartition(".")[2]
        case Func(function=function) | Method(func=Func(function=function)):
            return function.name
    return None
