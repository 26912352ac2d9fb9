"""Walks over what a function says, statement by statement and expression by expression."""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.source import summary as ir
from bnlint.source.values import Place


def conditioned(
    body: ir.Block, tests: tuple[ir.Expr, ...] = ()
) -> Iterator[tuple[ir.Stmt, tuple[ir.Expr, ...]]]:
    """Every statement of a body, with the conditions around it; nested functions are their own."""
    for stmt in body:
        yield stmt, tests
        match stmt:
            case ir.If(test=test, body=inner, other=other):
                yield from conditioned(inner, (*tests, test))
                yield from conditioned(other, (*tests, test))
            case ir.For(body=inner, other=other) | ir.While(body=inner, other=other):
                yield from conditioned(inner, tests)
                yield from conditioned(other, tests)
            case ir.With(body=inner):
                yield from conditioned(inner, tests)
            case ir.Try(body=inner, handlers=handlers, other=other, final=final):
                for block in (inner, *handlers, other, final):
                    yield from conditioned(block, tests)


def statements(body: ir.Block) -> Iterator[ir.Stmt]:
    """Every statement of a body; nested functions and classes are their own."""
    for stmt, _ in conditioned(body):
        yield stmt


def expressions(body: ir.Block) -> Iterator[tuple[object, ...]]:
    """Every expression in a body."""
    return within(*(part for stmt in statements(body) for part in parts_of(stmt)))


def within(*parts: object) -> Iterator[tuple[object, ...]]:
    """Every expression in some expressions, themselves among them."""
    pending = list(parts)
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


def calls_at(body: ir.Block, place: Place) -> bool:
    """Whether the call at a place is one of these statements, or in one."""
    return any(call.span == place.span for call in calls_in(body))


def names_in(body: ir.Block) -> Iterator[str]:
    for part in expressions(body):
        if isinstance(part, ir.Name):
            yield part.id
