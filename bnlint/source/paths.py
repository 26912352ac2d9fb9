"""The ways through a function: whether each of them that returns makes a certain call."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from bnlint.source import summary as ir
from bnlint.source.statements import parts_of, statements


def passes(body: ir.Block, calls: AbstractSet[ir.Span]) -> bool:
    """Whether every way to a `return`, or to the end, makes one of these calls."""
    return _passes(body, calls) is True


def _passes(body: ir.Block, calls: AbstractSet[ir.Span]) -> bool | None:
    """True where no way comes out without such a call, False where one may; None: it may go on without."""
    for stmt in body:
        found = _step(stmt, calls)
        if found is not None:
            return found
    return None


def _step(stmt: ir.Stmt, calls: AbstractSet[ir.Span]) -> bool | None:
    match stmt:
        case ir.Function() | ir.Class():
            return None
        case ir.Raise():
            return True
        case ir.If(body=body, other=other):
            arms = (_passes(body, calls), _passes(other, calls))
            return False if False in arms else True if None not in arms else None
        case ir.With(body=body):
            return _passes(body, calls)
        case ir.Try(body=body, other=other, final=final):
            return _passes((*body, *other, *final), calls)
        case ir.For(body=body) | ir.While(body=body):
            found = _passes(body, calls)
            return True if found else False if _returns(body) else None
    if any(makes(part, calls) for part in parts_of(stmt)):
        return True
    return False if isinstance(stmt, ir.Return) else None


def _returns(body: ir.Block) -> bool:
    return any(isinstance(stmt, ir.Return) for stmt in statements(body))


def makes(part: object, calls: AbstractSet[ir.Span]) -> bool:
    """Whether an expression certainly makes one of these calls when it is computed."""
    match part:
        case ir.Call(span=span) if span in calls:
            return True
        case ir.Lambda():
            return False
        case ir.Choice(test=test, then=then, other=other):
            return makes(test, calls) or (makes(then, calls) and makes(other, calls))
        case ir.Logic(parts=parts):
            return makes(parts[0], calls)
        case tuple():
            return any(makes(inner, calls) for inner in part)
    return False
