"""One file of patterns such as `.gitignore`: what it says of an entry.

Folders are asked for before what they hold, so a pattern must not match by a folder above. pathspec
matches these too; the mark that is put behind each pattern and each entry, as if it were one more
part of the path, prevents it, and tells folders from files.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MARK = "/\0"
_FOLDER = "/\0/\1"
"""What stands behind a folder; a pattern with the one mark matches it too."""


class _Line(NamedTuple):
    """A pattern: does it hide or show, is it about folders only, and is it about paths or names?"""

    hides: bool
    folders_only: bool
    is_path: bool
    text: str


@dataclass(frozen=True, slots=True)
class _Patterns:
    """Some patterns, all about names or all about paths. `words` are plain: are they about folders only?"""

    words: Mapping[str, bool]
    others: re.Pattern[str] | None

    def match(self, text: str, *, is_folder: bool) -> bool:
        """Does one of them match?"""
        folders_only = self.words.get(text)
        if folders_only is not None and folders_only <= is_folder:
            return True
        return self.others is not None and bool(self.others.match(text + (_FOLDER if is_folder else _MARK)))


class _Run(NamedTuple):
    """Lines that follow each other and say the same, so that their order does not matter."""

    hides: bool
    names: _Patterns
    paths: _Patterns | None


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """The last lines first. A path from `start` on, behind `inner`, is relative to the file's folder."""

    runs: tuple[_Run, ...]
    inner: str
    start: int

    def verdict(self, path: str, name: str, *, is_folder: bool) -> bool | None:
        """Is an entry hidden (True) or shown (False)? None if nothing is said of it."""
        for hides, names, paths in self.runs:
            if names.match(name, is_folder=is_folder):
                return hides
            if paths is not None and paths.match(self.inner + path[self.start :], is_folder=is_folder):
                return hides
        return None


def read(filename: str, inner: str, start: int) -> IgnoreFile:
    """Read a file; one that cannot be read says nothing."""
    said = [line for line in map(_line, lines(filename)) if line is not None]
    runs = [_run(hides, list(some)) for hides, some in groupby(said, key=lambda line: line.hides)]
    return IgnoreFile(tuple(reversed(runs)), inner, start)


def lines(file: str) -> list[str]:
    """The lines of a file, whatever bytes they hold, as names of files are; none if it cannot be read."""
    try:
        with open(file, "rb") as stream:
            data = stream.read()
    except (OSError, ValueError):  # the latter for a NUL in the name, which another file may give
        return []
    return [os.fsdecode(line.removesuffix(b"\r")) for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]


def _line(text: str) -> _Line | None:
    """Take a line apart; None if it is empty or a comment."""
    if text.startswith("#"):
        return None
    bare = text.rstrip(" ")
    if bare != text and bare.endswith("\\"):
        bare += " "  # a space that is meant
    hides = not bare.startswith("!")
    bare = bare if hides else bare[1:]
    pattern = bare.removesuffix("/")
    return _Line(hides, pattern != bare, "/" in pattern, pattern.removeprefix("/")) if pattern else None


def _run(hides: bool, some: list[_Line]) -> _Run:
    paths = [line for line in some if line.is_path]
    names = [line for line in some if not line.is_path]
    return _Run(hides, _patterns(names), _patterns(paths) if paths else None)


def _patterns(some: Iterable[_Line]) -> _Patterns:
    words: dict[str, bool] = {}
    others = []
    for line in some:
        if set(line.text) & set("*?[\\"):
            others.append(line)
        else:
            words[line.text] = line.folders_only and words.get(line.text, True)
    return _Patterns(words, _compile(others))


def _compile(some: list[_Line]) -> re.Pattern[str] | None:
    """One expression of all lines; where that fails, of those that are valid."""
    sources = [source for line in some if (source := _translate(line))]
    with warnings.catch_warnings():  # of brackets that Python may read in another way some day
        warnings.simplefilter("ignore")
        try:
            return re.compile("|".join(sources)) if sources else None
        except re.error:
            return re.compile("|".join(filter(_is_valid, sources)) or "(?!)")


def _translate(line: _Line) -> str | None:
    """The expression of one line, as pathspec writes it; None if the pattern is not valid."""
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # plain words do without

    text = line.text + "/*" if line.text == "**" or line.text.endswith("/**") else line.text
    mark = _FOLDER if line.folders_only else _MARK
    try:
        source, _ = GitIgnoreSpecPattern.pattern_to_regex(f"/{text}{mark}")
    except ValueError:
        return None
    # Names of groups must not come twice in one expression.
    return source and re.sub(r"\(\?P<\w+>", "(?:", source)


def _is_valid(source: str) -> bool:
    try:
        re.compile(source)
    except re.error:
        return False
    return True
