"""The versions of what bnlint runs on. Nothing is imported to find them: torch would take a second."""

from __future__ import annotations

import os
import re
import sys
from importlib.machinery import PathFinder

_VERSION = re.compile(r"""^__version__\s*(?::[^=]*)?=\s*["']([^"']+)["']""", re.MULTILINE)


def versions() -> str:
    """`Python 3.11.7, torch 2.13.0`, or that torch is not installed."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"Python {python}, {_torch()}"


def _torch() -> str:
    """What torch's own file says; it is read, not run."""
    spec = PathFinder.find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        try:
            with open(os.path.join(folder, "version.py"), encoding="utf-8") as file:
                text = file.read()
        except (OSError, ValueError):
            continue
        if found := _VERSION.search(text):
            return f"torch {found[1]}"
    return "torch not installed" if spec is None else "torch of an unknown version"
