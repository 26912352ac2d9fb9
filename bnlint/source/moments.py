"""Mean and variance of a batch, followed through a function until they normalise it.

A value is known by what it is of the input: the input itself, its mean over the batch, its variance,
what is centred by the one and scaled by the other. Everything else is None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from bnlint.source import summary as ir
from bnlint.source.statements import statements
from bnlint.source.values import ClassVal, Func, Place

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

Kind: TypeAlias = Literal[
    "input",
    "mean",
    "variance",
    "deviation",
    "inverse",  # 1 / deviation
    "centred",
    "square",  # of what is centred
    "input square",
    "mean of square",
    "square of mean",
    "normalised",
]
MOMENTS: Final = frozenset({"mean", "var", "std", "var_mean", "std_mean"})
"""Calls that compute the moments of a tensor."""
SAME: Final = frozenset(
    {
        "float",
        "double",
        "half",
        "to",
        "type",
        "type_as",
        "contiguous",
        "clone",
        "detach",
        "cuda",
        "cpu",
        "abs",
    }
)
"""Methods that move a tensor, elementwise and in its shape."""
SHAPING: Final = frozenset(
    {"view", "reshape", "expand", "expand_as", "unsqueeze", "squeeze", "repeat", "view_as", "reshape_as"}
    | {"permute", "transpose", "clamp", "clamp_min", "clamp_", "clip"}
)
"""Methods that give a moment the shape that it is used in."""
ARITHMETIC: Final = {
    "sub": "-",
    "subtract": "-",
    "div": "/",
    "divide": "/",
    "true_divide": "/",
    "mul": "*",
    "multiply": "*",
    "add": "+",
}
"""Functions and methods that are operators, also in place."""
DEEPEST: Final = 3
FIRST: Final = frozenset({0})


class Moment(NamedTuple):
    """What a value is of the input. `axes` are the names of the axis that counts the samples.

    `place` is where the mean was computed; `of_channels` says that the axes were written, and are not
    all; `guarded` that an eps was added.
    """

    kind: Kind
    axes: frozenset[int] = FIRST
    place: Place | None = None
    of_channels: bool = False
    guarded: bool = False


Known: TypeAlias = Moment | tuple["Moment | None", ...] | None


@dataclass(frozen=True, slots=True)
class Normalised:
    """A batch that a module normalises by its own moments; `functions` are those that do it.

    `stored` says that a moment was kept in an attribute.
    """

    place: Place
    mean: Place
    functions: tuple[ir.Function, ...]
    of_channels: bool
    guarded: bool
    stored: bool


@dataclass(slots=True)
class Scope:
    """A function that is followed: its variables, what it returns, and whether all ways lead on."""

    func: Func
    known: dict[str, Known]
    axes: dict[str, ir.Expr] = field(default_factory=dict)
    returned: list[Known] = field(default_factory=list)
    certain: bool = True


class Moments:
    """Follows the input of a module's forward."""

    def __init__(self, run: Interpreter, cls: ClassVal) -> None:
        self.run = run
        self.cls = cls
        self.scopes: list[Scope] = []
        self.functions: list[ir.Function] = []
        self.stored = False
        self.place = Place("", ir.Span(1, 0, 1, 0))
        self.found: tuple[Place, Moment] | None = None

    def normalised(self, forward: Func) -> Normalised | None:
        """Where a forward normalises its batch, on every path; None if it is not seen to."""
        params = [
            p for p in forward.function.params[1:] if p.kind in {"both", "position"} and p.default is None
        ]
        self.follow(forward, {p.name: Moment("input") for p in params})
        if self.found is None:
            return None
        place, moment = self.found
        return Normalised(
            place,
            mean=moment.place or place,
            functions=tuple(self.functions),
            of_channels=moment.of_channels,
            guarded=moment.guarded,
            stored=self.stored,
        )

    def follow(self, func: Func, known: dict[str, Known]) -> Known:
        """What a function returns for these arguments."""
        running = [scope.func.function for scope in self.scopes]
        if len(running) > DEEPEST or func.function in running:
            return None
        certain = all(scope.certain for scope in self.scopes)
        scope = Scope(func, known, certain=certain)
        self.functions.append(func.function)
        self.scopes.append(scope)
        outer = self.place
        try:
            self.block(func.function.body)
        finally:
            self.scopes.pop()
            self.place = outer
        first, *others = scope.returned or [None]
        return first if all(other == first for other in others) else None

    # statements

    @property
    def scope(self) -> Scope:
        return self.scopes[-1]

    def block(self, body: ir.Block) -> None:
        for stmt in body:
            self.statement(stmt)

    def statement(self, stmt: ir.Stmt) -> None:
        match stmt:
            case ir.Assign(targets=targets, value=value, span=span):
                self.at(span)
                self.bind(targets, value)
            case ir.Declare(target=target, value=value, span=span) if value is not None:
                self.at(span)
                self.bind((target,), value)
            case ir.Update(target=target, op=op, value=value, span=span):
                self.at(span)
                self.assign(target, self.combined(op, self.value(target), self.value(value), value))
            case ir.Do(value=value, span=span):
                self.at(span)
                self.value(value)
            case ir.Return(value=value, span=span):
                self.at(span)
                self.scope.returned.append(None if value is None else self.value(value))
            case ir.If(body=body, other=other):
                self.branch(body, other)
            case ir.With(body=body):
                self.block(body)
            case ir.For() | ir.While() | ir.Try():
                self.lose(stmt)

    def at(self, span: ir.Span) -> None:
        self.place = Place(self.scope.func.module.filename, span)

    def lose(self, stmt: ir.Stmt) -> None:
        """Nothing is known behind a loop or a `try`; one that may return takes certainty with it."""
        self.scope.known.clear()
        self.scope.certain &= not any(isinstance(inner, ir.Return) for inner in statements((stmt,)))

    def branch(self, body: ir.Block, other: ir.Block) -> None:
        """Two ways: what they agree on is known behind them. One that returns takes certainty with it."""
        scope = self.scope
        before, certain, returned = dict(scope.known), scope.certain, len(scope.returned)
        scope.certain = False
        ends: list[dict[str, Known]] = []
        for block in (body, other):
            scope.known = dict(before)
            self.block(block)
            if not any(isinstance(stmt, ir.Raise) for stmt in block):
                ends.append(scope.known)
        scope.known = agreed(ends)
        scope.certain = certain and len(scope.returned) == returned

    def bind(self, targets: tuple[ir.Expr, ...], value: ir.Expr) -> None:
        found = self.value(value)
        for target in targets:
            self.assign(target, found)
            if isinstance(target, ir.Name):
                self.scope.axes[target.id] = value

    def assign(self, target: ir.Expr, value: Known) -> None:
        match target:
            case ir.Name(id=name):
                self.scope.known[name] = value
            case ir.Display(items=items):
                parts = (None,) * len(items) if isinstance(value, Moment) or value is None else value
                for item, part in zip(items, parts, strict=False):
                    self.assign(item, part)
            case ir.Get() | ir.Item() if value is not None:
                self.stored = True

    # expressions

    def value(self, node: ir.Expr) -> Known:
        match node:
            case ir.Name(id=name):
                return self.scope.known.get(name)
            case ir.Get(base=base, attr="data"):
                return self.value(base)
            case ir.Display(items=items):
                return tuple(one(self.value(item)) for item in items)
            case ir.Binary(op=op, left=left, right=right):
                return self.combined(op, self.value(left), self.value(right), right)
            case ir.Item(base=base):
                found = self.value(base)
                return found if isinstance(found, Moment) and found.kind != "input" else None
            case ir.Call():
                return self.call(node)
        return None

    def combined(self, op: str, left: Known, right: Known, other: ir.Expr) -> Known:
        """An arithmetic operation on what is known."""
        one_, two = one(left), one(right)
        if one_ is None and two is None:
            return None
        if op == "**":
            return None if one_ is None else power(one_, other)
        made = arithmetic(op, one_, two)
        if made is not None and made.kind == "normalised":
            self.note(made)
        return made

    def note(self, made: Moment) -> None:
        """The batch is normalised here; only what happens on every path counts."""
        if self.found is None and all(scope.certain for scope in self.scopes):
            self.found = (self.place, made)

    def call(self, node: ir.Call) -> Known:
        match node.func:
            case ir.Get(base=ir.Name(id="torch" | "F" | "th"), attr=name) if node.args:
                return self.operation(name, node.args[0].value, node.args[1:], node)
            case ir.Get(base=ir.Name(id=receiver), attr=name) if self.is_receiver(receiver):
                return self.own(self.run.objects.find(self.cls, name), node, bound=True)
            case ir.Get(base=base, attr=name):
                made = self.operation(name, base, node.args, node)
                if name.endswith("_") and not name.endswith("__"):
                    self.assign(base, made)
                return made
            case ir.Name(id=name):
                module = self.scope.func.module
                return self.own(self.run.root.get((module.key, name)), node, bound=False)
        return None

    def is_receiver(self, name: str) -> bool:
        params = self.scope.func.function.params
        return self.scope.func.owner is not None and bool(params) and params[0].name == name

    def own(self, func: object, node: ir.Call, *, bound: bool) -> Known:
        """A function of the project is followed."""
        if not isinstance(func, Func):
            return None
        params = func.function.params[1:] if bound else func.function.params
        known: dict[str, Known] = {}
        for param, arg in zip(params, [a for a in node.args if a.name is None], strict=False):
            known[param.name] = self.value(arg.value)
        known |= {a.name: self.value(a.value) for a in node.args if a.name is not None}
        return self.follow(func, known) if any(known.values()) else None

    def operation(self, name: str, base: ir.Expr, args: tuple[ir.Arg, ...], node: ir.Call) -> Known:
        """A function of torch, or a method of a tensor."""
        value = one(self.value(base))
        plain = name.removesuffix("_")
        if plain in ARITHMETIC and args:
            right = args[0].value
            return self.combined(ARITHMETIC[plain], value, self.value(right), right)
        if value is None:
            return None
        if plain in {"pow", "float_power"} and args:
            return power(value, args[0].value)
        if name in MOMENTS:
            return self.moment(name, value, args, Place(self.scope.func.module.filename, node.span))
        if plain in ROOTS:
            return ROOTS[plain](value)
        if name in SAME or (name in SHAPING and value.kind != "input"):
            return value
        return moved(name, value, args) if value.kind == "input" else None

    def moment(self, name: str, value: Moment, args: tuple[ir.Arg, ...], place: Place) -> Known:
        """A mean, a variance or both, over axes that count the samples; None over others."""
        written = self.written_axes(args)
        if written is not None and not written & value.axes:
            return None
        if written is None and (
            args and not all(a.name in {"unbiased", "correction", "keepdim"} for a in args)
        ):
            return None
        made = Moment("mean", place=place, of_channels=written is not None)
        centre, spread = replace_kind(made, "mean"), replace_kind(made, "variance")
        match name, value.kind:
            case "mean", "input":
                return centre
            case "mean", "square":
                return spread
            case "mean", "input square":
                return replace_kind(made, "mean of square")
            case "var", "input" | "centred":
                return spread
            case "std", "input" | "centred":
                return replace_kind(made, "deviation")
            case "var_mean", "input":
                return (spread, centre)
            case "std_mean", "input":
                return (replace_kind(made, "deviation"), centre)
        return None

    def written_axes(self, args: tuple[ir.Arg, ...]) -> frozenset[int] | None:
        """The axes that a call names; None where it names none that are known."""
        given = [a.value for a in args if a.name in {"dim", "axis", "axes"}]
        positional = [a.value for a in args if a.name is None]
        if not given and len(positional) > 1 and all(is_number(p) for p in positional):
            given = [ir.Display("tuple", tuple(positional), (), ir.Span(1, 0, 1, 0))]
        elif not given:
            given = positional[:1]
        node = given[0] if given else None
        if isinstance(node, ir.Name):
            node = self.scope.axes.get(node.id, node)
        match node:
            case ir.Lit(value=int() as axis) if not isinstance(axis, bool):
                return frozenset({axis})
            case ir.Display(items=items) if items and all(is_number(item) for item in items):
                return frozenset(item.value for item in items if isinstance(item, ir.Lit))
        return None


