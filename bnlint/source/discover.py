"""Which files to lint: those that were named, and those found in the folders that were named."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.source.read import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bnlint.finding import Finding

SUFFIXES = (".py",)
"""What is looked for in folders. A file that is named explicitly is linted whatever its suffix."""

NOT_YET = (".ipynb",)
"""What would be misread as Python: a notebook is JSON, and much of JSON is a Python expression."""

EXCLUDE = (
    ".bzr",
    ".direnv",
    ".eggs",
    ".git",
    ".git-rewrite",
    ".hg",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".nox",
    ".pants.d",
    ".pyenv",
    ".pytest_cache",
    ".pytype",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".venv",
    ".vscode",
    "__pycache__",
    "__pypackages__",
    "_build",
    "buck-out",
    "build",
    "dist",
    "node_modules",
    "site-packages",
    "venv",
)
"""The folders that ruff passes over as well."""


@dataclass(slots=True)
class Found:
    """What was found: the files to lint, and what could not be looked at.

    `files` are absolute, sorted, and each once, also where links lead to it by several names.
    `faults` are broken links and unreadable folders inside the folders that were named.
    `wrong` are named paths that cannot be linted at all, each with the reason.
    """

    files: tuple[Path, ...] = ()
    faults: tuple[Finding, ...] = ()
    wrong: dict[str, str] = field(default_factory=dict)


def discover(paths: Sequence[str | os.PathLike[str]], exclude: Sequence[str] = EXCLUDE) -> Found:
    """Look for files. A pattern of `exclude` is the name of a file or folder, or an absolute path."""
    found = Found()
    named: list[Path] = []
    files: list[Path] = []
    faults: list[Finding] = []
    for path in paths:
        if reason := _refusal(path):
            found.wrong[os.fspath(path)] = reason
        elif os.path.isdir(path):
            files += _walk(_absolute(path), exclude, faults)
        else:
            named.append(_absolute(path))
    found.files = _unique([*named, *files])
    found.faults = tuple({fault.where: fault for fault in faults}.values())
    return found


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Does a path match a pattern, by its last part or as a whole? `**/` stands for no folder, too."""
    name = os.path.basename(path)
    return any(
        fnmatchcase(path, pattern) or fnmatchcase(path, pattern.replace("/**/", "/"))
        if "/" in pattern
        else fnmatchcase(name, pattern)
        for pattern in patterns
    )


def _absolute(path: str | os.PathLike[str]) -> Path:
    """Without resolving links: what is reported is what the user named."""
    return Path(os.path.abspath(path))


def _refusal(path: str | os.PathLike[str]) -> str:
    """Why a path that the user named cannot be linted; empty if it can."""
    if not os.path.exists(path):
        return "is a broken link" if os.path.islink(path) else "no such file or folder"
    if os.path.isdir(path):
        return ""
    if not os.path.isfile(path):
        return "is not a file or folder"
    return "notebooks are not supported" if os.fspath(path).endswith(NOT_YET) else ""


def _walk(folder: Path, exclude: Sequence[str], faults: list[Finding]) -> Iterator[Path]:
    """The files below a folder. Links to folders are not followed, so no loop is ever entered."""
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                listing = [entry for entry in entries if not matches(entry.path, exclude)]
        except OSError as problem:
            message = f"folder cannot be read: {problem.strerror}"
            faults.append(Unreadable(message).finding(str(problem.filename)))
            continue
        waiting += [entry.path for entry in listing if entry.is_dir(follow_symlinks=False)]
        yield from _sources(listing, faults)


def _sources(listing: list[os.DirEntry[str]], faults: list[Finding]) -> Iterator[Path]:
    """The Python files of one folder."""
    for entry in listing:
        if not entry.name.endswith(SUFFIXES) or os.path.isdir(entry.path):
            continue
        if os.path.isfile(entry.path):
            yield Path(entry.path)
        else:
            link = entry.is_symlink()
            message = f"broken link to {os.readlink(entry.path)}" if link else "is not a regular file"
            faults.append(Unreadable(message).finding(entry.path))


def _unique(files: list[Path]) -> tuple[Path, ...]:
    """Each file once: by its own name rather than that of a link to it, if both were found."""
    by_target: dict[str, Path] = {}
    for file in sorted(set(files), key=str):
        target = os.path.realpath(file)
        if str(file) == target or target not in by_target:
            by_target[target] = file
    return tuple(sorted(by_target.values(), key=str))
