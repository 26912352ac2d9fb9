"""flake8: `flake8 --select BN`. Each run of flake8 loads this module, so it imports nothing heavy.

flake8 hands over one file at a time, in several processes. What it shows is what `bnlint` finds in the
paths that it was given, linted once, together: alone, each file would have to be read with all that
it imports, and those who import it would be missing. Standard input is such a file, read from
flake8's lines. flake8 knows no severities: what is below `fail-on` is not told. Wrong settings end it
with a message; a fault of bnlint does not.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bnlint import __version__

if TYPE_CHECKING:
    import argparse
    import ast
    from collections.abc import Iterator, Mapping, Sequence

    from bnlint.config import Settings
    from bnlint.plugins.once import Once

CODE = "BN"


@dataclass(frozen=True, slots=True)
class Told:
    """What flake8 is told of each file: rows, columns from 0, and texts. `fault` is told of any file."""

    lines: Mapping[str, list[tuple[int, int, str]]] = field(default_factory=dict)
    fault: str = ""

    def packed(self) -> bytes:
        """As other processes read it."""
        return json.dumps([self.lines, self.fault]).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> Told:
        """As another process has packed it."""
        return cls(*json.loads(data))


class Plugin:
    """What flake8 makes for each file. It asks for the tree only to be called once per file."""

    name = "bnlint"
    version = __version__
    options: argparse.Namespace
    paths: tuple[str, ...]
    project: Once
    told: Told | None = None

    def __init__(self, tree: ast.AST, filename: str, lines: Sequence[str]) -> None:  # noqa: ARG002
        self.filename = os.path.abspath(filename)
        self.lines = lines

    @classmethod
    def parse_options(cls, options: argparse.Namespace) -> None:
        """Be ready for what flake8 was asked to look at, before it forks."""
        cls.options = options
        cls._look_at(_paths(options))

    @classmethod
    def _look_at(cls, paths: tuple[str, ...]) -> None:
        from bnlint.plugins.once import Once

        options = cls.options
        cls.paths, cls.project, cls.told = paths, Once(lambda: _lint(paths, options).packed()), None

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """What is to be said of this file."""
        if not _is_wanted(self.options) or self.filename.endswith(".ipynb"):
            return  # flake8 takes the JSON of a notebook for Python: its rows would mean nothing
        told = self._told()
        for row, column, text in told.lines.get(self.filename, ()):
            yield row, column, text, type(self)
        if told.fault:
            yield 1, 0, told.fault, type(self)

    def _told(self) -> Told:
        paths = _paths(self.options)
        if "-" in paths:
            return _lint([self.filename], self.options, {self.filename: encoded(self.lines)})
        if paths != self.paths:  # who calls flake8 from Python sets them after the options, and again
            self._look_at(paths)
        if self.told is None:
            type(self).told = Told.unpacked(self.project.get())
        return self.told or Told()


def encoded(lines: Sequence[str]) -> bytes:
    """A text in the encoding that it declares, by which it is going to be read."""
    import io
    import tokenize

    text = "".join(lines)
    data = text.encode("utf-8", "replace")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return text.encode(encoding)
    except (SyntaxError, UnicodeError):  # flake8 has read it as Latin-1
        return data


def _paths(options: argparse.Namespace) -> tuple[str, ...]:
    """What flake8 was asked to look at: the current folder if nothing was named."""
    return tuple(options.filenames or ()) or (".",)


def _is_wanted(options: argparse.Namespace) -> bool:
    """Does flake8's choice leave any of our codes? Where it has none, all plugins are on."""
    chosen = (*(options.select or ()), *(options.extend_select or ()))
    return not options.select or any(one.startswith(CODE) or CODE.startswith(one) for one in chosen)


def _lint(
    paths: Sequence[str], options: argparse.Namespace, contents: Mapping[str, bytes] | None = None
) -> Told:
    """Lint as `bnlint` does; but what flake8 does not ask for is not looked at."""
    from bnlint.config import ConfigError, load
    from bnlint.pipeline import internal_fault

    try:
        settings = load(paths, {})
        patterns = (*settings.exclude, *options.exclude, *options.extend_exclude)
        return Told(_lines(paths, replace(settings, exclude=patterns), contents or {}))
    except ConfigError as problem:
        from flake8.exceptions import ExecutionError  # type: ignore[import-untyped,unused-ignore]

        raise ExecutionError(f"bnlint: {problem}") from problem
    except Exception as problem:
        fault = internal_fault(problem, "", "in flake8")
        return Told(fault=f"{fault.code} {fault.name}: {' '.join(fault.message.split())}")


def _lines(
    paths: Sequence[str], settings: Settings, contents: Mapping[str, bytes]
) -> Mapping[str, list[tuple[int, int, str]]]:
    """What is to be said of each file, on one line each."""
    from bnlint.pipeline import run
    from bnlint.report._excerpt import visible

    told: dict[str, list[tuple[int, int, str]]] = {}
    for one in filter(settings.fails, run(paths, settings, contents).findings):
        line = one.where.row, one.where.column - 1, f"{one.code} {one.name}: {visible(one.message)}"
        told.setdefault(one.where.filename, []).append(line)
    return told
