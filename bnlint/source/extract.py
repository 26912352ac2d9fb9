"""Extract: the text of one file becomes its summary. A pure function: no other file, no settings."""

from __future__ import annotations

import ast
import re
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final, cast

from bnlint.source import summary as ir
from bnlint.source.python2 import modernised
from bnlint.source.read import Unreadable, parse_text, text_of
from bnlint.source.skim import CALLERS, DEEPEST, Definition, Skim
from bnlint.source.summary import Block, Expr, Span, Summary

MARKERS: Final = {
    "norm": ("atchNorm", "atch_norm", "bn", "BN"),
    "some norm": ("norm_layer", "norm_act", "norm(", "norm_func", "NormAct"),
    "mode": (".eval(", ".train(", "no_grad", "inference_mode", "set_grad_enabled"),
    "freeze": ("requires_grad",),
    "state": ("state_dict", "torch.save", "parameters("),
    "step": (".backward", ".step("),
    "loader": ("DataLoader",),
    "export": (
        "trace(",
        "trace_module",
        "jit.freeze",
        "jit.save",
        "export(",
        "fuse_modules",
        "fuse_fx",
        "prepare_fx",
    ),
    "statistics": ("running_mean", "buffers(", "._buffers"),
    "exchange": ("torch.save", "load_state_dict", "parameters(),", ".numpy() for"),
}
"""What a text can be about, and the literals that show it: far cheaper to look for than a pattern."""

MODEL_NAME: Final = re.compile(
    r"^(?!(?:create|build|get|load|make|init|register|save|set|from|to|is|has|list|parse|convert|setup|prepare)_)"
    r"\w*(net|model|coder|classifier|backbone|generator|discriminator|student|teacher)(_?[a-z0-9]{0,3})$|^[GDf]$",
    re.IGNORECASE,
)
"""What models are called: a function that calls one of these forwards."""

RELEVANT: Final = re.compile(rb"torch|[Bb]atch_?[Nn]orm|\bnn\.|\.eval\(|\.train\(|state_dict|DataLoader")
"""A file without any of this says nothing of its own; it is read when another one imports from it."""

STORING: Final = frozenset({"append", "extend", "insert", "update", "setdefault", "setattr", "add_module"})
"""Calls that leave something in an object, as an assignment to an attribute does."""

DEFINING: Final = frozenset({"d", "a", "@"})
"""What a definition begins with; whatever else stands there, the parser sees more than its rows."""

BODY: Final = ir.Function._fields.index("body")

CONFIGURATION: Final = (".yaml", ".yml", ".json", ".toml")
"""How the names of files end that are worth being put together: a text is computed for them alone."""

SHORT_TEXT: Final = 200
"""Longer string constants are prose and are forgotten."""


def extract(data: bytes, filename: str) -> Summary:
    """Summarise one file. Raises `read.Unreadable` where it cannot be parsed."""
    return summarise(text_of(data), filename)


def extract_old(data: bytes, filename: str) -> Summary | None:
    """Summarise a file of Python 2 that cannot be parsed as it is; None where it is no such file."""
    try:
        text = modernised(text_of(data))
        return None if text is None else summarise(text, filename)
    except Unreadable:
        return None


