"""The summary of one file: its program, without what can never matter.

Expressions and statements are plain tuples, so a summary is small, immutable and serialisable.
Annotations survive where they are names; strings in statements of their own, formatting and positions
that nothing points at do not.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Expr: TypeAlias = tuple[object, ...]
"""One of the expressions below. A union of them would name itself, which type checkers take very badly."""
Stmt: TypeAlias = tuple[object, ...]
"""One of the statements below."""
Block: TypeAlias = tuple[Stmt, ...]


class Span(NamedTuple):
    """Rows from 1, columns from 0, end exclusive: as Python's parser counts, but in characters."""

    row: int
    column: int
    end_row: int
    end_column: int


class Name(NamedTuple):
    id: str


class Get(NamedTuple):
    """`base.attr`"""

    base: Expr
    attr: str


class Lit(NamedTuple):
    """A constant."""

    value: Any
    span: Span | None = None


class Arg(NamedTuple):
    """One argument of a call. `name` is None by position, "*" and "**" for the unpacking ones."""

    name: str | None
    value: Expr
    span: Span


class Call(NamedTuple):
    func: Expr
    args: tuple[Arg, ...]
    span: Span


class Joined(NamedTuple):
    """`f"{folder}/{name}.yaml"`"""

    parts: tuple[Expr, ...]


class Star(NamedTuple):
    value: Expr


class Display(NamedTuple):
    """`[a, *b]`, `(a, b)`, `{a, b}`; `kind` is "list", "tuple" or "set"."""

    kind: str
    items: tuple[Expr, ...]
    spans: tuple[Span, ...]
    span: Span


class Table(NamedTuple):
    """`{key: value}`; a key of None stands for `**value`."""

    entries: tuple[tuple[Expr | None, Expr], ...]
    span: Span


class Binary(NamedTuple):
    op: str
    left: Expr
    right: Expr


class Unary(NamedTuple):
    op: str
    operand: Expr


class Compare(NamedTuple):
    op: str
    left: Expr
    right: Expr


class Logic(NamedTuple):
    """`and` / `or` of two or more parts."""

    op: str
    parts: tuple[Expr, ...]


class Choice(NamedTuple):
    """`then if test else other`"""

    test: Expr
    then: Expr
    other: Expr


class Item(NamedTuple):
    """`base[index]`"""

    base: Expr
    key: Expr


class Slice(NamedTuple):
    lower: Expr | None
    upper: Expr | None
    step: Expr | None


class Lambda(NamedTuple):
    function: Function


class Each(NamedTuple):
    """One `for target in source if tests` of a comprehension."""

    target: Expr
    source: Expr
    tests: tuple[Expr, ...]


class Comp(NamedTuple):
    """A comprehension; `kind` is "list", "set", "generator" or "dict" (then `key` is set)."""

    kind: str
    key: Expr | None
    element: Expr
    loops: tuple[Each, ...]
    span: Span


class Yield(NamedTuple):
    value: Expr | None


class Bind(NamedTuple):
    """`target := value`"""

    target: Expr
    value: Expr


class Opaque(NamedTuple):
    """An expression that says nothing; `parts` are evaluated for what they do."""

    parts: tuple[Expr, ...] = ()


class Assign(NamedTuple):
    targets: tuple[Expr, ...]
    value: Expr
    span: Span


class Update(NamedTuple):
    """`target op= value`"""

    target: Expr
    op: str
    value: Expr
    span: Span


class Declare(NamedTuple):
    """`name: annotation = value` where the annotation is a name."""

    target: Expr
    annotation: Expr | None
    value: Expr | None
    span: Span


class Do(NamedTuple):
    """An expression as a statement."""

    value: Expr
    span: Span


class Return(NamedTuple):
    value: Expr | None
    span: Span


class If(NamedTuple):
    test: Expr
    body: Block
    other: Block
    span: Span


class For(NamedTuple):
    target: Expr
    source: Expr
    body: Block
    other: Block
    span: Span


class While(NamedTuple):
    test: Expr
    body: Block
    other: Block
    span: Span


class With(NamedTuple):
    items: tuple[tuple[Expr, Expr | None], ...]
    body: Block
    span: Span


class Try(NamedTuple):
    body: Block
    handlers: tuple[Block, ...]
    other: Block
    final: Block


class Raise(NamedTuple):
    pass


class Break(NamedTuple):
    pass


class Continue(NamedTuple):
    pass


class Assert(NamedTuple):
    test: Expr


class Global(NamedTuple):
    names: tuple[str, ...]


class Nonlocal(NamedTuple):
    names: tuple[str, ...]


class Import(NamedTuple):
    """`name` becomes the module or member `path`; `level` dots lead to the package it starts from.

    `member` is None for `import a.b as name`, "*" for a star import.
    """

    name: str
    path: str
    member: str | None
    level: int


class Param(NamedTuple):
    """`kind` is "both", "position", "keyword", "*" or "**"."""

    name: str
    kind: str
    default: Expr | None
    annotation: Expr | None
    span: Span


class Function(NamedTuple):
    """`calls` holds the last name of everything called below; `words` what the body is about.

    `inner` are the functions that the body defines, where that is known without looking into it.
    """

    name: str
    params: tuple[Param, ...]
    body: Block
    decorators: tuple[Expr, ...]
    span: Span
    calls: frozenset[str]
    words: frozenset[str]
    generator: bool
    inner: tuple[Function, ...] | None = None


class Text(NamedTuple):
    """A definition as it is written, from a row of its file on, in place of what it comes to."""

    text: str
    row: int
    is_inside: bool


class Class(NamedTuple):
    name: str
    bases: tuple[Expr, ...]
    body: Block
    decorators: tuple[Expr, ...]
    span: Span
    words: frozenset[str]

    @property
    def methods(self) -> tuple[Function, ...]:
        return tuple(stmt for stmt in self.body if isinstance(stmt, Function))


class Summary(NamedTuple):
    """One file. `words` says what its text mentions, see `extract.WORDS`."""

    filename: str
    body: Block
    calls: frozenset[str]
    words: frozenset[str]
