"""The file of a baseline: JSON with a line for each entry, so that git can show and merge what changed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.config import ConfigError
from bnlint.writing import write

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 1
LONGEST = 80
"""Letters of a text; people need no more to know it again."""

_REMARK = "The end. After a merge, the entries of both sides may stay above."
"""The last item of the list: all above it end with a comma, so that each can come and go as a line."""
_MARK = re.compile(r"^(?:<{7}|={7}|>{7})", re.MULTILINE)


class BaselineError(ConfigError):
    """A baseline that cannot be used: which one, where in it, and what is wrong."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A finding that is known. `filename` is relative to the baseline, with `/`; `text` is for people."""

    filename: str
    code: str
    name: str
    text: str
    fingerprint: str

    def __str__(self) -> str:
        said = ": ".join(filter(None, (self.filename, f"{self.code} {self.name}", self.text)))
        return "".join(letter if letter.isprintable() else "\ufffd" for letter in said)


_KEYS = tuple(field.name for field in fields(Entry))


def shortened(text: str) -> str:
    """A text as it stands in an entry."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def load(file: str | os.PathLike[str]) -> tuple[Entry, ...]:
    """The entries of a file. Unknown keys are passed over, and a string in the list is a remark."""
    content = _parse(file, _read(file))
    if not isinstance(content, dict) or content.get("tool") != "bnlint":
        raise BaselineError(f'{file}: is no baseline of bnlint: its "tool" is not "bnlint"')
    if content.get("version") != VERSION:
        version = json.dumps(content.get("version"))
        raise BaselineError(f"{file}: its version is {version}, and this bnlint reads {VERSION} only")
    if not isinstance(content.get("findings"), list):
        raise BaselineError(f'{file}: its "findings" are not a list')
    items = enumerate(content["findings"], 1)
    return tuple(_entry(item, f"{file}: entry {n}") for n, item in items if not isinstance(item, str))


def save(file: str | os.PathLike[str], entries: Iterable[Entry]) -> None:
    """Write a file at once. A name that is not Unicode becomes an escape that JSON knows."""
    items = [*map(asdict, sorted(entries)), _REMARK]
    findings = ",\n".join("    " + json.dumps(item, ensure_ascii=False) for item in items)
    text = f'{{\n  "version": {VERSION},\n  "tool": "bnlint",\n  "findings": [\n{findings}\n  ]\n}}\n'
    try:
        write(file, text.encode("utf-8", "backslashreplace"))
    except OSError as problem:
        raise BaselineError(f"{file}: cannot be written: {problem.strerror}") from problem


def _read(file: str | os.PathLike[str]) -> str:
    try:
        return Path(file).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BaselineError(f"{file}: no such file: --write-baseline makes it") from None
    except OSError as problem:
        raise BaselineError(f"{file}: cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise BaselineError(f"{file}: not valid UTF-8: {problem.reason}, byte {problem.start}") from None


def _parse(file: str | os.PathLike[str], text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as problem:
        at, message = problem.pos, f"not valid JSON: {problem.msg}"
    except (ValueError, RecursionError) as problem:  # a number that is too long, lists that are too deep
        raise BaselineError(f"{file}: not valid JSON: {problem}") from None
    if mark := _MARK.search(text):
        at = mark.start()
        message = "a merge was left unfinished: keep the entries of both sides and take out the marks"
    row, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    raise BaselineError(f"{file}:{row}:{column}: {message}")


def _entry(item: object, label: str) -> Entry:
    """An entry as it was read. People edit the file: they are told which one is wrong."""
    if not isinstance(item, dict):
        raise BaselineError(f"{label}: is not an object")
    known = " ".join(str(item[key]) for key in _KEYS[:2] if key in item)
    label += f" ({known})" if known else ""
    for key in _KEYS:
        if not isinstance(item.get(key), str):
            raise BaselineError(f'{label}: its "{key}" is {"not a string" if key in item else "missing"}')
    return Entry(**{key: item[key] for key in _KEYS})