def one(value: Known) -> Moment | None:
    return value if isinstance(value, Moment) else None


def replace_kind(moment: Moment, kind: Kind) -> Moment:
    return moment._replace(kind=kind)


def agreed(ends: list[dict[str, Known]]) -> dict[str, Known]:
    """What all ways leave behind under the same name, as far as it is the same."""
    if not ends:
        return {}
    first, *others = ends
    return {name: value for name, value in first.items() if all(alike(value, o.get(name)) for o in others)}


def alike(left: Known, right: Known) -> bool:
    """Whether two values are the same moment, wherever each was computed."""
    if isinstance(left, Moment) and isinstance(right, Moment):
        return left.kind == right.kind and left.axes == right.axes
    return left == right


def arithmetic(op: str, left: Moment | None, right: Moment | None) -> Moment | None:
    """What comes of two values, one of which may be something else."""
    kinds = (left and left.kind, op, right and right.kind)
    match kinds:
        case "input", "-", "mean":
            return merged(left, right, "centred")
        case ("centred", "/", "deviation") | ("centred", "*", "inverse") | ("inverse", "*", "centred"):
            return merged(left, right, "normalised")
        case "centred", "*", "centred":
            return merged(left, right, "square")
        case "input", "*", "input":
            return merged(left, right, "input square")
        case "mean", "*", "mean":
            return merged(left, right, "square of mean")
        case "mean of square", "-", "square of mean":
            return merged(left, right, "variance")
        case (None, "/", "deviation") | (None, "*", "inverse") if right is not None:
            return replace_kind(right, "inverse")  # with a scale, or without
        case ("centred" | "inverse", "*", None):
            return left
        case None, "*", "centred":
            return right
        case ("variance" | "deviation", "+", None) if left is not None:
            return left._replace(guarded=True)
        case (None, "+", "variance" | "deviation") if right is not None:
            return right._replace(guarded=True)
    return None


