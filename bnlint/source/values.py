"""What the interpreter computes with: values that are known, values that are not, and tensors in flight."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from math import isnan
from typing import Any, NamedTuple, TypeAlias

from bnlint.facts import Kind
from bnlint.finding import Where
from bnlint.source import summary as ir
from bnlint.source.summary import Span

Guard: TypeAlias = tuple[Hashable, bool]
"""An undecided condition and the way it went."""
Guards: TypeAlias = frozenset[Guard]
ALWAYS: Guards = frozenset()

ONE_OF = frozenset({"==", "at"})
"""Conditions `(kind, subject, choice)` of which one holds for each subject: a value, a pick from a list."""

MOST_ALTERNATIVES = 8
"""More ways than this to compute one value are not followed."""


class Place(NamedTuple):
    """A span of a file."""

    filename: str
    span: Span

    def where(self) -> Where:
        """This place as findings name it."""
        span = self.span
        return Where(self.filename, span.row, span.column + 1, span.end_row, span.end_column + 1)


@dataclass(slots=True, eq=False)
class Const:
    """A constant; `place` and `name` tell where its value is written and as what."""

    value: Any
    place: Place | None = None
    name: str = ""


@dataclass(slots=True, eq=False)
class Sym:
    """A value that is not known but has an identity: the same key is the same value.

    `default` is what it is unless somebody says otherwise (a command-line option). `source` is what
    it was drawn from: the loader behind a loop variable. `made` is the operator that computed it, with
    what that was given; `size` is what `sizes` has found out about it.
    """

    key: Hashable
    name: str = ""
    default: Const | None = None
    source: Value | None = None
    made: tuple[str, Value, Value] | None = None
    size: Any = None


@dataclass(slots=True, eq=False)
class Module:
    """A file of the project, run once; `key` is its scope. `stars` are the modules it imports `*` from."""

    name: str
    filename: str
    key: int
    package: bool
    summary: ir.Summary
    stars: list[Value] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Func:
    """A function with the scopes around it, innermost first; `owner` is the class that defines it."""

    function: ir.Function
    module: Module
    scopes: tuple[int, ...]
    owner: ClassVal | None = None


@dataclass(slots=True, eq=False)
class ClassVal:
    """A class of the project; `key` is the scope of its body."""

    klass: ir.Class
    module: Module
    scopes: tuple[int, ...]
    key: int
    bases: tuple[Value, ...] = ()


@dataclass(slots=True, eq=False)
class External:
    """Something outside the project, by its dotted path."""

    path: str


class ArgVal(NamedTuple):
    name: str | None
    value: Value
    place: Place


@dataclass(slots=True, eq=False)
class Args:
    """Evaluated arguments. `open` says that there may be more (`*unknown`, `**unknown`).

    `entry` marks a call that nobody wrote: parameters have their defaults, `*args` and `**kwargs` may
    hold anything. `optional` says that defaults may be replaced.
    """

    items: tuple[ArgVal, ...] = ()
    open: bool = False
    entry: bool = False
    optional: bool = False

    def positional(self) -> list[ArgVal]:
        return [a for a in self.items if a.name is None]

    def get(self, index: int | None, *names: str) -> ArgVal | None:
        """The argument at a position or with one of these names."""
        at = 0
        for arg in self.items:
            if arg.name is None:
                if at == index:
                    return arg
                at += 1
            elif arg.name in names:
                return arg
        return None

    def value(self, index: int | None, *names: str) -> Value | None:
        found = self.get(index, *names)
        return None if found is None else found.value


@dataclass(slots=True, eq=False)
class Obj:
    """An instance; `cls` is what was called to make it. Attributes live in the state, under `key`.

    `attr` is the attribute that first held it, and `held` the assignment that wrote this.
    """

    key: Hashable
    cls: ClassVal | External
    args: Args
    place: Place
    name: str = ""
    ready: bool = False
    assumed: bool = False
    attr: str = ""
    held: Place | None = None


@dataclass(slots=True, eq=False)
class ListVal:
    """A list, tuple or set; its items live in the state, under `key`."""

    key: int
    kind: str = "list"
    place: Place | None = None


@dataclass(slots=True, eq=False)
class DictVal:
    """A dict; its entries live in the state, under `key`."""

    key: int
    place: Place | None = None


class Held(NamedTuple):
    """An item of a list, and the conditions under which it is there.

    `gap` says that a loop put it there of which not every turn was taken: there are more beside it.
    """

    guards: Guards
    value: Value
    place: Place
    gap: bool = False


class Items(NamedTuple):
    """The contents of a list; `open` says that there may be more."""

    held: tuple[Held, ...] = ()
    open: bool = False

    @property
    def whole(self) -> bool:
        """Whether this is all that there is, as many and in this order."""
        return not self.open and not any(held.gap for held in self.held)


class Entries(NamedTuple):
    """The contents of a dict; `open` says that there may be more."""

    held: dict[Any, Value]
    open: bool = False


@dataclass(slots=True, eq=False)
class Bound:
    """`base.name` of something that is not the project's own function."""

    base: Value
    name: str


@dataclass(slots=True, eq=False)
class Method:
    """A function of the project, bound to its instance."""

    func: Func
    self: Value


@dataclass(slots=True, eq=False)
class Partial:
    """`functools.partial`"""

    func: Value
    args: Args


@dataclass(slots=True, eq=False)
class Super:
    """`super()`: attributes are looked up behind `owner` in the class of `self`."""

    self: Value
    owner: ClassVal


