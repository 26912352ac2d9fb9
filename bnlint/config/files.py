"""Finding and reading the file of settings, and where in it a key stands."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnlint.config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE = "[tool.bnlint]"
_OURS = ("tool", "bnlint")


class Document:
    """A TOML file."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        self.text = text
        self.data = parse(text)

    @property
    def table(self) -> Any:
        """What stands below `[tool.bnlint]`; None if there is no such table."""
        return _below(self.data, _OURS)

    def row(self, path: Sequence[str]) -> int | None:
        """The line of a key below `[tool.bnlint]`: the last one before which valid text lacks it."""
        path = (*_OURS, *path)
        lines = self.text.replace("\r\n", "\n").split("\n")
        for row in range(len(lines), 0, -1):
            # Only lines that hold its name are tried: each try reads the text up to there.
            if path[-1] in lines[row - 1] and _is_valid_and_lacks("\n".join(lines[: row - 1]), path):
                return row
        return None


def find(paths: Sequence[str | os.PathLike[str]]) -> Path | None:
    """The nearest `pyproject.toml` upwards from the first path that has a table for bnlint."""
    document = nearest_document(paths)
    return document.file if document else None


def nearest_document(paths: Sequence[str | os.PathLike[str]]) -> Document | None:
    """The file that `find` finds, read."""
    start = Path(paths[0] if paths else ".").absolute()
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        # A file that does not name bnlint is none of its business: it is not even parsed.
        if os.path.isfile(file) and b"bnlint" in (data := _bytes(file)):
            document = _document(file, data)
            if document.table is not None:
                return document
    return None


def named_document(file: Path) -> Document:
    """A file that the user named; it has to have the table."""
    document = _document(file, _bytes(file))
    if document.table is None:
        raise ConfigError(f"{file}: has no table {TABLE}")
    return document


def parse(text: str) -> dict[str, Any]:
    """TOML; raises ValueError."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return found


def _document(file: Path, data: bytes) -> Document:
    try:
        document = Document(file, data.decode())
    except ValueError as problem:  # not UTF-8, or not TOML
        raise ConfigError(_placed(file, str(problem))) from problem
    if not isinstance(document.table, dict | None):
        raise ConfigError(f"{file}:{document.row(())}: {TABLE}: expected a table")
    return document


def _placed(file: Path, problem: str) -> str:
    """What the parser says, with its place where editors and terminals look for it."""
    import re

    match = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", problem, re.DOTALL)
    place, what = (f"{file}:{match[2]}:{match[3]}", match[1]) if match else (file, problem)
    return f"{place}: not valid TOML: {what}"


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        from bnlint.source.discover import nearest_path

        near = nearest_path(str(file))
        raise ConfigError(f"{file}: no such file" + (f', the nearest is "{near}"' if near else "")) from None
    except OSError as problem:
        raise ConfigError(f"{file}: cannot be read: {problem.strerror}") from problem


def _below(data: Any, path: Sequence[str]) -> Any:
    """What stands at the end of a path of keys; None if nothing does."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _is_valid_and_lacks(text: str, path: Sequence[str]) -> bool:
    try:
        return _below(parse(text), path) is None
    except ValueError:
        return False
