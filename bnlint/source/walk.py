"""From folder to folder: what lies below those that were named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bnlint.source.ignored import Rules, above
from bnlint.source.read import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bnlint.finding import Finding

SUFFIXES = (".py", ".ipynb")
"""What is looked for in folders."""


class Walk:
    """Gathers `files`, each with the file that it leads to, and `faults`.

    Links to folders are not followed, so no loop is ever entered.
    """

    def __init__(self, excluded: Callable[[str, str], bool], *, respect_gitignore: bool) -> None:
        self.files: dict[str, str] = {}
        self.faults: list[Finding] = []
        self._excluded = excluded
        self._respects = respect_gitignore

    def below(self, root: str) -> None:
        """Look at everything below a folder."""
        real, start = os.path.realpath(root), len(root)
        waiting = [(root, above(root) if self._respects else Rules())]
        while waiting:
            folder, rules = waiting.pop()
            entries = self._entries(folder)
            if self._respects:
                rules = rules.inside(folder, {entry.name for entry in entries})
            for entry, is_folder in self._wanted(entries, rules):
                if is_folder:
                    waiting.append((entry.path, rules))
                elif not entry.is_symlink() and entry.is_file():
                    self.files[entry.path] = real + entry.path[start:]
                else:
                    self._odd(entry.path)

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except OSError as problem:
            self._fault(f"folder cannot be read: {problem.strerror}", folder)
            return []

    def _wanted(
        self, entries: list[os.DirEntry[str]], rules: Rules
    ) -> Iterator[tuple[os.DirEntry[str], bool]]:
        """The entries that count, each with whether it is a folder; nothing is asked of others."""
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if not is_folder and not entry.name.endswith(SUFFIXES):
                continue
            path, name = entry.path, entry.name
            if not self._excluded(path, name) and not rules.hide(path, name, is_folder=is_folder):
                yield entry, is_folder

    def _odd(self, path: str) -> None:
        """What has the name of a source file and is a link or something else."""
        if os.path.isfile(path):
            self.files[path] = os.path.realpath(path)
        elif not os.path.isdir(path):
            link = os.path.islink(path)
            self._fault(f"broken link to {os.readlink(path)}" if link else "is not a regular file", path)

    def _fault(self, message: str, path: str) -> None:
        self.faults.append(Unreadable(message).finding(path))
