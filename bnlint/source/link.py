"""Link: the summaries of a project become one program. Names lead across files; nothing is imported."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bnlint.facts import UNKNOWN, Unknown
from bnlint.source import summary as ir
from bnlint.source import zoo
from bnlint.source.disk import Disk
from bnlint.source.extract import extract, extract_old
from bnlint.source.frameworks import DRIVING, framework_of
from bnlint.source.layers import CONTAINERS, LAYERS
from bnlint.source.read import Unreadable
from bnlint.source.values import (
    Args,
    ClassVal,
    Const,
    External,
    Module,
    Partial,
    Sym,
    Value,
    fresh,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

BUILTINS: Final = frozenset(dir(builtins))
SOURCES: Final = "src"
"""A folder that projects keep their packages in, which is on the path of what stands beside it."""
MODULE_FUEL: Final = 20_000
"""Statements that the body of one file may take."""
COMMON: Final = frozenset(
    {*dir(dict), *dir(list), *dir(str), *dir(set), "dict", "list", "set", "str", "super", "__init__"}
)
"""Names of so many methods that a call by one of them says nothing of who is called."""
ACTING: Final = frozenset({"mode", "step", "loader", "state", "forward", "export"})
"""What a function must be about for its call to matter beyond its result."""


class Project:
    """The files of a project, how they import each other, and which of their functions matter."""

    def __init__(self, summaries: dict[str, ir.Summary], disk: Disk) -> None:
        self.summaries = summaries
        self.disk = disk
        self.modules: dict[str, Module] = {}
        self.started: set[str] = set()
        self.classes: list[ClassVal] = []
        self.found: dict[tuple[str, str], str | None] = {}
        self.files: dict[tuple[str, str], str | None] = {}
        self.limit = common_root(summaries, disk)
        self.roots = self.package_roots()
        self.driving = {name for summary in summaries.values() for name in driven_by(summary)}
        self.acting = self.names_that_act(summaries.values())

    # what matters

    def names_that_act(self, summaries: Iterable[ir.Summary]) -> set[str]:
        """The names of functions that do something to a model, themselves or through others."""
        callers: dict[str, set[str]] = {}
        acting: set[str] = set()
        for function in functions_of(summaries):
            if function.words & ACTING or function.name in self.driving:
                acting.add(function.name)
            for name in function.calls - COMMON:
                callers.setdefault(name, set()).add(function.name)
        pending = list(acting)
        while pending:
            for name in callers.get(pending.pop(), ()):
                if name not in acting:
                    acting.add(name)
                    pending.append(name)
        return acting

    def matters(self, function: ir.Function) -> bool:
        """Whether a call of this function may do more than compute its result."""
        return bool(function.words & ACTING) or function.name in self.acting

    # modules

    def package_roots(self) -> dict[str, Path | None]:
        """The folder that each package of the project lies in; None for names that are there twice."""
        roots: dict[str, Path | None] = {}
        tops: dict[Path, Path | None] = {}
        for folder in {Path(name).parent for name in self.summaries}:
            top = self.top(folder, tops)
            if top is not None:
                same = roots.setdefault(top.name, top.parent) == top.parent
                roots[top.name] = top.parent if same else None
        return roots

    def top(self, folder: Path, known: dict[Path, Path | None]) -> Path | None:
        """The outermost package that a folder belongs to; None if it is in no package."""
        if folder not in known:
            inside = folder != folder.parent and self.disk.is_file(str(folder / "__init__.py"))
            known[folder] = (self.top(folder.parent, known) or folder) if inside else None
        return known[folder]

    def module(self, filename: str) -> Module | None:
        """A file of the project; its body runs when somebody first looks inside."""
        module = self.modules.get(filename)
        if module is None:
            summary = self.summaries.get(filename)
            if summary is None:
                summary = self.read(filename)
            if summary is None:
                return None
            path = Path(filename)
            module = Module(path.stem, filename, fresh(), path.name == "__init__.py", summary)
            self.modules[filename] = module
        return module

    def read(self, filename: str) -> ir.Summary | None:
        """A file beside the linted ones, to which an import leads."""
        try:
            summary = self.extracted(self.disk.read(filename), filename)
        except (OSError, Unreadable, RecursionError):
            return None
        if summary is not None:
            self.summaries[filename] = summary
        return summary

    def extracted(self, data: bytes, filename: str) -> ir.Summary | None:
        try:
            return extract(data, filename)
        except Unreadable:
            return extract_old(data, filename)

    def start(self, run: Interpreter, module: Module) -> None:
        """Run the body of a file, once."""
        if module.filename in self.started:
            return
        from bnlint.source.interpret import OutOfFuel

        self.started.add(module.filename)
        fuel, run.fuel = run.fuel, MODULE_FUEL
        flags = run.eager, run.class_here, run.inside_forward
        run.eager, run.class_here, run.inside_forward = False, None, False
        try:
            run.run_module(module)
        except OutOfFuel:
            pass
        finally:
            run.fuel = fuel
            run.eager, run.class_here, run.inside_forward = flags

    def member(self, run: Interpreter, module: Module, name: str) -> Value:
        """`module.name`: something that its body defines, or a file below it."""
        self.start(run, module)
        found: Value | None = run.root.get((module.key, name)) or run.state.get((module.key, name))
        if found is not None:
            return found
        if module.package:
            below = self.file_of(os.path.dirname(module.filename), name)
            inner = None if below is None else self.module(below)
            if inner is not None:
                return inner
        found = self.from_stars(run, module, name) if module.stars else None
        if found is not None:
            return found
        if name == "__dict__":
            from bnlint.source.values import Bound

            return Bound(module, "__dict__")
        return Sym(("global", module.key, name), name)

    def from_stars(self, run: Interpreter, module: Module, name: str) -> Value | None:
        """A name that one of a file's star imports brings, the last one first."""
        outer, self.searching = self.searching, self.searching | {module.key}
        try:
            found = (self.from_star(run, star, name) for star in reversed(module.stars))
            return next((value for value in found if value is not None), None)
        finally:
            self.searching = outer

    def from_star(self, run: Interpreter, star: Value, name: str) -> Value | None:
        match star:
            case Module():
                found = self.member(run, star, name) if star.key not in self.searching else None
                return None if isinstance(found, Sym) and found.key == ("global", star.key, name) else found
            case External(path="torch.nn") if name in LAYERS or name in CONTAINERS or name == "Module":
                return External(f"torch.nn.{name}")
            case External(path=path) if path.startswith("torch.nn.modules"):
                return External(f"torch.nn.{name}") if name in LAYERS else None
        return None

    searching: frozenset[int] = frozenset()

    def global_name(self, run: Interpreter, module: Module, name: str) -> Value:
        """A name that no scope of a function holds."""
        found = self.from_stars(run, module, name) if module.stars else None
        if found is not None:
            return found
        if name in BUILTINS:
            return External(f"builtins.{name}")
        return Sym(("global", module.key, name), name)

    # imports

    def bind_import(self, run: Interpreter, node: ir.Import) -> None:
        frame = run.frame
        target = self.resolve(run, frame.module, node)
        if node.member == "*":
            frame.module.stars.append(target)
            return
        run.define(frame.key, node.name, target)

    def resolve(self, run: Interpreter, module: Module, node: ir.Import) -> Value:
        """What an import statement binds."""
        path = node.path
        if node.member is None:
            wanted = (
                path if "." not in path or node.name != path.partition(".")[0] else path.partition(".")[0]
            )
            found = self.import_file(module, wanted, 0)
            return found or External(wanted)
        home = self.import_file(module, path, node.level)
        if home is None:
            if node.level:
                return Sym(("import", module.key, path, node.member), node.member)
            return External(path if node.member == "*" else f"{path}.{node.member}")
        if node.member == "*":
            self.start(run, home)
            return home
        return self.member(run, home, node.member)

    def import_file(self, module: Module, path: str, level: int) -> Module | None:
        filename = self.locate(module.filename, path, level)
        if filename is None or (filename == module.filename and not level and not path):
            return None
        return self.module(filename)

    def locate(self, importer: str, path: str, level: int) -> str | None:
        """The file that a dotted path leads to, seen from a file."""
        home = os.path.dirname(importer)
        for _ in range(level - 1):
            home = os.path.dirname(home)
        if level:
            return self.file_of(home, path)
        found = self.search(home, path)
        if found is not None:
            return found
        root = self.roots.get(path.partition(".")[0])
        return None if root is None else self.file_of(str(root), path)

    def search(self, home: str, path: str) -> str | None:
        """The file that a dotted path leads to from a folder or from one of those around it."""
        key = (home, path)
        if key not in self.found:
            found = self.file_of(home, path) or self.file_of(os.path.join(home, SOURCES), path)
            around = os.path.dirname(home)
            if found is None and home not in {self.limit, around} and home.startswith(self.limit):
                found = self.search(around, path)
            self.found[key] = found
        return self.found[key]

    def file_of(self, folder: str, path: str) -> str | None:
        """`a/b.py` or `a/b/__init__.py` below a folder."""
        key = (folder, path)
        if key not in self.files:
            self.files[key] = self.look_for(folder, path)
        return self.files[key]

    def look_for(self, folder: str, path: str) -> str | None:
        base = os.path.join(folder, *path.split(".")) if path else folder
        for name in (f"{base}.py", os.path.join(base, "__init__.py")):
            if name in self.summaries or (name.startswith(self.limit) and self.disk.is_file(name)):
                return name
        return None

    # libraries

    def knows_model(self, path: str, args: Args) -> bool:
        """Whether a call outside the project makes a model."""
        return path == "torch.load" or self.known_model(path, args) is not None

    def known_model(self, path: str, args: Args) -> zoo.Known | None:
        """What is known of the model that a call of a library makes; None where it makes none."""
        return zoo.find(path, given(args)) if zoo.is_home(path) else None

    def comes_in_train_mode(self, path: str, args: Args) -> bool:
        """Whether a call outside the project makes a module that is in train mode."""
        if path.startswith("torch.nn."):
            return True
        known = self.known_model(path, args)
        return known is not None and known.mode == "train"


