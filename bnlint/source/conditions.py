"""Under which conditions a call is written, decided or not: read off the text, not off a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from bnlint.source import summary as ir
from bnlint.source.link import Project
from bnlint.source.summary import Span
from bnlint.source.values import Place

Condition: TypeAlias = tuple[object, bool]
"""A test without its positions, and the way it has to go."""

NORMS = frozenset({"norm", "some norm"})
"""What a function or a class must be about that can apply BatchNorm."""
NEGATIONS = {"!=": "==", "is not": "is", "not in": "in"}


LEAVES = frozenset({Span, ir.Name, ir.Lit, ir.Import, str, int, float, bool, type(None)})
"""What holds no call."""


class Written(NamedTuple):
    """The innermost function around a call, and the conditions there that the call stands under.

    `usual` holds what is so by the defaults of the function's parameters.
    """

    function: int
    conditions: frozenset[Condition]
    usual: frozenset[Condition] = frozenset()


class Conditions:
    """Answers for the calls of a project; a file is indexed when somebody first asks about it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.files: dict[str, dict[Span, Written]] = {}

    def of(self, place: Place) -> Written | None:
        if place.filename not in self.files:
            module = self.project.modules.get(place.filename)
            index: dict[Span, Written] = {}
            if module is not None:
                record(module.summary.body, Written(0, frozenset()), index)
            self.files[place.filename] = index
        return self.files[place.filename].get(place.span)

    def follows(self, later: Place, earlier: Place, *, across: bool) -> bool:
        """Whether `later` is written wherever `earlier` is; `across` says what holds for two functions."""
        one, other = self.of(later), self.of(earlier)
        if one is None or other is None or one.function != other.function:
            return across and (one is None or not one.conditions)
        return one.conditions <= other.conditions | one.usual


def record(body: ir.Block, here: Written, index: dict[Span, Written]) -> None:
    """Note the conditions of every call in a block."""
    for stmt in body:
        match stmt:
            case ir.If(test=test, body=then, other=other):
                note(test, here, index)
                record(then, under(here, test, True), index)
                record(other, under(here, test, False), index)
                if leaves(then) and not other:
                    here = under(here, test, False)
            case ir.Function(words=words) | ir.Class(words=words) if not words & NORMS:
                continue
            case ir.Function(body=inner):
                record(inner, Written(id(stmt), frozenset(), usual(stmt)), index)
            case ir.Class(body=inner):
                record(inner, here, index)
            case _:
                for part in stmt:
                    note(part, here, index)


def note(part: object, here: Written, index: dict[Span, Written]) -> None:
    """Note the conditions of every call in an expression, or in the blocks of a compound statement."""
    if type(part) in LEAVES:
        return
    match part:
        case ir.Choice(test=test, then=then, other=other):
            note(test, here, index)
            note(then, under(here, test, True), index)
            note(other, under(here, test, False), index)
        case ir.If() | ir.Function() | ir.Class():
            record((part,), here, index)
        case ir.Lambda(function=function):
            record(function.body, Written(id(function), frozenset()), index)
        case ir.Call(span=span) | ir.Arg(span=span):
            index[span] = here
            for inner in part:
                note(inner, here, index)
        case ir.Display(items=items, spans=spans):
            index.update(dict.fromkeys(spans, here))
            for inner in items:
                note(inner, here, index)
        case tuple() if is_block(part):
            record(part, here, index)
        case tuple():
            for inner in part:
                note(inner, here, index)


def is_block(part: tuple[object, ...]) -> bool:
    """Whether a tuple is a block: only there do the statements before matter."""
    return any(isinstance(stmt, ir.If) for stmt in part) and not hasattr(part, "_fields")


def under(here: Written, test: ir.Expr, way: bool) -> Written:
    return here._replace(conditions=here.conditions.union(conditions(test, way)))


def usual(function: ir.Function) -> frozenset[Condition]:
    """What the tests of a function's parameters say where nobody gives them a value."""
    return frozenset(
        (shape(ir.Name(param.name)), bool(param.default.value))
        for param in function.params
        if isinstance(param.default, ir.Lit)
    )


def conditions(test: ir.Expr, way: bool) -> Iterator[Condition]:
    """What holds where a test went one way."""
    match test:
        case ir.Unary(op="not", operand=inner):
            yield from conditions(inner, not way)
        case ir.Logic(op=op, parts=parts) if (op == "and") is way:
            for part in parts:
                yield from conditions(part, way)
        case ir.Compare(op=op, left=left, right=right) if op in NEGATIONS:
            yield from conditions(ir.Compare(NEGATIONS[op], left, right), not way)
        case _:
            yield shape(test), way


def shape(part: object) -> object:
    """An expression without its positions."""
    if isinstance(part, Span):
        return None
    if isinstance(part, tuple):
        return (type(part).__name__, *map(shape, part))
    return part


def leaves(body: Iterable[ir.Stmt]) -> bool:
    """Whether nothing behind a block runs after it."""
    return any(isinstance(stmt, ir.Return | ir.Raise | ir.Continue | ir.Break) for stmt in body)
