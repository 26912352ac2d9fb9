"""One name for each file, however the user got there, on every system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def real(path: str | os.PathLike[str]) -> str:
    """The absolute path, with all links on the way to it followed; a file may be a link itself."""
    path = os.path.abspath(path)
    return os.path.realpath(path) if os.path.isdir(path) else str(folder_of(path) / os.path.basename(path))


def folder_of(file: str | os.PathLike[str]) -> Path:
    """The absolute folder that a file lies in."""
    return Path(os.path.realpath(os.path.dirname(file)))


def name(filename: str, folder: Path) -> str:
    """How a file is called in a baseline in a folder: relative, with `/`."""
    path = real(filename)
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # it is on another drive
        return Path(path).as_posix()


def within(path: str, areas: Collection[str]) -> bool:
    """Is a path one of these, or below one of them?"""
    return any(one in areas for one in (path, *map(str, Path(path).parents)))