def given(args: Args) -> zoo.Given:
    """The arguments of a call, as plain as they are known."""
    found: dict[int | str | Unknown, object] = {UNKNOWN: True} if args.open else {}
    found.update(enumerate(plain(a.value) for a in args.positional()))
    found.update({a.name: plain(a.value) for a in args.items if a.name is not None})
    return found


def plain(value: Value) -> object:
    """A constant, or the name of a class."""
    match value:
        case Const(value=constant):
            return constant
        case External(path=path):
            return path
        case ClassVal(klass=klass):
            return klass.name
        case Partial(func=func):
            return plain(func)
    return UNKNOWN


def common_root(filenames: Iterable[str], disk: Disk) -> str:
    """The folder that holds all of these files, or the package around it."""
    names = list(filenames)
    if not names:
        return os.sep
    root = Path(os.path.commonpath([str(Path(n).parent) for n in names]))
    while disk.is_file(str(root / "__init__.py")) and root != root.parent:
        root = root.parent
    return str(root)


def driven_by(summary: ir.Summary) -> Iterator[str]:
    """The functions of a file that may let a framework run a model."""
    imports = (stmt.path for stmt in summary.body if isinstance(stmt, ir.Import) and not stmt.level)
    if any(framework_of(path) is not None for path in imports):
        yield from (function.name for function in functions_of([summary]) if function.calls & DRIVING)


def functions_of(summaries: Iterable[ir.Summary]) -> Iterable[ir.Function]:
    """Every function and method of these files, also the nested ones."""
    pending: list[ir.Stmt] = [stmt for summary in summaries for stmt in summary.body]
    while pending:
        stmt = pending.pop()
        match stmt:
            case ir.Function(inner=inner):
                yield stmt
                pending.extend(stmt.body if inner is None else inner)
            case ir.Class(body=body):
                pending.extend(body)
            case (
                ir.If(body=body, other=other)
                | ir.For(body=body, other=other)
                | ir.While(body=body, other=other)
            ):
                pending.extend(body)
                pending.extend(other)
            case ir.With(body=body):
                pending.extend(body)
            case ir.Try(body=body, handlers=handlers, other=other, final=final):
                pending.extend((*body, *other, *final, *(s for h in handlers for s in h)))