def merged(left: Moment | None, right: Moment | None, kind: Kind) -> Moment:
    """One value made of two: what was learnt of either holds."""
    parts = [part for part in (left, right) if part is not None]
    place = next((part.place for part in parts if part.place is not None), None)
    return Moment(
        kind,
        parts[0].axes,
        place,
        any(part.of_channels for part in parts),
        any(part.guarded for part in parts),
    )


def power(value: Moment, exponent: ir.Expr) -> Moment | None:
    """`x ** 2`, `var ** 0.5`, `var ** -0.5`"""
    raised: dict[tuple[str, float], Kind] = {
        ("centred", 2): "square",
        ("input", 2): "input square",
        ("mean", 2): "square of mean",
        ("variance", 0.5): "deviation",
        ("variance", -0.5): "inverse",
        ("deviation", -1): "inverse",
    }
    match exponent:
        case ir.Lit(value=int() | float() as number):
            kind = raised.get((value.kind, number))
            return None if kind is None else replace_kind(value, kind)
    return None


def _root(before: Kind, after: Kind) -> Callable[[Moment], Moment | None]:
    return lambda value: replace_kind(value, after) if value.kind == before else None


def _square(value: Moment) -> Moment | None:
    return power(value, ir.Lit(2))


ROOTS: Final[dict[str, Callable[[Moment], Moment | None]]] = {
    "sqrt": _root("variance", "deviation"),
    "rsqrt": _root("variance", "inverse"),
    "reciprocal": _root("deviation", "inverse"),
    "square": _square,
}


def moved(name: str, value: Moment, args: tuple[ir.Arg, ...]) -> Moment | None:
    """The input in another shape, if it is known which axis counts the samples then."""
    given = [a.value for a in args]
    if len(given) == 1 and isinstance(given[0], ir.Display):
        given = list(given[0].items)
    numbers = [item.value if isinstance(item, ir.Lit) else None for item in given]
    match name, numbers:
        case "permute", _ if value.axes == FIRST and 0 in numbers:
            return value._replace(axes=frozenset({numbers.index(0)}))
        case "transpose", [0, int() as other] | [int() as other, 0] if value.axes == FIRST:
            return value._replace(axes=frozenset({other}))
        case (("view" | "reshape"), [None, -1]) if value.axes == frozenset({1}):
            return value._replace(axes=frozenset({1, -1}))
        case (("view" | "reshape"), [-1, *_]) if value.axes == FIRST:
            return value
        case "flatten", [] | [0, *_] if value.axes == FIRST:
            return value
        case "flatten", [1] if value.axes == frozenset({1}):
            return value._replace(axes=frozenset({1, -1}))
    return None


def is_number(node: ir.Expr) -> bool:
    return isinstance(node, ir.Lit) and type(node.value) is int
