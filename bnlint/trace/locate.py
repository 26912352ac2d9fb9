"""Where in the source a layer of a live model is built, and where something was called.

A layer's path leads to the class of the user's that assigns it, `self.bn = nn.BatchNorm2d(8)`, and into the
literal containers there. A model that is no class of the user's is looked for in the function that built it, or
where the variable that was passed is assigned. What is not found has the place where the check was called.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from bnlint.finding import Where

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType, FrameType

    from bnlint.facts import Setting
    from bnlint.trace.nodes import Spot

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
    return _counted(filename, node.lineno, node.col_offset, end_row, end, module)


def _counted(  # noqa: PLR0913, PLR0917
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


def called(spot: Spot, module: str | None = None) -> Where:
    """The call that a spot is at: exact from Python 3.11 on, before that its line."""
    filename = spot.code.co_filename
    positions = getattr(spot.code, "co_positions", None)
    if positions is not None:
        row, end_row, column, end = _nth(positions(), spot.instruction // 2)
        if row and end_row and column is not None and end is not None:
            return _counted(filename, row, column, end_row, end, module)
    return Where(filename, spot.row, module=module)


def _nth(positions: Iterator[Any], number: int) -> tuple[int | None, int | None, int | None, int | None]:
    for index, position in enumerate(positions):
        if index == number:
            return tuple(position)
    return (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who knows where a model and its loader are written: the code that asks, or the functions that made them."""

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

    def built_by_model(self, path: str) -> Where | None:
        """The place where the model's own code builds the layer at this path, or a block around it."""
        found = self._within([], path.split("."))
        return None if found is None else found.where(path)

    def passed(self, path: str, cls: str, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """Those settings of the layer at a path that its call passes, with their places.

        `cls` is the class as torch calls it, and the settings come in the order of its parameters: only what
        is called by this name passes them by position. A constant that is not what the layer has is none of it.
        """
        found = self._expression(path)
        call = None if found is None else found.node
        if found is None or not isinstance(call, ast.Call) or _last(call.func) in CONTAINERS:
            return {}
        result = {}
        for index, (name, setting) in enumerate(settings.items()):
            position = index if _last(call.func) == cls else len(call.args)
            argument = _argument(call, position, name)
            if argument is None or (isinstance(argument, ast.Constant) and argument.value != setting.value):
                continue
            place = span(argument, found.filename, path)
            result[name] = replace(setting, where=place, position=index if argument in call.args else None)
        return result

    def feeding(self) -> Where:
        """The place that builds the loader."""
        return self._loader.where() if self._loader is not None else self.check

    def _expression(self, path: str) -> Expression | None:
        """The innermost expression that is known to build what stands at a path."""
        parts = path.split(".") if path else []
        owners = ((parts[:depth], parts[depth:]) for depth in range(len(parts) - 1, -1, -1))
        made = next(filter(None, (self._within(*one) for one in owners)), None)
        return made if made is not None or self._root is None else _descend(self._root, parts)

    def _within(self, owner: list[str], parts: list[str]) -> Expression | None:
        """What the class of the module at the path `owner` assigns to what stands below it."""
        holder, child = self._modules.get(".".join(owner)), self._modules.get(".".join([*owner, parts[0]]))
        made = None if holder is None else _assigned(type(holder), parts[0], child)
        if holder is None or made is None:
            return None
        added = _added(type(holder), parts[0], parts[1]) if len(parts) > 1 and _is_empty(made.node) else None
        return _descend(made, parts[1:]) if added is None else _descend(added, parts[2:])


def _descend(found: Expression, parts: list[str]) -> Expression:
    """Into the literal containers of an expression, as far as they are literal."""
    for part in parts:
        inner = _element(found.node, part)
        if inner is None:
            break
        found = Expression(inner, found.filename)
    return found


def _is_empty(node: ast.expr) -> bool:
    """Is this a container that is filled later?"""
    match node:
        case ast.List(elts=[]) | ast.Dict(keys=[]) | ast.Call(args=[], keywords=[]):
            return True
        case ast.Call(func=func, args=[inner], keywords=[]):
            return _last(func) in CONTAINERS and _is_empty(inner)
    return False


def _added(cls: type, name: str, part: str) -> Expression | None:
    """What is added to `self.name` as `part`: under this name, or by the only `append` that there is."""
    filename, node = next(filter(lambda found: found[1], map(_defined, cls.__mro__)), ("", None))
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
        case ast.Call(func=func, args=[inner], keywords=[]) if _last(func) in CONTAINERS:
            found = None if isinstance(inner, ast.Starred) else _element(inner, part)
            return _at([inner], part) if found is None else found
        case ast.Call(func=func, args=args, keywords=keywords) if _last(func) in CONTAINERS:
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


def _last(func: ast.expr) -> str:
    """The last word of what is called."""
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _assigned(cls: type, name: str, child: object) -> Expression | None:
    """The expression that a class of the user's assigns to `self.name`; None where several could be meant."""
    for base in cls.__mro__:
        if base is nn.Module:
            return None
        filename, node = _defined(base)
        if node is None:
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


def _defined(cls: type) -> tuple[str, ast.ClassDef | None]:
    """The file that defines a class of the user's, and the definition; None where it cannot be read."""
    for filename in _files(cls):
        tree = parsed(filename)
        node = None if tree is None else _class(tree, cls.__qualname__)
        if node is not None:
            return filename, node
    return "", None


def _files(cls: type) -> Iterator[str]:
    """Where a class may be defined: of a notebook's cell, or of executed code, only its functions know."""
    functions = (inspect.unwrap(one) for one in vars(cls).values() if inspect.isfunction(one))
    found = dict.fromkeys(one.__code__.co_filename for one in functions if inspect.isfunction(one))
    yield from (name for name in found if not name.startswith(TORCH))
    named = _file(cls)
    if named is not None and named not in found:
        yield named


@lru_cache(maxsize=256)
def _attributes(cls: ast.ClassDef) -> tuple[tuple[str, ast.expr], ...]:
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


def _file(thing: Any) -> str | None:
    """The file of a class or function of the user's."""
    try:
        found = inspect.getsourcefile(thing)
    except (OSError, TypeError):
        return None
    return None if found is None or found.startswith(TORCH) else found


@lru_cache(maxsize=256)
def _class(tree: ast.Module, qualname: str) -> ast.ClassDef | None:
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
    passed = _argument(calls[0], position, ("model", "loader")[position]) if len(calls) == 1 else None
    if passed is None:
        return None
    scope = _function(filename, caller.f_code.co_firstlineno, caller.f_code.co_name) or tree
    return _resolved(passed, scope, filename, caller.f_globals)


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """What a call passes for a parameter, where that can be told."""
    named = [one.value for one in call.keywords if one.arg == name]
    if named:
        return named[0]
    several = any(isinstance(one, ast.Starred) for one in call.args[: position + 1])
    return None if several or len(call.args) <= position else call.args[position]


def _resolved(
    node: ast.expr, scope: ast.AST, filename: str, names: dict[str, Any], depth: int = 4
) -> Expression | None:
    """What an expression stands for: through names that are assigned once, and functions that return one thing."""
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
        for target, value in _assigns(node):
            if isinstance(target, ast.Name):
                yield target.id, value


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
    filename, node = _defined(cls)
    return Where(filename or _file(cls) or f"<{cls.__module__}>", node.lineno if node is not None else 1)
