"""What the formats for servers share: they are read by programs, in a checkout, and have no colours."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from bnlint.report import View, position

if TYPE_CHECKING:
    from bnlint.finding import Where

Json = dict[str, object]

CHECKOUTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR")
"""Where GitHub and GitLab say that they put the repository: they look paths up from there."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def served(view: View) -> View:
    """A view without colours and links, whose paths begin at the checkout if we run inside of one."""
    here = os.path.join(view.base, "")
    roots = (root for root in map(os.environ.get, CHECKOUTS) if root)
    base = next((root for root in roots if here.startswith(os.path.join(root, ""))), view.base)
    return View(lines=view.lines, about=view.about, base=base, version=view.version)


def path(filename: str, view: View) -> str:
    """A path with slashes; what is no text in a file's name is replaced."""
    return sound(view.path(filename).replace(os.sep, "/"))


def place(where: Where, view: View) -> str:
    """A place as one word: `path:cell 3:4:10`."""
    return path(where.filename, view) + position(where)


def said(message: str, where: Where) -> str:
    """A message that begins with what the format has no field for: the cell of a notebook, and the layer."""
    parts = []
    if where.cell is not None:
        parts.append(f"cell {where.cell}, row {where.row}, column {where.column}")
    if where.module is not None:
        parts.append(f"layer {where.module}")
    return f"{', '.join(parts)}: {message}" if parts else message


def span(where: Where) -> tuple[int, int, int, int]:
    """First row and column, last row and column behind the last one; the end is never before the start."""
    end = max((where.row, where.column), (where.end_row, where.end_column))
    return where.row, where.column, *end


def sound(text: str) -> str:
    """A text that every encoding of Unicode can hold."""
    return _SURROGATE.sub("\ufffd", text)


def as_json(value: object) -> str:
    """JSON for strict readers: no half of a letter, no NaN, and ASCII, wherever it is written to."""
    return json.dumps(_strict(value), indent=2) + "\n"


def _strict(value: object) -> object:
    match value:
        case str():
            return sound(value)
        case float() if value - value != 0:
            return None
        case dict():
            return {sound(key): _strict(item) for key, item in value.items()}
        case list():
            return [_strict(item) for item in value]
    return value
