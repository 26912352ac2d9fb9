"""What the body of a function calls and defines, found without summarising it: few bodies are ever run.

It goes where `extract.Lowering` goes and nowhere else, level by level, so that no depth is too deep.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any, Final, TypeAlias

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

CALLERS: Final = frozenset({"spawn", "Thread", "Process", "memory_usage", "timeit"})
"""What calls a function that it is given."""

DEEPEST: Final = 150
"""Levels of a body from which on it may be too deep to be summarised."""


class Skim:
    """What is written in a block, except inside the functions that it defines."""

    __slots__ = ("calls", "depth", "functions", "writes", "yields")

    def __init__(self, body: Iterable[ast.stmt]) -> None:
        self.calls: set[str] = set()
        self.functions: list[Definition] = []
        self.yields = False
        self.writes = False
        self.depth = 0
        self.look(list(body))

    def look(self, level: list[ast.AST]) -> None:
        """Look at some nodes and at everything below."""
        special, one, several = SPECIAL, ONE, SEVERAL
        while level:
            self.depth += 1
            below: list[Any] = []
            for node in level:
                kind = type(node)
                if kind is ast.Name or kind is ast.Constant:
                    continue
                if kind in one:
                    below.append(one[kind](node))
                elif kind in several:
                    for part in several[kind](node):
                        if type(part) is list:
                            below += part
                        else:
                            below.append(part)
                elif kind in special:
                    below.extend(special[kind](self, node))
            level = below

    def call(self, node: ast.Call) -> Iterator[ast.AST]:
        func = node.func
        while type(func) is ast.Await:
            func = func.value
        named = func.value if type(func) is ast.Subscript else func
        last = ""
        if type(named) is ast.Attribute:
            last = named.attr
        elif type(named) is ast.Name:
            last = named.id
        if last:
            self.calls.add(last)
        if last in CALLERS:
            given = (*node.args, *(keyword.value for keyword in node.keywords))
            self.calls.update(arg.id for arg in given if isinstance(arg, ast.Name))
        if func is not named or not last:
            yield func
        elif type(named) is ast.Attribute:
            yield named.value
        yield from node.args
        for keyword in node.keywords:
            yield keyword.value

    def define(self, node: Definition) -> Iterable[ast.AST]:
        self.functions.append(node)
        return ()

    def give(self, node: ast.Yield | ast.YieldFrom) -> Iterable[ast.AST | None]:
        self.yields = True
        return (node.value,)

    def assign(self, node: ast.Assign) -> Iterable[ast.AST]:
        self.writes |= any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets)
        return (*node.targets, node.value)

    def declare(self, node: ast.AnnAssign) -> Iterable[ast.AST | None]:
        annotation = node.annotation if isinstance(node.annotation, ast.Attribute) else None
        return (node.target, annotation, node.value)

    def enter(self, node: ast.With | ast.AsyncWith) -> Iterator[ast.AST | None]:
        for item in node.items:
            yield item.context_expr
            yield item.optional_vars
        yield from node.body

    def attempt(self, node: Any) -> Iterator[ast.AST]:
        yield from node.body
        for handler in node.handlers:
            yield from handler.body
        yield from node.orelse
        yield from node.finalbody

    def match(self, node: ast.Match) -> Iterator[ast.AST]:
        yield node.subject
        for case in node.cases:
            if isinstance(case.pattern, ast.MatchValue) and case.guard is None:
                yield case.pattern.value
            yield from case.body

    def lambda_(self, node: ast.Lambda) -> Iterator[ast.AST | None]:
        yield from node.args.defaults
        yield from node.args.kw_defaults
        yield node.body

    def comprehension(self, node: Any) -> Iterator[ast.AST]:
        for loop in node.generators:
            yield loop.target
            yield loop.iter
            yield from loop.ifs
        if isinstance(node, ast.DictComp):
            yield node.key
            yield node.value
        else:
            yield node.elt

    def formatted(self, node: ast.JoinedStr) -> Iterator[ast.AST]:
        for part in node.values:
            if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Call):
                yield part.value


ONE: Final[dict[type, Callable[[Any], Any]]] = {
    ast.Expr: attrgetter("value"),
    ast.Return: attrgetter("value"),
    ast.Assert: attrgetter("test"),
    ast.Attribute: attrgetter("value"),
    ast.Starred: attrgetter("value"),
    ast.UnaryOp: attrgetter("operand"),
    ast.Await: attrgetter("value"),
}
"""Nodes with one part that matters; it may be missing."""
SEVERAL: Final[dict[type, Callable[[Any], Any]]] = {
    ast.AugAssign: attrgetter("target", "value"),
    ast.If: attrgetter("test", "body", "orelse"),
    ast.For: attrgetter("target", "iter", "body", "orelse"),
    ast.AsyncFor: attrgetter("target", "iter", "body", "orelse"),
    ast.While: attrgetter("test", "body", "orelse"),
    ast.ClassDef: attrgetter("bases", "body", "decorator_list"),
    ast.List: lambda node: node.elts,
    ast.Tuple: lambda node: node.elts,
    ast.Set: lambda node: node.elts,
    ast.Dict: attrgetter("keys", "values"),
    ast.BinOp: attrgetter("left", "right"),
    ast.Compare: attrgetter("left", "comparators"),
    ast.BoolOp: lambda node: node.values,
    ast.IfExp: attrgetter("test", "body", "orelse"),
    ast.Subscript: attrgetter("value", "slice"),
    ast.Slice: attrgetter("lower", "upper", "step"),
    ast.NamedExpr: attrgetter("target", "value"),
}
"""Nodes with several parts, or lists of parts."""
SPECIAL: Final[dict[type, Callable[[Skim, Any], Iterable[ast.AST | None]]]] = {
    ast.Call: Skim.call,
    ast.Assign: Skim.assign,
    ast.FunctionDef: Skim.define,
    ast.AsyncFunctionDef: Skim.define,
    ast.AnnAssign: Skim.declare,
    ast.With: Skim.enter,
    ast.AsyncWith: Skim.enter,
    ast.Try: Skim.attempt,
    ast.Match: Skim.match,
    ast.Lambda: Skim.lambda_,
    ast.ListComp: Skim.comprehension,
    ast.SetComp: Skim.comprehension,
    ast.GeneratorExp: Skim.comprehension,
    ast.DictComp: Skim.comprehension,
    ast.Yield: Skim.give,
    ast.YieldFrom: Skim.give,
    ast.JoinedStr: Skim.formatted,
}
"""Nodes that say something themselves, or that hide their parts."""
if hasattr(ast, "TryStar"):
    SPECIAL[ast.TryStar] = Skim.attempt
