"""What is written in source files: expressions, and what classes and functions assign."""

from __future__ import annotations

import ast
import inspect
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch

from bnlint.finding import Where

if TYPE_CHECKING:
    from collections.abc import Iterator

TORCH: Final = os.path.dirname(torch.__file__) + os.sep
CONTAINERS: Final = {"Sequential", "ModuleList", "ModuleDict", "OrderedDict", "list", "tuple", "dict"}


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
    return Where(filename, node.lineno, node.col_offset + 1, end_row, end + 1, module=module)


def is_written(filename: str) -> bool:
    """Has somebody written this, in a file or in a cell of a notebook? Some code is generated."""
    return os.path.isfile(filename) or "ipykernel" in filename or filename.startswith("<ipython")


@lru_cache(maxsize=64)
def parsed(filename: str) -> ast.Module | None:
    """The syntax tree of a file; None where there is none to be read."""
    try:
        with open(filename, "rb") as file:
            return ast.parse(file.read(), filename)
    except (OSError, SyntaxError, ValueError):
        return None


def descend(found: Expression, parts: list[str]) -> Expression:
    """Into the literal containers of an expression, as far as they are literal."""
    for part in parts:
        inner = _element(found.node, part)
        if inner is None:
            break
        found = Expression(inner, found.filename)
    return found


def _element(node: ast.expr, part: str) -> ast.expr | None:
    """The element of a container that is called `part`."""
    match node:
        case ast.Call(func=func, args=args) if last_word(func) in CONTAINERS:
            if len(args) == 1 and isinstance(args[0], (ast.List, ast.Tuple, ast.Dict, ast.Call)):
                inner = _element(args[0], part)
                if inner is not None or not isinstance(args[0], ast.Call):
                    return inner
            return _at(args, part)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            pairs = [one.elts for one in elements if isinstance(one, ast.Tuple) and len(one.elts) == 2]
            named = [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == part]
            return named[0] if named else _at(elements, part)
        case ast.Dict(keys=keys, values=values):
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, ast.Constant) and str(key.value) == part:
                    return value
    return None


def _at(elements: list[ast.expr], part: str) -> ast.expr | None:
    """The element with this number, where all before it are single ones."""
    if not part.isdecimal() or int(part) >= len(elements):
        return None
    before = elements[: int(part) + 1]
    return None if any(isinstance(one, ast.Starred) for one in before) else before[-1]


def last_word(func: ast.expr) -> str:
    """The last word of what is called."""
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


@lru_cache(maxsize=256)
def attributes(cls: ast.ClassDef) -> tuple[tuple[str, ast.expr], ...]:
    """What is assigned to attributes of self, or added by name."""
    return tuple(_assignments(cls))


def _assignments(cls: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for method in cls.body:
        if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)) and method.args.args:
            yield from _assigned_in(method, method.args.args[0].arg)


def _assigned_in(method: ast.AST, own: str) -> Iterator[tuple[str, ast.expr]]:
    """What a method assigns to attributes of the object that it calls `own`, or adds by name."""
    for node in ast.walk(method):
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Attribute) and _is(target.value, own):
                        yield target.attr, value
            case ast.AnnAssign(target=ast.Attribute(value=holder, attr=attr), value=ast.expr() as value) if (
                _is(holder, own)
            ):
                yield attr, value
            case ast.Call(
                func=ast.Attribute(attr="add_module" | "register_module"),
                args=[ast.Constant(value=str(name)), value],
            ):
                yield name, value
            case ast.Call(
                func=ast.Name(id="setattr"), args=[holder, ast.Constant(value=str(name)), value]
            ) if _is(holder, own):
                yield name, value


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def source_of(thing: Any) -> str | None:
    """The file of a class or function of the user's."""
    try:
        found = inspect.getsourcefile(thing)
    except (OSError, TypeError):
        return None
    return None if found is None or found.startswith(TORCH) else found


@lru_cache(maxsize=256)
def class_in(filename: str, qualname: str) -> ast.ClassDef | None:
    """The definition of a class by its qualified name; the last one where there are several."""
    tree = parsed(filename)
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


def variables(scope: ast.AST, *, deep: bool = True) -> Iterator[tuple[str, ast.expr]]:
    """What is assigned to names."""
    nodes = ast.walk(scope) if deep else iter(getattr(scope, "body", ()))
    for node in nodes:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    yield from _unpacked(target, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _unpacked(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    match target, value:
        case ast.Name(id=name), _:
            yield name, value
        case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
            for one, other in zip(targets, values, strict=True):
                yield from _unpacked(one, other)


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
