"""What is written in source files: expressions, and what classes and functions assign."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch

from bnlint.finding import Where

if TYPE_CHECKING:
    from collections.abc import Iterator

TORCH: Final = os.path.dirname(torch.__file__) + os.sep
CONTAINERS: Final = {"Sequential", "ModuleList", "ModuleDict", "OrderedDict", "list", "tuple", "dict"}
ADDING: Final = {"add_module", "register_module"}


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression in a file."""

    node: ast.expr
    filename: str

    def where(self, module: str | None = None) -> Where:
        """Its place."""
        return span(self.node, self.filename, module)


def span(node: ast.expr | ast.stmt, filename: str, module: str | None = None) -> Where:
    """The place of a node; columns count characters from 1."""
    end_row, end = node.end_lineno or node.lineno, node.end_col_offset or 0
    return counted(filename, node.lineno, node.col_offset, end_row, end, module)


def counted(  # noqa: PLR0913, PLR0917
    filename: str, row: int, column: int, end_row: int, end: int, module: str | None
) -> Where:
    """A place of which Python gives the columns in bytes of UTF-8, from 0."""
    first, last = _characters(filename, row, column), _characters(filename, end_row, end)
    return Where(filename, row, first + 1, end_row, last + 1, module=module)


def _characters(filename: str, row: int, column: int) -> int:
    """How many characters the first bytes of a line are."""
    lines = linecache.getlines(filename)
    line = lines[row - 1] if row <= len(lines) else ""
    return column if line.isascii() else len(line.encode()[:column].decode(errors="replace"))


def is_written(filename: str) -> bool:
    """Has somebody written this? Graphs of torch.fx, and what dataclasses are made of, are generated."""
    return not filename.startswith("<") or filename.startswith(("<ipython", "<string>", "<stdin>"))


def forget() -> None:
    """Look at files again: they may have been written to."""
    defined.cache_clear()


def parsed(filename: str) -> ast.Module | None:
    """The syntax tree of a file, or of a cell of a notebook; None where there is none to be read."""
    linecache.checkcache(filename)
    lines = linecache.getlines(filename)  # the same list as long as the file stays as it is
    known = _TREES.get(filename)
    if known is None or known[0] is not lines:
        _TREES[filename] = known = lines, _tree("".join(lines), filename)
    return known[1]


_TREES: Final[dict[str, tuple[list[str], ast.Module | None]]] = {}


def _tree(text: str, filename: str) -> ast.Module | None:
    try:
        return ast.parse(text, filename) if text else None
    except (SyntaxError, ValueError):
        return None


def descend(found: Expression, parts: list[str]) -> Expression:
    """Into the literal containers of an expression, as far as they are literal."""
    for part in parts:
        inner = _element(found.node, part)
        if inner is None:
            break
        found = Expression(inner, found.filename)
    return found


def is_empty(node: ast.expr) -> bool:
    """Is this a container that is filled later?"""
    match node:
        case ast.List(elts=[]) | ast.Dict(keys=[]) | ast.Call(args=[], keywords=[]):
            return True
        case ast.Call(func=func, args=[inner], keywords=[]):
            return last_word(func) in CONTAINERS and is_empty(inner)
    return False


def added(cls: type, name: str, part: str) -> Expression | None:
    """What is added to `self.name` as `part`: under this name, or by the only `append` that there is."""
    filename, node = next(filter(lambda found: found[1], map(defined, cls.__mro__)), ("", None))
    if node is None:
        return None
    appended, named = [], []
    for one in ast.walk(node):
        match one:
            case ast.Call(func=ast.Attribute(value=ast.Attribute(attr=attr), attr=how), args=args) if (
                attr == name
            ):
                if how == "append" and len(args) == 1:
                    appended.append(args[0])
                elif how in ADDING and len(args) == 2 and _is_constant(args[0], part):
                    named.append(args[1])
            case ast.Assign(targets=[ast.Subscript(value=ast.Attribute(attr=attr), slice=key)], value=value):
                if attr == name and _is_constant(key, part):
                    named.append(value)
    found = named or (appended if part.isdecimal() else [])
    return Expression(found[0], filename) if len(found) == 1 else None


def _is_constant(node: ast.expr, value: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def _element(node: ast.expr, part: str) -> ast.expr | None:
    """The element of a container that is called `part`."""
    match node:
        case ast.Call(func=func, args=[inner], keywords=[]) if last_word(func) in CONTAINERS:
            found = None if isinstance(inner, ast.Starred) else _element(inner, part)
            return _at([inner], part) if found is None else found
        case ast.Call(func=func, args=args, keywords=keywords) if last_word(func) in CONTAINERS:
            named = [one.value for one in keywords if one.arg == part]
            return named[0] if named else _at(args, part)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            pairs = [one.elts for one in elements if isinstance(one, ast.Tuple) and len(one.elts) == 2]
            named = [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == part]
            return named[0] if named else _at(elements, part)
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and str(key.value) == part:
                    return value
        case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element) if part.isdecimal():
            return element
        case ast.BinOp(left=ast.List(elts=elements), op=ast.Mult()) if part.isdecimal() and elements:
            return _at(elements, str(int(part) % len(elements)))
    return None


