"""Operators and conditions, on values that may be unknown."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from bnlint.facts import Kind
from bnlint.source import summary as ir
from bnlint.source.averages import combined
from bnlint.source.classes import is_layer
from bnlint.source.devices import DIVIDING
from bnlint.source.layers import CONTINUING
from bnlint.source.values import (
    ClassVal,
    Const,
    DictVal,
    Either,
    External,
    Flow,
    Func,
    Items,
    ListVal,
    Obj,
    Partial,
    Place,
    Sym,
    Taken,
    Truth,
    Value,
    alternatives,
    either,
    fresh,
    same,
    unknown,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

MOST_COPIES: Final = 3
"""`[block] * n` repeats its items this often at most: more shows nothing new."""
LONGEST: Final = 4096
"""Longer strings and ranges are not computed."""
ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
ORDER: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Operators:
    """Operators on values: what is computed, and what is known where a condition holds."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run

    def binary(self, op: str, left: Value, right: Value, place: Place | None) -> Value:
        left, right = self.run.force(left), self.run.force(right)
        made = self.combine(op, left, right, place)
        if op in DIVIDING and type(made) is Sym:
            self.run.devices.divided(made, left, right)
        return made

    def combine(self, op: str, left: Value, right: Value, place: Place | None) -> Value:
        if isinstance(left, Flow) or isinstance(right, Flow) or self.is_tensor(left) or self.is_tensor(right):
            return self.tensor_operator(op, left, right, place)
        if has_taken(left) or has_taken(right):
            return self.spread(op, left, right, place)
        if isinstance(left, Taken) or isinstance(right, Taken):
            return combined(op, left, right) or unknown()
        match left, right:
            case Const(value=a), Const(value=b):
                return self.compute(op, left, a, b)
            case Const(value=a), Sym(default=Const(value=b)):
                default = self.constant(op, right.default, a, b)
                return Sym((op, a, right.key), right.name, default, made=(op, left, right))
            case Sym(default=Const(value=a)), Const(value=b):
                default = self.constant(op, left.default, a, b)
                return Sym((left.key, op, b), left.name, default, made=(op, left, right))
            case Sym(default=Const(value=a)), Sym():
                key = (left.key, op, right.key)
                return Sym(key, left.name, source=left.source, made=(op, left, right))
            case Sym(), Const(value=int() | str() as b):
                return Sym((left.key, op, b), left.name, source=left.source, made=(op, left, right))
            case Const(value=int() | str() as a), Sym():
                return Sym((op, a, right.key), right.name, source=right.source, made=(op, left, right))
            case (ListVal(), ListVal()) if op == "+":
                return self.concatenate(left, right)
            case (ListVal(), _) | (_, ListVal()) if op == "*":
                return self.repeat(left, right)
            case (Either(), _) | (_, Either()):
                return self.spread(op, left, right, place)
            case (ListVal(), _) if op == "+":
                items = self.run.containers.items(left) or Items()
                return self.run.new_list("list", items.held, left.place, open=True)
        source = left.source if isinstance(left, Sym) else right.source if isinstance(right, Sym) else None
        return Sym(fresh(), source=source, made=(op, left, right))

    def is_tensor(self, value: Value) -> bool:
        return isinstance(value, Either) and any(isinstance(v, Flow) for _, v in value.alternatives)

    def tensor_operator(self, op: str, left: Value, right: Value, place: Place | None) -> Value:
        kind: Kind = "add" if op in "+-" else "linear" if op == "@" else "multiply"
        inputs = tuple(v for v in (left, right) if isinstance(v, Flow) or self.is_tensor(v))
        first = inputs[0]
        where = place or (first.place if isinstance(first, Flow) else Place("", ir.Span(1, 0, 1, 0)))
        made = Flow(kind, op, inputs, where, call=(left, right))
        if kind in CONTINUING:
            self.run.events.continues(made)
        return made

    def spread(self, op: str, left: Value, right: Value, place: Place | None) -> Value:
        """An operator on values that depend on conditions."""
        parts = [
            (g | h, self.binary(op, a, b, place))
            for g, a in alternatives(left)
            for h, b in alternatives(right)
        ]
        return either(parts)

    def compute(self, op: str, origin: Const, a: Any, b: Any) -> Value:
        found = self.constant(op, origin, a, b)
        return found if found is not None else unknown()

    def constant(self, op: str, origin: Const | None, a: Any, b: Any) -> Const | None:
        """The result of an operator on constants; None where it has none."""
        if isinstance(a, str) and op == "%":
            return None
        try:
            if op == "**":
                value = a**b if abs(b) <= 64 and abs(a) <= LONGEST else None
            else:
                value = ARITHMETIC[op](a, b)
        except (KeyError, TypeError, ArithmeticError, ValueError):
            return None
        if value is None or (isinstance(value, str | bytes | tuple) and len(value) > LONGEST):
            return None
        return Const(value, origin.place if origin else None, origin.name if origin else "")

    def concatenate(self, left: ListVal, right: ListVal) -> Value:
        a, b = (
            self.run.containers.items(left) or Items((), open=True),
            self.run.containers.items(right) or Items((), open=True),
        )
        return self.run.new_list(left.kind, a.held + b.held, left.place, open=a.open or b.open)

    def repeat(self, left: Value, right: Value) -> Value:
        """`[block] * n`: the very same objects, several times."""
        listed, number = (left, right) if isinstance(left, ListVal) else (right, left)
        items = self.run.containers.items(listed) or Items((), open=True)
        place = listed.place if isinstance(listed, ListVal) else None
        if isinstance(number, Const) and isinstance(number.value, int):
            times = max(0, min(number.value, MOST_COPIES))
            return self.run.new_list("list", items.held * times, place, open=items.open)
        self.run.events.multiplied(items, number)
        return self.run.new_list("list", items.held * 2, place, open=True)

    def unary(self, op: str, value: Value) -> Value:
        value = self.run.force(value)
        match value:
            case Const(value=int() | float() as number) if op == "-":
                return Const(-number, value.place, value.name)
            case Flow():
                return value
        return unknown()

    def compare(self, op: str, left: Value, right: Value) -> Truth:
        left, right = self.run.force(left), self.run.force(right)
        if isinstance(left, Either) or isinstance(right, Either):
            parts = [
                (g | h, self.compare(op, a, b)) for g, a in alternatives(left) for h, b in alternatives(right)
            ]
            return self.run.truth_either(parts[:12]) if len(parts) <= 12 else Truth(None)
        if op in {"is", "is not", "==", "!="}:
            return self.compare_identity(op, left, right)
        match left, right:
            case Const(value=a), Const(value=b) if op in ORDER:
                try:
                    return Truth(bool(ORDER[op](a, b)))
                except TypeError:
                    return Truth(None)
        if op in {"in", "not in"}:
            return self.contains(left, right, wanted=op == "in")
        return self.ask((op, self.key(left), self.key(right)))

    def key(self, value: Value) -> object:
        match value:
            case Sym(key=key):
                return key
            case Const(value=constant):
                return constant if isinstance(constant, str | int | float | bool | None) else fresh()
        return fresh()

    def ask(self, key: Any, *, way: bool = True) -> Truth:
        """A condition that is not known but is itself wherever it is asked again."""
        yes, no = frozenset({(key, True)}), frozenset({(key, False)})
        return Truth(None, yes, no) if way else Truth(None, no, yes)

    def compare_identity(self, op: str, left: Value, right: Value) -> Truth:
        positive = op in {"is", "=="}
        match left, right:
            case Const(value=a), Const(value=b):
                return Truth((a == b) is positive)
            case (Sym() as sym, Const() as const) | (Const() as const, Sym() as sym):
                if isinstance(const.value, str | int | float | bool | None):
                    return self.ask(("==", sym.key, const.value), way=positive)
                return Truth(None)
            case (
                Obj()
                | Func()
                | ClassVal()
                | External()
                | ListVal()
                | DictVal()
                | Flow()
                | Partial()
                | Taken(),
                Const(),
            ):
                if isinstance(right, Const) and right.value is None:
                    return Truth(not positive)
                return Truth(None)
            case (External(), External()) | (ClassVal(), ClassVal()) | (Func(), Func()):
                return Truth(same(left, right) is positive)
            case (ClassVal(), External(path=path)) | (External(path=path), ClassVal()) if is_layer(path):
                return Truth(not positive)
        if same(left, right):
            return Truth(positive)
        return Truth(None)

    def contains(self, left: Value, right: Value, *, wanted: bool) -> Truth:
        match left, right:
            case Const(value=str() as a), Const(value=str() as b):
                return Truth((a in b) is wanted)
            case Const(value=value), DictVal():
                entries = self.run.entries(right)
                if value in entries.held:
                    return Truth(wanted)
                return Truth(None) if entries.open else Truth(not wanted)
            case ClassVal() | Func() | External(), ListVal():
                found = self.holds(right, left)
                if found is not None:
                    return Truth(found is wanted)
            case Const(value=value), ListVal():
                items = self.run.containers.items(right)
                known = [h.value.value for h in items.held if isinstance(h.value, Const)] if items else []
                if value in known:
                    return Truth(wanted)
                if items and items.whole and len(known) == len(items.held):
                    return Truth(not wanted)
        return self.ask(("in", self.key(left), self.key(right)), way=wanted)

    def holds(self, listed: ListVal, value: Value) -> bool | None:
        """Whether a class or a function is in a list."""
        items = self.run.containers.items(listed)
        held = [] if items is None else [self.run.force(h.value) for h in items.held]
        if any(same(each, value) for each in held):
            return True
        known = all(isinstance(each, ClassVal | Func | External | Const) for each in held)
        return False if items is not None and items.whole and known else None

    def truth_of_contents(self, value: ListVal | DictVal) -> Truth:
        if isinstance(value, DictVal):
            entries = self.run.entries(value)
            return Truth(True) if entries.held else Truth(None if entries.open else False)
        items = self.run.containers.items(value)
        if items is None:
            return Truth(None)
        if any(not h.guards for h in items.held):
            return Truth(True)
        return Truth(None if items.open or items.held else False)


def has_taken(value: Value) -> bool:
    """Whether a value is the state of one of several models."""
    return isinstance(value, Either) and any(isinstance(v, Taken) for _, v in value.alternatives)
