"""Whether a program takes care of a batch of one sample: it skips it, drops it, or lets it fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bnlint.facts import Answer3
from bnlint.source import events
from bnlint.source import summary as ir
from bnlint.source.interpret import spell
from bnlint.source.statements import calls_at, expressions
from bnlint.source.summary import Block
from bnlint.source.values import ClassVal, Obj, Place

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

FEW: Final = frozenset({0, 1, 2})
"""What a number of samples is compared with by whoever asks whether it is enough."""
BATCH: Final = re.compile(r"batch|(^|[._])(bs|bsz|n|b|size|num_?samples)(?![a-z])", re.IGNORECASE)
OTHER: Final = re.compile(
    r"gpu|device|argv|sys|arg|path|file|loader|loss|epoch|dir|name|layer|rank|world|worker|step|iter|list|dims?$",
    re.IGNORECASE,
)
"""What is counted and is no number of samples."""


class Remainders:
    """Looks for what a program does about short batches where it trains and where it builds the loader."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run

    def answer(self, event: events.Forward, loader: Obj) -> Answer3:
        """Whether a single sample is taken care of: "no" where nothing looks like it."""
        bodies = [*self.on_the_way(event), *self.around(loader.place), *self.own(event.model)]
        if any(self.asks(body) for body in bodies):
            return "unknown"
        tried = any(is_tried(body, event.place) for body in self.on_the_way(event))
        return "unknown" if tried else "no"

    def around_loader(self, loader: Obj) -> Answer3:
        """The same, where nothing is known but who builds the loader."""
        return "unknown" if any(self.asks(body) for body in self.around(loader.place)) else "no"

    def on_the_way(self, event: events.Forward) -> Iterator[Block]:
        """The functions that lead to a forward; without any, the body of its file."""
        for call in event.calls:
            if call.definition is not None:
                yield call.definition.body
        if not event.calls:
            yield self.top(event.place.filename)

    def top(self, filename: str) -> Block:
        module = self.run.project.modules.get(filename)
        body = () if module is None else module.summary.body
        return tuple(stmt for stmt in body if not isinstance(stmt, ir.Function | ir.Class))

    def around(self, place: Place) -> Iterator[Block]:
        """The function that a place is written in, or the body of its file."""
        module = self.run.project.modules.get(place.filename)
        found = None if module is None else innermost(module.summary.body, place)
        yield self.top(place.filename) if found is None else found.body

    def own(self, model: object) -> Iterator[Block]:
        """The methods of a model."""
        if isinstance(model, Obj) and isinstance(model.cls, ClassVal):
            for base in self.run.objects.bases(model.cls):
                if isinstance(base, ClassVal):
                    yield from (method.body for method in base.klass.methods)

    def asks(self, body: Block) -> bool:
        """Whether something compares a number of samples, or computes what is left of them."""
        for part in expressions(body):
            match part:
                case ir.Compare(left=left, right=right) if is_asked(left, right) or is_asked(right, left):
                    return True
                case ir.Binary(op="%", left=left) if counts(left):
                    return True
        return False


def is_asked(one: ir.Expr, other: ir.Expr) -> bool:
    """Whether a number of samples meets a small number or the size of a batch."""
    if not counts(one):
        return False
    if isinstance(other, ir.Lit):
        return other.value in FEW if isinstance(other.value, int) else False
    return bool(BATCH.search(spell(other)))


def counts(node: ir.Expr) -> bool:
    """`len(x)`, `x.size(0)`, `x.shape[0]`, `x.size()[0]`, `batch_size`: a number of samples."""
    match node:
        case ir.Call(func=ir.Name(id="len"), args=(first, *_)):
            return not OTHER.search(spell(first.value))
        case ir.Call(func=ir.Get(attr="size"), args=(ir.Arg(value=ir.Lit(value=0)),)):
            return True
        case ir.Item(base=ir.Get(attr="shape") | ir.Call(func=ir.Get(attr="size")), key=ir.Lit(value=0)):
            return True
        case ir.Name(id=name) | ir.Get(attr=name):
            return bool(BATCH.search(name)) and not OTHER.search(name)
    return False


def innermost(body: Block, place: Place) -> ir.Function | None:
    """The function that makes the call at a place."""
    found = (function for function in functions_in(body) if calls_at(function.body, place))
    return next(found, None)


def functions_in(body: Block) -> Iterator[ir.Function]:
    """The functions of a block and the methods of its classes."""
    for stmt in body:
        match stmt:
            case ir.Function():
                yield stmt
                yield from functions_in(stmt.body)
            case ir.Class(body=inner) | ir.If(body=inner):
                yield from functions_in(inner)


def is_tried(body: Block, place: Place) -> bool:
    """Whether the call at a place may fail without any harm."""
    for stmt in body:
        match stmt:
            case ir.Try(body=inner, handlers=handlers):
                if (handlers and calls_at(inner, place)) or is_tried(inner, place):
                    return True
            case ir.For(body=inner) | ir.While(body=inner) | ir.With(body=inner):
                if is_tried(inner, place):
                    return True
            case ir.If(body=inner, other=other):
                if is_tried(inner, place) or is_tried(other, place):
                    return True
    return False
