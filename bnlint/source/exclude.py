"""What is passed over because a setting says so: patterns of names and of places."""

from __future__ import annotations

import os
import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CACHE = ".bnlint_cache"
"""The folder that facts of earlier runs are kept in."""

EXCLUDE = (
    CACHE,
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
"""Folders of tools and of what they make: those that ruff passes over, and two more."""


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Does a path match a pattern, by its last part or as a whole? `**/` stands for no folder, too."""
    return matcher(tuple(patterns))(path, os.path.basename(path))


@lru_cache(maxsize=256)
def matcher(patterns: tuple[str, ...]) -> Callable[[str, str], bool]:
    """Ask for many paths, each with its last part: a pattern without a slash is about that part only."""
    names = {pattern for pattern in patterns if "/" not in pattern}
    words = {name for name in names if not set(name) & set("*?[")}  # most are plain words
    places = {pattern for pattern in patterns if "/" in pattern}
    by_name = _any(names - words)
    by_path = _any(places | {place.replace("/**/", "/") for place in places})

    def match(path: str, name: str) -> bool:
        return name in words or bool((by_name and by_name(name)) or (by_path and by_path(path)))

    return match


def _any(patterns: Iterable[str]) -> Callable[[str], object] | None:
    """Look for all patterns at once; None if there is none."""
    joined = "|".join(map(translate, sorted(patterns)))
    return re.compile(joined).match if joined else None
