"""Where in the source a layer of a live model is built, and where something was called.

A layer's path leads to the class of the user's that assigns it, `self.bn = nn.BatchNorm2d(8)`, and into the
literal containers there. A model that is no class of the user's is looked for in the function that built it,
or where the variable that was passed is assigned. What is not found has the place where the check was
called.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from bnlint.finding import Where
from bnlint.trace.written import (
    CONTAINERS,
    Expression,
    added,
    argument,
    attributes,
    counted,
    defined,
    descend,
    forget,
    function_in,
    is_empty,
    is_written,
    last_word,
    parsed,
    source_of,
    span,
    variables,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType, FrameType

    from bnlint.facts import Setting
    from bnlint.trace.spots import Spot


def called(spot: Spot | None, module: str | None = None) -> Where | None:
    """The call that a spot is at: exact from Python 3.11 on, before that its line; None in generated code."""
    if spot is None or not is_written(spot.code.co_filename):
        return None
    filename = spot.code.co_filename
    positions = getattr(spot.code, "co_positions", None)
    if positions is not None:
        row, end_row, column, end = _nth(positions(), spot.instruction // 2)
        if row and end_row and column is not None and end is not None:
            return counted(filename, row, column, end_row, end, module)
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
        forget()
        self._expressions: dict[str, Expression | None] = {}
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

    def built_by_model(self, path: str) -> Where | None:
        """The place where the model's own code builds the layer at this path, or a block around it."""
        found = self._within([], path.split("."))
        return None if found is None else found.where(path)

    def passed(self, path: str, cls: str, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """Those settings of the layer at a path that its call passes, with their places.

        `cls` is the class as torch calls it, and the settings come in the order of its parameters: only what
        is called by this name passes them by position. A constant that is not what the layer has is none of
        it.
        """
        found = self._expression(path)
        call = None if found is None else found.node
        if found is None or not isinstance(call, ast.Call) or last_word(call.func) in CONTAINERS:
            return {}
        result = {}
        for index, (name, setting) in enumerate(settings.items()):
            position = index if last_word(call.func) == cls else len(call.args)
            given = argument(call, position, name)
            if given is None or (isinstance(given, ast.Constant) and given.value != setting.value):
                continue
            place = span(given, found.filename, path)
            result[name] = replace(setting, where=place, position=index if given in call.args else None)
        return result

    def attribute(self, module: nn.Module, path: str, name: str) -> Where:
        """The place that assigns an attribute of a module, or, if that is not found, builds the module."""
        found = _assigned(type(module), name.partition(".")[0], None)
        return self.built(path) if found is None else found.where(path or None)

    def calling(self, spot: Spot | None, module: str | None = None) -> Where:
        """The call that a spot is at, or, where no file has it, the place that builds the module."""
        found = called(spot, module)
        if found is None:
            found = replace(self.check, module=module) if module is None else self.built(module)
        return found

    def feeding(self) -> Where:
        """The place that builds the loader."""
        return self._loader.where() if self._loader is not None else self.check

    def _expression(self, path: str) -> Expression | None:
        """The innermost expression that is known to build what stands at a path."""
        if path not in self._expressions:
            self._expressions[path] = self._found(path)
        return self._expressions[path]

    def _found(self, path: str) -> Expression | None:
        parts = path.split(".") if path else []
        owners = ((parts[:depth], parts[depth:]) for depth in range(len(parts) - 1, -1, -1))
        made = next(filter(None, (self._within(*one) for one in owners)), None)
        return made if made is not None or self._root is None else descend(self._root, parts)

    def _within(self, owner: list[str], parts: list[str]) -> Expression | None:
        """What the class of the module at the path `owner` assigns to what stands below it."""
        holder, child = self._modules.get(".".join(owner)), self._modules.get(".".join([*owner, parts[0]]))
        made = None if holder is None else _assigned(type(holder), parts[0], child)
        if holder is None or made is None:
            return None
        filled = added(type(holder), parts[0], parts[1]) if len(parts) > 1 and is_empty(made.node) else None
        return descend(made, parts[1:]) if filled is None else descend(filled, parts[2:])


def _assigned(cls: type, name: str, child: object) -> Expression | None:
    """The expression that a class of the user's assigns to `self.name`; None where several could be meant."""
    for base in cls.__mro__:
        if base is nn.Module:
            return None
        filename, node = defined(base)
        if node is None:
            continue
        values = [value for target, value in attributes(node) if target == name]
        if len(values) > 1:
            values = [
                value
                for value in values
                if isinstance(value, ast.Call) and last_word(value.func) == type(child).__name__
            ]
        if len(values) == 1 and not _makes_another(values[0], child):
            return Expression(values[0], filename)
        if values:
            return None
    return None


def _makes_another(value: ast.expr, child: object) -> bool:
    """Does an expression build a layer of another class than the one that stands there now?"""
    name = last_word(value.func) if isinstance(value, ast.Call) else ""
    return isinstance(child, nn.Module) and hasattr(nn, name) and name != type(child).__name__


def _returned(factory: Any) -> Expression | None:
    """What a function returns, if it is one expression."""
    if not inspect.isfunction(factory):
        return None
    code: CodeType | None = getattr(inspect.unwrap(factory), "__code__", None)
    filename = source_of(factory) if code is not None else None
    if code is None or filename is None:
        return None
    node = function_in(filename, code.co_firstlineno, code.co_name)
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
        and last_word(node.func) in {"check", "watch"}
    ]
    passed = argument(calls[0], position, ("model", "loader")[position]) if len(calls) == 1 else None
    if passed is None:
        return None
    scope = function_in(filename, caller.f_code.co_firstlineno, caller.f_code.co_name) or tree
    return _resolved(passed, scope, filename, caller.f_globals)


