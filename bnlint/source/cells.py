"""The cells of a notebook: its JSON in nbformat 3 or 4, and which of them are Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bnlint.source.read import Unreadable, text_of


def load(data: bytes) -> dict[str, Any]:
    """The JSON of a notebook. Raises `Unreadable` where it is none."""
    text = text_of(data)
    if not text.strip():
        raise Unreadable("not a notebook: the file is empty")
    try:
        book = json.loads(text)
    except json.JSONDecodeError as problem:
        raise Unreadable(f"not a notebook: {problem.msg}", problem.lineno, problem.colno) from problem
    except RecursionError as problem:
        raise Unreadable("not a notebook: its JSON is nested too deeply") from problem
    except ValueError as problem:  # a number of thousands of digits
        raise Unreadable(f"not a notebook: {problem}") from problem
    if not isinstance(book, dict):
        raise Unreadable("not a notebook: it has no cells")
    return book


def cells(book: dict[str, Any]) -> Iterator[Any]:
    """All cells; nbformat 3 has them in worksheets."""
    sheets = [book] if "cells" in book else book.get("worksheets")
    if not isinstance(sheets, list):
        raise Unreadable("not a notebook: it has no cells")
    for sheet in sheets:
        found = _at(sheet, "cells")
        if not isinstance(found, list):
            raise Unreadable("not a notebook: its cells are no list")
        yield from found


def code(cell: Any) -> str | None:
    """The text of a cell, with its line ends as one; None for what is no Python."""
    if not isinstance(cell, dict):
        raise Unreadable("not a cell of a notebook")
    if cell.get("cell_type") != "code" or not is_python(_cell_language(cell)):
        return None
    source = cell.get("source", cell.get("input"))
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise Unreadable("not a cell of a notebook: it has no source")
    return _encodable(source).replace("\r\n", "\n").replace("\r", "\n")


def language(book: dict[str, Any]) -> str:
    """The language that a notebook says it is in: Python if it does not."""
    info, kernel = (_at(book, "metadata", key) for key in ("language_info", "kernelspec"))
    named = [name for name in (_at(info, "name"), _at(kernel, "language")) if isinstance(name, str) and name]
    python = [name for name in named if is_python(name)]
    return _encodable((python or named or ["python"])[0])


def is_python(name: str) -> bool:
    """Whether a language of this name is Python."""
    return "python" in name.lower() or name.lower() in {"pyspark", "pypy"}


def _cell_language(cell: dict[str, Any]) -> str:
    """The language of one cell: as an editor writes it, or as nbformat 3 does."""
    for name in (_at(cell, "metadata", "vscode", "languageId"), cell.get("language")):
        if isinstance(name, str) and name:
            return name
    return "python"


def _at(value: Any, *keys: str) -> Any:
    """What stands under some keys; None if nothing does."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _encodable(text: str) -> str:
    """A text without what JSON can say but no file can hold: halves of characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