@dataclass(slots=True, eq=False)
class Thunk:
    """A call whose result nobody has asked for yet."""

    func: Func
    self: Value | None
    args: Args
    place: Place
    result: Value | None = None


@dataclass(slots=True, eq=False)
class Flow:
    """A tensor, and the operation that made it from others; `call` is what that was given, if it is known."""

    kind: Kind
    name: str
    inputs: tuple[Value, ...]
    place: Place
    layer: Obj | None = None
    call: Any = None


@dataclass(slots=True, eq=False)
class Taken:
    """State taken out of a model: `what` is "parameters", "state_dict", "trainable", …

    `form` is "tensors", "list" (of them), "variables" (with their gradients), "array" (made to be sent),
    "share" (a weighted part of it) or "mix" (a sum of `parts`). What is `fresh` is new: writing into it
    changes no model. `time` is when it was taken, as long as its tensors are certainly those of the model;
    0 where they may be copies.
    """

    model: Value
    what: str
    place: Place
    form: str = "tensors"
    parts: tuple[Taken, ...] = ()
    fresh: bool = False
    time: int = 0


@dataclass(slots=True, eq=False)
class Either:
    """One of several values, each under its conditions."""

    alternatives: tuple[tuple[Guards, Value], ...]


Value: TypeAlias = (
    Const
    | Sym
    | Module
    | Func
    | ClassVal
    | External
    | Obj
    | ListVal
    | DictVal
    | Bound
    | Method
    | Partial
    | Super
    | Thunk
    | Flow
    | Taken
    | Either
)


class Truth(NamedTuple):
    """What a condition is, and what is known where it holds and where it does not."""

    value: bool | None
    then: Guards = ALWAYS
    other: Guards = ALWAYS


class Loop(NamedTuple):
    """A loop that is being run: what it goes over, which turn this is, and its word if it goes over words.

    `known` says that it certainly has these turns, `whole` that it has no others. What was made since it
    `began` has a larger key.
    """

    source: Value | None
    place: Place
    turn: int
    words: str
    phase: str = ""
    known: bool = False
    whole: bool = False
    began: int = 0


class Context(NamedTuple):
    """A `with` block or a decorator that is in force."""

    what: str
    place: Place


_numbers = count(1)


def fresh() -> int:
    """A number that no other scope, instance or unknown value has."""
    return next(_numbers)


def unknown(name: str = "") -> Sym:
    """A value of which nothing is known."""
    return Sym(fresh(), name)


def contradicts(one: Guards, other: Guards) -> bool:
    """Whether two sets of conditions can never hold together: a value equals one constant only."""
    if not one or not other:
        return False
    for key, way in one:
        if (key, not way) in other:
            return True
        if way and type(key) is tuple and key[0] in ONE_OF:
            for rival, rival_way in other:
                if rival_way and rival != key and type(rival) is tuple and rival[:2] == key[:2]:
                    return True
    return False


def negated(guards: Guards) -> Guards:
    """The other way, where there was one condition; nothing is known where there were several."""
    if len(guards) != 1:
        return ALWAYS
    ((key, way),) = guards
    return frozenset({(key, not way)})


def same(one: Value, other: Value) -> bool:
    """Whether two values are certainly one."""
    return one is other or identity(one) == identity(other)


def identity(value: Value) -> Hashable:
    """What is equal for two values that are certainly one, and for no others."""
    match value:
        case Const(value=float() as number) if isnan(number):
            return id(value)  # no number equals it
        case Const(value=str() | int() | float() | None as constant):
            return type(constant), constant
        case External(path=key) | Sym(key=key):
            return type(value), key
        case Method(func=func, self=base):
            return id(func), id(base)
        case Bound(base=base, name=name):
            return id(base), name
    return id(value)


def known(value: Value | None) -> Const | None:
    """A constant, or what an option is by default; None for what is neither."""
    return value if isinstance(value, Const) else value.default if isinstance(value, Sym) else None


def alternatives(value: Value) -> Iterator[tuple[Guards, Value]]:
    """The values that this one can be."""
    if isinstance(value, Either):
        yield from value.alternatives
    else:
        yield ALWAYS, value


def either(parts: Iterable[tuple[Guards, Value]]) -> Value:
    """One value for several, the conditions kept.

    Of too many objects some are followed, for each is a way that the program can take; too many other
    values are unknown.
    """
    found: dict[Hashable, tuple[Guards, Value]] = {}
    for guards, value in parts:
        if type(value) is not Either:
            add(found, guards, value)
            continue
        for inner, alternative in value.alternatives:
            if not contradicts(guards, inner):
                add(found, guards | inner, alternative)
    flat = tuple(found.values())
    if len(flat) == 1 and not flat[0][0]:
        return flat[0][1]
    if not flat:
        return unknown()
    if len(flat) > MOST_ALTERNATIVES:
        if not all(isinstance(value, Obj | ClassVal | Func | Method | External) for _, value in flat):
            return unknown()
        flat = flat[:MOST_ALTERNATIVES]
    return Either(flat)


def add(found: dict[Hashable, tuple[Guards, Value]], guards: Guards, value: Value) -> None:
    """Add a value to several; one that is among them is there under what both conditions share."""
    key = identity(value)
    known = found.get(key)
    found[key] = (guards, value) if known is None else (known[0] & guards, known[1])


def under(value: Value, guards: Guards) -> Value:
    """What a value can be where these conditions hold."""
    if type(value) is not Either:
        return value
    left = [(g, v) for g, v in value.alternatives if not contradicts(g, guards)]
    if len(left) == 1:
        return left[0][1]
    if len(left) == len(value.alternatives) or not left:
        return value
    return Either(tuple(left))
