"""The recipes of the README: fenced blocks below a comment that names them."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
SECTION = "## In CI, editors and notebooks"
ADDRESS, TAG = "<address of this repository>", "<tag>"
_BLOCK = re.compile(r"^<!-- recipe: ([\w-]+) -->\n```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def section() -> str:
    """The part of the README that holds them."""
    _, _, rest = README.read_text(encoding="utf-8").partition(f"\n{SECTION}\n")
    return rest.partition("\n## ")[0]


def recipes() -> dict[str, str]:
    """Each recipe by its name."""
    return {name: text for name, _, text in _BLOCK.findall(section())}


def recipe(name: str, address: str = ADDRESS, tag: str = TAG) -> str:
    """A recipe in which the two blanks are filled in."""
    return recipes()[name].replace(ADDRESS, address).replace(TAG, tag)