def _named(func: ast.expr, names: dict[str, Any]) -> Any:
    """What a name, or an attribute of a module, stands for."""
    match func:
        case ast.Name(id=name):
            return names.get(name)
        case ast.Attribute(value=ast.Name(id=name), attr=attr) if inspect.ismodule(names.get(name)):
            return getattr(names[name], attr, None)
    return None


def _resolved(
    node: ast.expr, scope: ast.AST, filename: str, names: dict[str, Any], depth: int = 4
) -> Expression | None:
    """What an expression stands for: through names that are assigned once, and functions with one return."""
    if depth == 0:
        return None
    match node:
        case ast.Name(id=name):
            values = [value for target, value in variables(scope) if target == name]
            if not values and (tree := parsed(filename)) is not None and tree is not scope:
                values = [value for target, value in variables(tree, deep=False) if target == name]
            return _resolved(values[0], scope, filename, names, depth - 1) if len(values) == 1 else None
        case ast.Call(
            func=ast.Attribute(
                value=inner, attr="eval" | "train" | "to" | "cuda" | "float" | "double" | "half"
            )
        ):
            return _resolved(inner, scope, filename, names, depth)
        case ast.Call(func=func) if inspect.isfunction(function := _named(func, names)):
            return _returned(function) or Expression(node, filename)
        case ast.Call() | ast.List() | ast.Tuple() | ast.ListComp():
            return Expression(node, filename)
    return None


def _asked(origin: Origin) -> Where:
    """The line that asks for the check, or that begins what made the model."""
    if origin.frame is not None:
        return Where(origin.frame.f_code.co_filename, origin.frame.f_lineno or 1)
    code = getattr(origin.model, "__code__", None)
    if code is not None:
        return Where(code.co_filename, code.co_firstlineno)
    cls = origin.model if isinstance(origin.model, type) else type(origin.model)
    filename, node = defined(cls)
    return Where(filename or source_of(cls) or f"<{cls.__module__}>", node.lineno if node is not None else 1)