def _at(elements: list[ast.expr], part: str) -> ast.expr | None:
    """The element with this number, where all before it are single ones; the last one may be unpacked."""
    if not part.isdecimal():
        return None
    number = int(part)
    unpacked = next((index for index, one in enumerate(elements) if isinstance(one, ast.Starred)), None)
    if unpacked is None or number < unpacked:
        return elements[number] if number < len(elements) else None
    last = elements[unpacked]
    if unpacked < len(elements) - 1 or not isinstance(last, ast.Starred):
        return None
    return _element(last.value, str(number - unpacked))


def last_word(func: ast.expr) -> str:
    """The last word of what is called."""
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


@cache
def defined(cls: type) -> tuple[str, ast.ClassDef | None]:
    """The file that defines a class of the user's, and the definition; None where it cannot be read."""
    for filename in _files(cls):
        tree = parsed(filename)
        node = None if tree is None else class_in(tree, cls.__qualname__)
        if node is not None:
            return filename, node
    return "", None


def _files(cls: type) -> Iterator[str]:
    """Where a class may be defined: of a notebook's cell, or of executed code, only its functions know."""
    functions = (inspect.unwrap(one) for one in vars(cls).values() if inspect.isfunction(one))
    found = dict.fromkeys(one.__code__.co_filename for one in functions if inspect.isfunction(one))
    yield from (name for name in found if not name.startswith(TORCH))
    named = source_of(cls)
    if named is not None and named not in found:
        yield named


@lru_cache(maxsize=256)
def attributes(cls: ast.ClassDef) -> tuple[tuple[str, ast.expr], ...]:
    """What is assigned to attributes of self, or added by name."""
    return tuple(_assignments(cls))


def _assignments(cls: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    selves = {
        node.args.args[0].arg
        for node in ast.walk(cls)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.args.args
    }
    for node in ast.walk(cls):
        match node:
            case ast.Assign() | ast.AnnAssign(value=ast.expr()):
                for target, value in _assigns(node):
                    match target:
                        case ast.Attribute(value=ast.Name(id=holder), attr=attr) if holder in selves:
                            yield attr, value
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=holder), attr=how),
                args=[ast.Constant(value=str(name)), value],
            ) if holder in selves and how in ADDING:
                yield name, value
            case ast.Call(
                func=ast.Name(id="setattr"),
                args=[ast.Name(id=holder), ast.Constant(value=str(name)), value],
            ) if holder in selves:
                yield name, value


def _assigns(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The targets of an assignment, each with what it is given as far as that can be told."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _unpacked(target, value)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield target, value


def _unpacked(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    match target, value:
        case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
            for one, other in zip(targets, values, strict=True):
                yield from _unpacked(one, other)
        case _:
            yield target, value


def source_of(thing: Any) -> str | None:
    """The file of a class or function of the user's."""
    try:
        found = inspect.getsourcefile(thing)
    except (OSError, TypeError):
        return None
    return None if found is None or found.startswith(TORCH) else found


@lru_cache(maxsize=256)
def class_in(tree: ast.Module, qualname: str) -> ast.ClassDef | None:
    """The definition of a class by its qualified name; the last one where there are several."""
    found: ast.AST | None = tree
    for name in qualname.split("."):
        if name == "<locals>" or found is None:
            continue
        inside = (
            node
            for node in ast.walk(found)
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        )
        found = next(
            (node for node in reversed(list(inside)) if node.name == name and node is not found), None
        )
    return found if isinstance(found, ast.ClassDef) else None


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """What a call passes for a parameter, where that can be told."""
    named = [one.value for one in call.keywords if one.arg == name]
    if named:
        return named[0]
    several = any(isinstance(one, ast.Starred) for one in call.args[: position + 1])
    return None if several or len(call.args) <= position else call.args[position]


def variables(scope: ast.AST, *, deep: bool = True) -> Iterator[tuple[str, ast.expr]]:
    """What is assigned to names."""
    nodes = ast.walk(scope) if deep else iter(getattr(scope, "body", ()))
    for node in nodes:
        for target, value in _assigns(node):
            if isinstance(target, ast.Name):
                yield target.id, value


def function_in(filename: str, row: int, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The function of this name whose code begins in this row: at the first decorator, if there is one."""
    tree = parsed(filename)
    if tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first == row:
                return node
    return None
