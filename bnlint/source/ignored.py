"""What git would not look at: `.gitignore` and its kin, as ruff honours them.

Inside a repository count the `.gitignore` of each folder up to its root, then `.git/info/exclude`, then
the user's own file (`core.excludesFile`, or `git/ignore` among the settings). An `.ignore` goes before
all of them and counts everywhere. The last line that matches decides, the nearest file first. Whether
git tracks a file is not asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.source.ignore_file import IgnoreFile, lines, read

if TYPE_CHECKING:
    from collections.abc import Collection

REPOSITORY, GITIGNORE, IGNORE = ".git", ".gitignore", ".ignore"
MARKS = frozenset({REPOSITORY, GITIGNORE, IGNORE})
"""What a folder may hold that changes the rules inside it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The ignore files that count inside a folder, each kind from the nearest to the farthest."""

    ignore: tuple[IgnoreFile, ...] = ()
    git: tuple[IgnoreFile, ...] = ()
    background: tuple[IgnoreFile, ...] = ()
    in_repository: bool = False

    def hide(self, path: str, name: str, *, is_folder: bool) -> bool:
        """Is an entry of the folder left out?"""
        for file in self.ignore + self.git + self.background:
            verdict = file.verdict(path, name, is_folder=is_folder)
            if verdict is not None:
                return verdict
        return False

    def inside(self, folder: str, marks: Collection[str], shown: str = "") -> Rules:
        """The rules in a folder that holds `marks`; `shown` is walked, if that is only a part of it."""
        rules = self
        if REPOSITORY in marks:  # what is above is another repository's business
            background = _load(folder, shown, _exclude_file(folder), _global_file())
            rules = replace(rules, git=(), background=background, in_repository=True)
        if IGNORE in marks:
            rules = replace(rules, ignore=_load(folder, shown, os.path.join(folder, IGNORE)) + rules.ignore)
        if GITIGNORE in marks and rules.in_repository:
            rules = replace(rules, git=_load(folder, shown, os.path.join(folder, GITIGNORE)) + rules.git)
        return rules


def above(folder: str) -> Rules:
    """The rules that the parents of a folder set: of where it is, also where a link leads there."""
    rules = Rules()
    for parent in map(str, reversed(Path(os.path.realpath(folder)).parents)):
        marks = {mark for mark in MARKS if os.path.lexists(os.path.join(parent, mark))}
        rules = rules.inside(parent, marks, shown=folder) if marks else rules
    return rules


def _load(folder: str, shown: str, *names: str) -> tuple[IgnoreFile, ...]:
    """Files of patterns about a folder, without those that do not exist or say nothing."""
    inner = os.path.relpath(os.path.realpath(shown), folder) + os.sep if shown else ""
    start = len(os.path.join(shown or folder, ""))
    files = (read(name, inner, start) for name in names)
    return tuple(file for file in files if file.runs)


def _exclude_file(folder: str) -> str:
    """`info/exclude` of a repository; `.git` is a file in worktrees and submodules, and names the place."""
    place = os.path.join(folder, REPOSITORY)
    if os.path.isfile(place):
        place = os.path.join(folder, _first_line(place).removeprefix("gitdir:").strip())
        place = os.path.join(place, _first_line(os.path.join(place, "commondir")).strip())
    return os.path.join(place, "info", "exclude")


def _global_file() -> str:
    """The user's own ignore file."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    named = os.path.join(home, "git", "ignore")
    for config in (os.path.join(home, "git", "config"), os.path.expanduser("~/.gitconfig")):
        named = _setting(config) or named
    return os.path.expanduser(named)


def _setting(config: str) -> str:
    """`core.excludesFile` of a file of git's settings."""
    section = found = ""
    for line in lines(config):
        key, _, value = line.partition("=")
        if line.lstrip().startswith("["):
            section = line.strip().lower()
        elif section == "[core]" and key.strip().lower() == "excludesfile":
            found = value.strip().strip('"')
    return found


def _first_line(file: str) -> str:
    return next(iter(lines(file)), "")
