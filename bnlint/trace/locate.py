"""Where in the source a layer of a live model is built, and where something was called.

A layer's path leads to the class of the user's that assigns it, `self.bn = nn.BatchNorm2d(8)`, and into the
literal containers there. A model that is no class of the user's is looked for in the function that built it,
or where the variable that was passed is assigned. What is not found has the place where the check was called.
"""

from __future__ import annotations

import ast
import inspect
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from bnlint.finding import Where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType

    from bnlint.trace.nodes import Spot

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


@lru_cache(maxsize=64)
def parsed(filename: str) -> ast.Module | None:
    """The syntax tree of a file; None where there is none to be read."""
    try:
        with open(filename, "rb") as file:
            return ast.parse(file.read(), filename)
    except (OSError, SyntaxError, ValueError):
        return None


def called(spot: Spot, module: str | None = None) -> Where:
    """The call that a spot is at: exact from Python 3.11 on, before that its line."""
    filename = spot.code.co_filename
    positions = getattr(spot.code, "co_positions", None)
    if positions is not None:
        row, end_row, column, end = _nth(positions(), spot.instruction // 2)
        if row and end_row and column is not None and end is not None:
            return Where(filename, row, column + 1, end_row, end + 1, module=module)
    return Where(filename, spot.row, module=module)


def _nth(positions: Iterator[Any], number: int) -> tuple[int | None, int | None, int | None, int | None]:
    for index, position in enumerate(positions):
        if index == number:
            return tuple(position)
    return (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who knows where a model and its loader are written: the code that asks, or functions that made them."""

    frame: FrameType | None = None
    model: Any = None
    loader: Any = None


class Places:
    """Where the layers of one model are built."""

    def __init__(self, model: nn.Module, origin: Origin) -> None:
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self.check = _asked(origin)
        self._root = _passed(origin.frame, 0) or _returned(origin.model)
        self._loader = _passed(origin.frame, 1) or _returned(origin.loader)

    def built(self, path: str) -> Where:
        """The place that builds the layer at this path."""
        found = self._expression(path)
        if found is not None:
            return found.where(path)
        return replace(self.check, module=path)

    def feeding(self) -> Where:
        """The place that builds the loader."""
        return self._loader.where() if self._loader is not None else self.check

    def _expression(self, path: str) -> Expression | None:
        """The innermost expression that is known to build what stands at a path."""
        parts = path.split(".") if path else []
        for depth in range(len(parts) - 1, -1, -1):
            owner = self._modules.get(".".join(parts[:depth]))
            made = (
                None
                if owner is None
                else _assigned(type(owner), parts[depth], self._modules.get(".".join(parts[: depth + 1])))
            )
            if made is not None:
                return _descend(made, parts[depth + 1 :])
        return None if self._root is None else _descend(self._root, parts)


def _descend(found: Expression, parts: list[str]) -> Expression:
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
        case ast.Call(func=func, args=args) if _last(func) in CONTAINERS:
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


def _last(func: ast.expr) -> str:
    """The last word of what is called."""
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _assigned(cls: type, name: str, child: object) -> Expression | None:
    """The expression that a class of the user's assigns to `self.name`; None where several could be meant."""
    for base in cls.__mro__:
        if base is nn.Module:
            return None
        filename = _file(base)
        node = None if filename is None else _class(filename, base.__qualname__)
        if filename is None or node is None:
            continue
        values = [value for target, value in _attributes(node) if target == name]
        if len(values) > 1:
            values = [
                value
                for value in values
                if isinstance(value, ast.Call) and _last(value.func) == type(child).__name__
            ]
        if len(values) == 1:
            return Expression(values[0], filename)
        if values:
            return None
    return None


@lru_cache(maxsize=256)
def _attributes(cls: ast.ClassDef) -> tuple[tuple[str, ast.expr], ...]:
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


def _file(thing: Any) -> str | None:
    """The file of a class or function of the user's."""
    try:
        found = inspect.getsourcefile(thing)
    except (OSError, TypeError):
        return None
    return None if found is None or found.startswith(TORCH) else found


@lru_cache(maxsize=256)
def _class(filename: str, qualname: str) -> ast.ClassDef | None:
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


# models that are no class of the user's


def _returned(factory: Any) -> Expression | None:
    """What a function returns, if it is one expression."""
    if not inspect.isfunction(factory):
        return None
    code: CodeType | None = getattr(inspect.unwrap(factory), "__code__", None)
    filename = _file(factory) if code is not None else None
    if code is None or filename is None:
        return None
    node = _function(filename, code.co_firstlineno, code.co_name)
    if node is None:
        return None
    values = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value is not None]
    return (
        _resolved(values[0], node, filename, getattr(factory, "__globals__", {}))
        if len(values) == 1
        else None
    )


def _passed(caller: FrameType | None, position: int) -> Expression | None:
    """What was passed to the check, where the call and the assignment of what it names can be read."""
    if caller is None:
        return None
    filename = caller.f_code.co_filename
    tree = parsed(filename)
    if tree is None:
        return None
    row = caller.f_lineno
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and node.lineno <= row <= (node.end_lineno or 0)
        and _last(node.func) in {"check", "watch"}
    ]
    if (
        len(calls) != 1
        or len(calls[0].args) <= position
        or any(isinstance(one, ast.Starred) for one in calls[0].args)
    ):
        return None
    scope = _function(filename, caller.f_code.co_firstlineno, caller.f_code.co_name) or tree
    return _resolved(calls[0].args[position], scope, filename, caller.f_globals)


def _resolved(
    node: ast.expr, scope: ast.AST, filename: str, names: dict[str, Any], depth: int = 4
) -> Expression | None:
    """What an expression stands for: through names that are assigned once, and functions with one return."""
    if depth == 0:
        return None
    match node:
        case ast.Name(id=name):
            values = [value for target, value in _variables(scope) if target == name]
            if not values and (tree := parsed(filename)) is not None and tree is not scope:
                values = [value for target, value in _variables(tree, deep=False) if target == name]
            return _resolved(values[0], scope, filename, names, depth - 1) if len(values) == 1 else None
        case ast.Call(
            func=ast.Attribute(
                value=inner, attr="eval" | "train" | "to" | "cuda" | "float" | "double" | "half"
            )
        ):
            return _resolved(inner, scope, filename, names, depth)
        case ast.Call(func=ast.Name(id=name)) if inspect.isfunction(names.get(name)):
            return _returned(names[name]) or Expression(node, filename)
        case ast.Call() | ast.List() | ast.Tuple() | ast.ListComp():
            return Expression(node, filename)
    return None


def _variables(scope: ast.AST, *, deep: bool = True) -> Iterator[tuple[str, ast.expr]]:
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


def _function(filename: str, row: int, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
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


def _asked(origin: Origin) -> Where:
    """The line that asks for the check, or that begins what made the model."""
    if origin.frame is not None:
        return Where(origin.frame.f_code.co_filename, origin.frame.f_lineno or 1)
    code = getattr(origin.model, "__code__", None)
    if code is not None:
        return Where(code.co_filename, code.co_firstlineno)
    cls = origin.model if isinstance(origin.model, type) else type(origin.model)
    filename = _file(cls)
    node = None if filename is None else _class(filename, cls.__qualname__)
    return Where(filename or f"<{cls.__module__}>", node.lineno if node is not None else 1)
