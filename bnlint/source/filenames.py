"""Names of files: what `os.path` and `pathlib` make of those that are known, and where they lead."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from bnlint.source.values import Args, Const, Place, Sym, Value, known

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

MARKS: Final = (".git", os.path.join(".git", "HEAD"), "pyproject.toml", "setup.py", "setup.cfg")
"""What stands in the root of a project."""
HIGHEST: Final = 4
"""So many folders above the linted ones are asked whether they are the root of the project."""


def same(path: Any) -> Any:
    """Whether a path is absolute, and what links it has, is asked when its file is looked for."""
    return path


def here(*_: Any) -> str:
    """The folder that a program runs in: relative names are looked for in all that it may be."""
    return "."


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "os.path.join": posixpath.join,
    "os.path.dirname": posixpath.dirname,
    "os.path.basename": posixpath.basename,
    "os.path.normpath": posixpath.normpath,
    "os.path.abspath": same,
    "os.path.realpath": same,
    "os.path.expanduser": same,
    "os.fspath": os.fspath,
    "os.getcwd": here,
    "hydra.utils.get_original_cwd": here,
    "hydra.utils.to_absolute_path": same,
    "pathlib.Path": PurePosixPath,
    "pathlib.PurePath": PurePosixPath,
    "pathlib.Path.cwd": lambda *_: PurePosixPath(),
    "builtins.str": str,
}
ATTRIBUTES: Final = frozenset({"parent", "name", "stem", "suffix"})
METHODS: Final[dict[str, Callable[..., Any]]] = {
    "joinpath": PurePosixPath.joinpath,
    "with_name": PurePosixPath.with_name,
    "with_suffix": PurePosixPath.with_suffix,
    "as_posix": PurePosixPath.as_posix,
    "resolve": same,
    "absolute": same,
    "expanduser": same,
}


class Filenames:
    """Computes names of files, and finds the files."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.top = ""

    # what a name is

    def computed(self, function: Callable[..., Any], given: list[Value], what: str) -> Value | None:
        """The result of a function of names; what is made of an option is one by default."""
        constants = [known(value) for value in given]
        plain = [c.value for c in constants if c is not None and isinstance(c.value, str | PurePosixPath)]
        if len(plain) != len(given):
            return None
        try:
            made = Const(function(*plain))
        except (TypeError, ValueError):
            return None
        if all(isinstance(value, Const) for value in given):
            return made
        keys = tuple(map(self.run.operators.key, given))
        name = next((v.name for v in given if isinstance(v, Sym)), "")
        return Sym(("path", what, *keys), name, made)

    def call(self, path: str, args: Args) -> Value | None:
        """A function of `os.path`, or `Path(…)`; None where a name is not known."""
        function = FUNCTIONS.get(path)
        if function is None or args.open or any(arg.name for arg in args.items):
            return None
        return self.computed(function, [self.run.force(arg.value) for arg in args.items], path)

    def attribute(self, base: Const | Sym, attr: str) -> Value | None:
        """`path.parent`"""
        if attr not in ATTRIBUTES:
            return None
        return self.computed(lambda path: getattr(path, attr), [base], attr)

    def method(self, base: Const | Sym, name: str, args: Args, place: Place) -> Value | None:
        """`path.joinpath("a")`, `path.open()`, `path.read_text()`"""
        if name in {"open", "read_text", "read_bytes"}:
            return self.run.configs.opened(base, place)
        function = METHODS.get(name)
        given = [base, *(self.run.force(arg.value) for arg in args.positional())]
        return None if function is None else self.computed(function, given, name)

    # where it leads

    def find(self, name: str) -> list[str]:
        """The files of the project that a name may mean: a program may run in any folder around it."""
        if posixpath.isabs(name):
            return [path for path in [os.path.normpath(name)] if self.is_ours(path)]
        folders = dict.fromkeys(folder for frame in self.run.frames for folder in self.around(frame.filename))
        paths = dict.fromkeys(os.path.normpath(os.path.join(folder, name)) for folder in folders)
        return [path for path in paths if self.is_ours(path)]

    def around(self, filename: str) -> Iterator[str]:
        """The folders around a file, up to the root of the project."""
        folder = os.path.dirname(filename)
        while True:
            yield folder
            if folder in {self.root(), os.path.dirname(folder)} or not folder.startswith(self.root()):
                return
            folder = os.path.dirname(folder)

    def is_ours(self, path: str) -> bool:
        """Whether there is such a file in the project, also if links are followed."""
        root = self.root()
        if not path.startswith(root + os.sep) or not self.run.project.disk.is_file(path):
            return False
        return not os.path.exists(path) or os.path.realpath(path).startswith(os.path.realpath(root) + os.sep)

    def root(self) -> str:
        """The folder of the project: the one above the linted files that looks like it, if one does."""
        if not self.top:
            self.top = self.run.project.limit
            folder = self.top
            for _ in range(HIGHEST):
                if any(self.run.project.disk.is_file(os.path.join(folder, mark)) for mark in MARKS):
                    self.top = folder
                    break
                folder = os.path.dirname(folder)
        return self.top
