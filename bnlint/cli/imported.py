"""What the command line names as `PKG.MOD:NAME` is imported as Python does."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from bnlint.cli import Refused


def imported(name: str) -> Any:
    """What a name leads to; the current folder is on the path, as it is for `python -m`.

    Raises `click.UsageError` where it is no such name, and `Refused` where nothing is behind it.
    """
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path):
        raise click.UsageError(f'"{name}": expected PKG.MOD:NAME, such as layers.norm:MyBatchNorm')
    if module_name.endswith(".py"):
        raise click.UsageError(f'"{module_name}" is a file: name the module, as `import` does')
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as problem:
        raise Refused(f"{module_name}: cannot be imported: {type(problem).__name__}: {problem}") from problem
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise Refused(f"{name}: there is no {part}{_near(part, found)}") from None
    return found


def _near(part: str, holder: Any) -> str:
    from difflib import get_close_matches

    near = get_close_matches(part, dir(holder), n=1)
    return f", the nearest is {near[0]}" if near else ""