def summarise(text: str, filename: str) -> Summary:
    """Summarise a text. Raises `read.Unreadable` where it cannot be parsed."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")  # rows are counted as the parser does
    return Lowering(text).summary(filename)


def is_relevant(data: bytes) -> bool:
    """Whether a file can contribute a fact by itself: looked for in its bytes, before anything is parsed."""
    return RELEVANT.search(data) is not None


@cache
def is_model_name(name: str) -> bool:
    """Whether something of this name is called to compute, as a model is."""
    return MODEL_NAME.search(name) is not None


class Later(ir.Function):
    """A function whose body is summarised when somebody first asks for it: few bodies are ever run."""

    @cached_property
    def body(self) -> Block:
        """The body, made of the text that stands for it until then."""
        ((text, row, is_inside),) = cast("tuple[ir.Text]", self[BODY])
        if is_inside:
            text = f"if 1:\n{text}"
        tree: Any = parse_text(text)
        (definition,) = tree.body[0].body if is_inside else tree.body
        return Lowering(text, row - 1 - is_inside).body(definition)


class Words:
    """What each part of a text is about."""

    def __init__(self, text: str, starts: list[int]) -> None:
        self.rows: dict[str, list[int]] = {}
        for word, literals in MARKERS.items():
            offsets = (found for literal in literals for found in positions(text, literal))
            self.rows[word] = sorted({bisect_right(starts, offset) for offset in offsets})

    def between(self, first: int, last: int) -> frozenset[str]:
        """The words that appear in the rows from `first` to `last`."""
        return frozenset(
            word for word, rows in self.rows.items() if bisect_left(rows, first) < bisect_right(rows, last)
        )


def positions(text: str, literal: str) -> Iterator[int]:
    """Where a literal stands in a text."""
    at = text.find(literal)
    while at >= 0:
        yield at
        at = text.find(literal, at + len(literal))


class Lowering:
    """Turns a parsed text into tuples, in one walk. `above` is how many rows of the file come before it."""

    def __init__(self, text: str, above: int = 0) -> None:
        lines = text.split("\n")
        self.text = text
        self.starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
        self.words = Words(text, self.starts)
        self.above = above
        self.wide: dict[int, bytes] = {}
        """The rows in which Python's parser, which counts in UTF-8, sees columns that people do not see."""
        if not text.isascii():
            self.wide = {row: line.encode() for row, line in enumerate(lines, 1) if not line.isascii()}
        self.calls: set[str] = set()
        self.generator = False
        self.writes = False
        self.defers = True

    def summary(self, filename: str) -> Summary:
        body = self.block(parse_text(self.text, filename).body)
        return Summary(filename, body, frozenset(self.calls), self.words.between(0, sys.maxsize))

    def body(self, node: Definition) -> Block:
        """The body of a function that stands in this text."""
        self.defers = False
        return self.block(node.body)

    # places

    def span(self, node: Any) -> Span:
        """The place of a node."""
        if self.above or self.wide:
            return self.place(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
        return new_tuple(Span, ends_of(node))

    def named_span(self, node: Definition | ast.ClassDef) -> Span:
        """The place of a definition's first line, up to its name."""
        row, column, _, _ = self.place(node.lineno, node.col_offset, node.lineno, 0)
        end = column + len(node.name) + (6 if isinstance(node, ast.ClassDef) else 4)
        return Span(row, column, row, end)

    def ends(self, node: ast.stmt, head: ast.expr) -> Span:
        """From the start of a statement to the end of its head."""
        return self.place(node.lineno, node.col_offset, head.end_lineno or 0, head.end_col_offset or 0)

    def place(self, row: int, column: int, end_row: int, end_column: int) -> Span:
        """A place in the file, its columns counted in characters."""
        if self.wide:
            column, end_column = self.characters(row, column), self.characters(end_row, end_column)
        return Span(row + self.above, column, end_row + self.above, end_column)

    def characters(self, row: int, column: int) -> int:
        line = self.wide.get(row)
        return column if line is None else len(line[:column].decode("utf-8", "replace"))

    # statements

    def block(self, body: Iterable[ast.stmt]) -> Block:
        out: list[ir.Stmt] = []
        for node in body:
            lower = STATEMENTS.get(type(node))
            if lower is not None:
                out.extend(lower(self, node))
        return tuple(out)

    def about(self, node: Definition | ast.ClassDef) -> frozenset[str]:
        """What the text of a definition is about."""
        return self.words.between(first_row(node), node.end_lineno or node.lineno)

    def function(self, node: Definition) -> Iterable[ir.Function]:
        outer, self.calls = self.calls, set()
        outer_generator, self.generator = self.generator, False
        outer_writes, self.writes = self.writes, False
        kind, body, inner = self.deferred(node) or (ir.Function, self.block(node.body), None)
        decorators = tuple(self.expr(d) for d in node.decorator_list)
        params = self.params(node.args)
        words = self.about(node)
        if any(p.name in self.calls for p in params) or any(map(is_model_name, self.calls)):
            words |= {"forward"}
        if self.writes or not self.calls.isdisjoint(STORING):
            words |= {"write"}
        calls, place = frozenset(self.calls), self.named_span(node)
        function = kind(node.name, params, body, decorators, place, calls, words, self.generator, inner)
        outer |= self.calls
        self.calls = outer
        self.generator = outer_generator
        self.writes = outer_writes
        return (function,)

    def deferred(self, node: Definition) -> tuple[type[Later], Block, tuple[ir.Function, ...]] | None:
        """The text of a function in place of its body, and what it defines; None if that is too deep."""
        first = first_row(node)
        text = self.text[self.starts[first - 1] : self.starts[node.end_lineno or first]]
        if not self.defers or text[node.col_offset : node.col_offset + 1] not in DEFINING:
            return None
        skimmed = Skim(node.body)
        if skimmed.depth > DEEPEST:
            return None
        self.calls |= skimmed.calls
        inner = tuple(found for one in skimmed.functions for found in self.function(one))
        self.generator = skimmed.yields
        self.writes = skimmed.writes
        return Later, (ir.Text(text, first, node.col_offset > 0),), inner

    def klass(self, node: ast.ClassDef) -> Iterable[ir.Stmt]:
        return (
            ir.Class(
                node.name,
                tuple(self.expr(b) for b in node.bases),
                self.block(node.body),
                tuple(self.expr(d) for d in node.decorator_list),
                self.named_span(node),
                self.about(node),
            ),
        )

    def params(self, args: ast.arguments) -> tuple[ir.Param, ...]:
        out: list[ir.Param] = []
        positional = [*((a, "position") for a in args.posonlyargs), *((a, "both") for a in args.args)]
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults)) + list(
            args.defaults
        )
        for (arg, kind), default in zip(positional, defaults, strict=True):
            out.append(self.param(arg, kind, default))
        if args.vararg:
            out.append(self.param(args.vararg, "*", None))
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
            out.append(self.param(arg, "keyword", default))
        if args.kwarg:
            out.append(self.param(args.kwarg, "**", None))
        return tuple(out)

    def param(self, arg: ast.arg, kind: str, default: ast.expr | None) -> ir.Param:
        value = None if default is None else self.expr(default)
        return ir.Param(arg.arg, kind, value, self.annotation(arg.annotation), self.span(arg))

    def annotation(self, node: ast.expr | None) -> Expr | None:
        if isinstance(node, ast.Name | ast.Attribute):
            return self.expr(node)
        return None

    def assign(self, node: ast.Assign) -> Iterable[ir.Stmt]:
        match node:  # `step = step + 1` counts, as `step += 1` does
            case ast.Assign(
                targets=[ast.Name(id=name) as target],
                value=ast.BinOp(left=ast.Name(id=same), right=ast.Constant(value=int() | float())) as sum_,
            ) if name == same:
                op = OPERATORS.get(type(sum_.op), "?")
                return (ir.Update(self.expr(target), op, self.expr(sum_.right), self.span(node)),)
        self.writes |= any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets)
        return (ir.Assign(tuple(map(self.expr, node.targets)), self.expr(node.value), self.span(node)),)

    def declare(self, node: ast.AnnAssign) -> Iterable[ir.Stmt]:
        value = None if node.value is None else self.expr(node.value)
        return (ir.Declare(self.expr(node.target), self.annotation(node.annotation), value, self.span(node)),)

    def update(self, node: ast.AugAssign) -> Iterable[ir.Stmt]:
        op = OPERATORS.get(type(node.op), "?")
        return (ir.Update(self.expr(node.target), op, self.expr(node.value), self.span(node)),)

    def do(self, node: ast.Expr) -> Iterable[ir.Stmt]:
        if isinstance(node.value, ast.Constant):
            return ()
        return (ir.Do(self.expr(node.value), self.span(node)),)

    def give_back(self, node: ast.Return) -> Iterable[ir.Stmt]:
        return (ir.Return(None if node.value is None else self.expr(node.value), self.span(node)),)

    def branch(self, node: ast.If) -> Iterable[ir.Stmt]:
        return (
            ir.If(self.expr(node.test), self.block(node.body), self.block(node.orelse), self.span(node.test)),
        )

    def loop(self, node: ast.For | ast.AsyncFor) -> Iterable[ir.Stmt]:
        target, source = self.expr(node.target), self.expr(node.iter)
        place = self.ends(node, node.iter)
        return (ir.For(target, source, self.block(node.body), self.block(node.orelse), place),)

    def loop_while(self, node: ast.While) -> Iterable[ir.Stmt]:
        place = self.ends(node, node.test)
        return (ir.While(self.expr(node.test), self.block(node.body), self.block(node.orelse), place),)

    def enter(self, node: ast.With | ast.AsyncWith) -> Iterable[ir.Stmt]:
        items = tuple(
            (self.expr(i.context_expr), None if i.optional_vars is None else self.expr(i.optional_vars))
            for i in node.items
        )
        return (ir.With(items, self.block(node.body), self.ends(node, node.items[-1].context_expr)),)

    def attempt(self, node: Any) -> Iterable[ir.Stmt]:
        handlers = tuple(self.block(h.body) for h in node.handlers)
        return (ir.Try(self.block(node.body), handlers, self.block(node.orelse), self.block(node.finalbody)),)

    def match(self, node: ast.Match) -> Iterable[ir.Stmt]:
        """A match is a chain of ifs whose tests are only known for values."""
        subject = self.expr(node.subject)
        chain: Block = ()
        for case in reversed(node.cases):
            body = self.block(case.body)
            pattern = case.pattern
            if isinstance(pattern, ast.MatchAs) and pattern.pattern is None and case.guard is None:
                chain = body
                continue
            test: Expr = ir.Opaque()
            if isinstance(pattern, ast.MatchValue) and case.guard is None:
                test = ir.Compare("==", subject, self.expr(pattern.value))
            chain = (ir.If(test, body, chain, self.span(pattern)),)
        return chain

    def imports(self, node: ast.Import) -> Iterable[ir.Stmt]:
        for alias in node.names:
            if alias.asname:
                yield ir.Import(alias.asname, alias.name, None, 0)
            else:
                yield ir.Import(alias.name.partition(".")[0], alias.name, None, 0)

    def imports_from(self, node: ast.ImportFrom) -> Iterable[ir.Stmt]:
        for alias in node.names:
            yield ir.Import(alias.asname or alias.name, node.module or "", alias.name, node.level)

    def hold(self, node: ast.Assert) -> Iterable[ir.Stmt]:
        return (ir.Assert(self.expr(node.test)),)

    def scope(self, node: ast.Global | ast.Nonlocal) -> Iterable[ir.Stmt]:
        kind = ir.Global if isinstance(node, ast.Global) else ir.Nonlocal
        return (kind(tuple(node.names)),)

    def stop(self, node: ast.Raise | ast.Break | ast.Continue) -> Iterable[ir.Stmt]:
        return (JUMPS[type(node)],)

    # expressions

    def expr(self, node: ast.expr) -> Expr:
        lower = EXPRESSIONS.get(type(node))
        return OPAQUE if lower is None else lower(self, node)

    def name(self, node: ast.Name) -> Expr:
        return ir.Name(node.id)

    def get(self, node: ast.Attribute) -> Expr:
        return ir.Get(self.expr(node.value), node.attr)

    def constant(self, node: ast.Constant) -> Expr:
        value = node.value
        if type(value) is str and len(value) > SHORT_TEXT:
            return OPAQUE
        if isinstance(value, int | float) and type(value) is not bool:
            return ir.Lit(value, self.span(node))
        return ir.Lit(value)

    def call(self, node: ast.Call) -> Expr:
        func = self.expr(node.func)
        last = ""
        match func:
            case (
                ir.Get(attr=last)
                | ir.Name(id=last)
                | ir.Item(base=ir.Get(attr=last))
                | ir.Item(base=ir.Name(id=last))
            ):
                self.calls.add(last)
        args = [self.argument(a) for a in node.args]
        for k in node.keywords:
            args.append(ir.Arg(k.arg or "**", self.expr(k.value), self.span(k.value)))
        if last in CALLERS:
            self.calls.update(a.value.id for a in args if isinstance(a.value, ir.Name))
        return ir.Call(func, tuple(args), self.span(node))

    def argument(self, node: ast.expr) -> ir.Arg:
        if isinstance(node, ast.Starred):
            return ir.Arg("*", self.expr(node.value), self.span(node))
        return ir.Arg(None, self.expr(node), self.span(node))

    def starred(self, node: ast.Starred) -> Expr:
        return ir.Star(self.expr(node.value))

    def display(self, node: ast.List | ast.Tuple | ast.Set) -> Expr:
        kind = "list" if isinstance(node, ast.List) else "tuple" if isinstance(node, ast.Tuple) else "set"
        spans = tuple(self.span(e) for e in node.elts)
        return ir.Display(kind, tuple(self.expr(e) for e in node.elts), spans, self.span(node))

    def table(self, node: ast.Dict) -> Expr:
        pairs = zip(node.keys, node.values, strict=True)
        return ir.Table(
            tuple((None if k is None else self.expr(k), self.expr(v)) for k, v in pairs), self.span(node)
        )

    def binary(self, node: ast.BinOp) -> Expr:
        return ir.Binary(OPERATORS.get(type(node.op), "?"), self.expr(node.left), self.expr(node.right))

    def unary(self, node: ast.UnaryOp) -> Expr:
        operand = self.expr(node.operand)
        match node.op, operand:
            case ast.USub(), ir.Lit(value=int() | float() as number):
                return ir.Lit(-number, self.span(node))
        return ir.Unary(OPERATORS.get(type(node.op), "?"), operand)

    def compare(self, node: ast.Compare) -> Expr:
        parts: list[Expr] = []
        left = self.expr(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.expr(right_node)
            parts.append(ir.Compare(OPERATORS.get(type(op), "?"), left, right))
            left = right
        return parts[0] if len(parts) == 1 else ir.Logic("and", tuple(parts))

    def logic(self, node: ast.BoolOp) -> Expr:
        op = "and" if isinstance(node.op, ast.And) else "or"
        return ir.Logic(op, tuple(self.expr(v) for v in node.values))

    def choice(self, node: ast.IfExp) -> Expr:
        return ir.Choice(self.expr(node.test), self.expr(node.body), self.expr(node.orelse))

    def item(self, node: ast.Subscript) -> Expr:
        return ir.Item(self.expr(node.value), self.expr(node.slice))

    def slice(self, node: ast.Slice) -> Expr:
        parts = (None if part is None else self.expr(part) for part in (node.lower, node.upper, node.step))
        return ir.Slice(*parts)

    def lambda_(self, node: ast.Lambda) -> Expr:
        body = (ir.Return(self.expr(node.body), self.span(node.body)),)
        params = self.params(node.args)
        nothing: frozenset[str] = frozenset()
        calls = frozenset(self.calls)
        return ir.Lambda(ir.Function("<lambda>", params, body, (), self.span(node), calls, nothing, False))

    def comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Expr:
        loops = tuple(
            ir.Each(self.expr(g.target), self.expr(g.iter), tuple(map(self.expr, g.ifs)))
            for g in node.generators
        )
        if isinstance(node, ast.DictComp):
            return ir.Comp("dict", self.expr(node.key), self.expr(node.value), loops, self.span(node))
        kind = COMPREHENSIONS[type(node)]
        return ir.Comp(kind, None, self.expr(node.elt), loops, self.span(node))

    def yields(self, node: ast.Yield | ast.YieldFrom) -> Expr:
        self.generator = True
        return ir.Yield(None if node.value is None else self.expr(node.value))

    def waits(self, node: ast.Await) -> Expr:
        return self.expr(node.value)

    def bind(self, node: ast.NamedExpr) -> Expr:
        return ir.Bind(self.expr(node.target), self.expr(node.value))

    def formatted(self, node: ast.JoinedStr) -> Expr:
        last = node.values[-1] if node.values else None
        if isinstance(last, ast.Constant) and str(last.value).endswith(CONFIGURATION):
            values = (v.value if isinstance(v, ast.FormattedValue) else v for v in node.values)
            return ir.Joined(tuple(map(self.expr, values)))
        parts = (v.value for v in node.values if isinstance(v, ast.FormattedValue))
        effects = tuple(self.expr(p) for p in parts if isinstance(p, ast.Call))
        return ir.Opaque(effects) if effects else OPAQUE


def first_row(node: Definition | ast.ClassDef) -> int:
    """The row in which a definition begins, with its decorators."""
    return node.decorator_list[0].lineno if node.decorator_list else node.lineno


new_tuple: Final = tuple.__new__
ends_of: Final = attrgetter("lineno", "col_offset", "end_lineno", "end_col_offset")
OPAQUE: Final = ir.Opaque()
JUMPS: Final[dict[type, ir.Stmt]] = {
    ast.Raise: ir.Raise(),
    ast.Break: ir.Break(),
    ast.Continue: ir.Continue(),
}
COMPREHENSIONS: Final[dict[type, str]] = {
    ast.ListComp: "list",
    ast.SetComp: "set",
    ast.GeneratorExp: "generator",
}
OPERATORS: Final[dict[type, str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.BitOr: "|",
    ast.BitAnd: "&",
    ast.USub: "-",
    ast.UAdd: "+",
    ast.Not: "not",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
STATEMENTS: Final[dict[type, Callable[[Lowering, Any], Iterable[ir.Stmt]]]] = {
    ast.FunctionDef: Lowering.function,
    ast.AsyncFunctionDef: Lowering.function,
    ast.ClassDef: Lowering.klass,
    ast.Assign: Lowering.assign,
    ast.AnnAssign: Lowering.declare,
    ast.AugAssign: Lowering.update,
    ast.Expr: Lowering.do,
    ast.Return: Lowering.give_back,
    ast.If: Lowering.branch,
    ast.For: Lowering.loop,
    ast.AsyncFor: Lowering.loop,
    ast.While: Lowering.loop_while,
    ast.With: Lowering.enter,
    ast.AsyncWith: Lowering.enter,
    ast.Try: Lowering.attempt,
    ast.Match: Lowering.match,
    ast.Import: Lowering.imports,
    ast.ImportFrom: Lowering.imports_from,
    ast.Assert: Lowering.hold,
    ast.Global: Lowering.scope,
    ast.Nonlocal: Lowering.scope,
    ast.Raise: Lowering.stop,
    ast.Break: Lowering.stop,
    ast.Continue: Lowering.stop,
}
if hasattr(ast, "TryStar"):
    STATEMENTS[ast.TryStar] = Lowering.attempt
EXPRESSIONS: Final[dict[type, Callable[[Lowering, Any], Expr]]] = {
    ast.Name: Lowering.name,
    ast.Attribute: Lowering.get,
    ast.Constant: Lowering.constant,
    ast.Call: Lowering.call,
    ast.Starred: Lowering.starred,
    ast.List: Lowering.display,
    ast.Tuple: Lowering.display,
    ast.Set: Lowering.display,
    ast.Dict: Lowering.table,
    ast.BinOp: Lowering.binary,
    ast.UnaryOp: Lowering.unary,
    ast.Compare: Lowering.compare,
    ast.BoolOp: Lowering.logic,
    ast.IfExp: Lowering.choice,
    ast.Subscript: Lowering.item,
    ast.Slice: Lowering.slice,
    ast.Lambda: Lowering.lambda_,
    ast.ListComp: Lowering.comprehension,
    ast.SetComp: Lowering.comprehension,
    ast.GeneratorExp: Lowering.comprehension,
    ast.DictComp: Lowering.comprehension,
    ast.Yield: Lowering.yields,
    ast.YieldFrom: Lowering.yields,
    ast.Await: Lowering.waits,
    ast.NamedExpr: Lowering.bind,
    ast.JoinedStr: Lowering.formatted,
}
