"""Where a class is written."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from bnlint.finding import Where


@cache
def place(cls: type) -> Where:
    """The line that begins a class; its name where there is no file, as in a session."""
    return _where(cls, f"<{cls.__module__}.{cls.__qualname__}>")


@cache
def method(cls: type) -> Where:
    """The line that begins its forward."""
    forward = cls.__dict__.get("forward") or cls.__dict__.get("__call__")
    return place(cls) if forward is None else _where(forward, place(cls).filename)


def _where(thing: Any, otherwise: str) -> Where:
    try:
        lines, row = inspect.getsourcelines(thing)
        filename = inspect.getsourcefile(thing) or otherwise
    except (OSError, TypeError):
        return Where(otherwise)
    skipped = next((n for n, line in enumerate(lines) if line.lstrip().startswith(("class ", "def "))), 0)
    line = lines[skipped]
    column = len(line) - len(line.lstrip()) + 1
    return Where(filename, row + skipped, column, row + skipped, len(line.rstrip()) + 1)
