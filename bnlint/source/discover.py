"""Which files to lint: those that were named, and those found in the folders that were named."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.source.exclude import EXCLUDE, matcher, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from bnlint.finding import Finding

__all__ = ["EXCLUDE", "Found", "discover", "matches"]


@dataclass(slots=True)
class Found:
    """What was found: the files to lint, and what could not be looked at.

    `files` are absolute, sorted, and each once, also where links lead to it by several names.
    `faults` are broken links and unreadable folders inside the folders that were named.
    `wrong` are named paths that cannot be linted at all, each with the reason. `excluded` are named
    paths that were left out because the user insists on what is excluded.
    """

    files: tuple[Path, ...] = ()
    faults: tuple[Finding, ...] = ()
    wrong: dict[str, str] = field(default_factory=dict)
    excluded: tuple[Path, ...] = ()


def discover(
    paths: Sequence[str | os.PathLike[str]],
    exclude: Sequence[str] = EXCLUDE,
    *,
    force_exclude: bool = False,
    respect_gitignore: bool = True,
    given: Collection[str] = frozenset(),
    root: str | os.PathLike[str] = "",
) -> Found:
    """Look for files. A pattern of `exclude` is the name of a file or folder, or an absolute path.

    What is named is linted whatever its suffix, also if a pattern matches it or git ignores it. With
    `force_exclude` patterns go before, also those that match a folder above it and below `root` (the
    current folder).
    `given` are absolute names of files that need not exist: their text comes from elsewhere.
    """
    from bnlint.source.walk import Walk  # the start of the program can do without

    excluded = matcher(tuple(exclude))
    found = Found()
    walk = Walk(excluded, respect_gitignore=respect_gitignore)
    for path in paths:
        absolute = os.path.abspath(path)  # links stay: what is reported is what the user named
        if force_exclude and _is_inside_excluded(absolute, os.path.abspath(root), excluded):
            found.excluded += (Path(absolute),)
        elif absolute in given:
            walk.files[absolute] = os.path.realpath(absolute)
        elif reason := _refusal(path):
            found.wrong[os.fspath(path)] = reason
        elif os.path.isdir(path):
            walk.below(absolute)
        else:
            walk.files[absolute] = os.path.realpath(absolute)
    found.files = _unique(walk.files)
    found.faults = tuple({fault.where: fault for fault in walk.faults}.values())
    return found


def _is_inside_excluded(path: str, root: str, excluded: Callable[[str, str], bool]) -> bool:
    """Does a pattern match a path or a folder between it and the root? What is above is called by chance."""
    while path not in (root, os.path.dirname(path)):
        folder, name = os.path.split(path)
        if excluded(path, name):
            return True
        path = folder
    return False


def _refusal(path: str | os.PathLike[str]) -> str:
    """Why a path that the user named cannot be linted; empty if it can."""
    if not os.path.exists(path):
        return "is a broken link" if os.path.islink(path) else _missing(os.fspath(path))
    return "" if os.path.isdir(path) or os.path.isfile(path) else "is not a file or folder"


def _missing(path: str) -> str:
    """That a path does not exist, and what is most like it."""
    near = nearest_path(path)
    return "no such file or folder" + (f', the nearest is "{near}"' if near else "")


def nearest_path(path: str) -> str:
    """The path that exists and is like another in each part; empty if there is none."""
    from difflib import get_close_matches  # only needed for what went wrong

    folder, name = os.path.split(path.rstrip(os.sep))
    if folder and not os.path.exists(folder):
        folder = nearest_path(folder) if folder != path else ""
        if not folder:
            return ""
    try:
        near = get_close_matches(name, os.listdir(folder or "."), n=1)
    except OSError:  # the folder is a file, or may not be read
        return ""
    return os.path.join(folder, near[0]) if near else ""


def _unique(files: dict[str, str]) -> tuple[Path, ...]:
    """Each file once: by its own name rather than that of a link to it, if both were found."""
    by_target: dict[str, str] = {}
    for file, target in sorted(files.items()):
        if file == target or target not in by_target:
            by_target[target] = file
    return tuple(_paths(sorted(by_target.values())))


def _paths(files: Iterable[str]) -> Iterator[Path]:
    """Folders are made once: that takes half the time."""
    folders: dict[str, Path] = {}
    for file in files:
        start, _, name = file.rpartition(os.sep)
        folder = folders.get(start)
        if folder is None:
            folder = folders[start] = Path(start or os.sep)
        yield folder / name
