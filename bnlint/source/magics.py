"""IPython's own syntax in a cell, and what stands in its place so that the rest is Python, row by row.

Only where a statement begins can a row be a command: one that starts with `%` elsewhere goes on with
a modulo. So brackets, strings and continued rows are followed, and nothing in them is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bnlint.source.read import Unreadable, parse_text

UNKNOWN = "get_ipython()"
"""What is assigned instead of the answer of a command."""

_PYTHON = re.compile(
    "cache|capture|debug|ipytest|local|manim|memit|mprun|prun|pyinstrument|pypy|python[23]?|scalene"
    "|snakeviz|time|timeit|viztracer|wandb"
)
"""Cell magics that run their cell as Python; all others make it something else."""
_AUTOMATIC = re.compile(
    "cat|cd|conda|cp|env|less|load_ext|ls|mamba|man|matplotlib|mkdir|more|mv|pip|reload_ext|rm|rmdir|run|uv"
)
"""Line magics that need no sign where they are the whole cell."""
_DATABRICKS = re.compile("%(?:fs|md|md-sandbox|r|scala|sh|sql)")
"""What stands there, with one sign, above a cell that is no Python."""

_HEADER = re.compile(r"%%([\w-]+)")
_COMMAND = re.compile(r"[ \t]*(?:[%!?]|[,;/]\s*[^\W\d])")
_TIMED = re.compile(r"([ \t]*)%time\s+(?=[^\s-])")
_PART = re.compile(
    r"""(?P<comment>\#) | (?P<quote>\"{3}|'{3}|["']) | (?P<open>[\[({]) | (?P<close>[\])}])
    | (?<![=!<>%+\-*/&|^@:~]) = \s* (?P<command>!|%\s*[^\W\d])
    | (?<=[\w*\]]) (?P<help>\?{1,2}) \s*$""",
    re.VERBOSE,
)
_CLOSING = {mark: re.compile(rf"(?:\\.|(?!{mark})[^\\])*{mark}") for mark in ("'", '"', "'''", '"""')}


class Row(NamedTuple):
    """A row of Python, and how many columns it lost on its left."""

    text: str
    shift: int = 0

    @property
    def margin(self) -> str:
        """What it is indented by."""
        return self.text[: len(self.text) - len(self.text.lstrip(" \t"))]


def python(texts: Sequence[str]) -> list[Row] | None:
    """A cell as rows of Python; None where it is in another language, `Unreadable` where it is broken."""
    rows = [Row(text) for text in texts]
    while header := _header(rows):
        at, name = header
        if not _PYTHON.fullmatch(name):
            return None
        rows[at] = Row("")
    words = [row.text.split()[0] for row in rows if row.text.strip()]
    if len(words) == 1 and _AUTOMATIC.fullmatch(words[0]):
        return [Row("") for _ in rows]
    rows = list(_without_commands(_to_the_left(rows)))
    try:
        _check(rows)
    except Unreadable:
        if words and _DATABRICKS.fullmatch(words[0]):
            return None
        raise
    return rows


def _header(rows: Sequence[Row]) -> tuple[int, str] | None:
    """The row and the name of a cell magic, above which only comments stand."""
    for at, row in enumerate(rows):
        text = row.text.strip()
        if text and not text.startswith("#"):
            found = _HEADER.match(text)
            return (at, found[1]) if found and not text.endswith("?") else None
    return None


def _to_the_left(rows: Sequence[Row]) -> list[Row]:
    """Rows without the indentation of the first, as IPython runs them; comments may stand anywhere."""
    written = [row for row in rows if row.text.strip()]
    if not written:
        return list(rows)
    is_comment = written[0].text.lstrip().startswith("#")
    margin = min((row.margin for row in written), key=len) if is_comment else written[0].margin
    width = len(margin)
    return [Row(row.text[width:], width) if row.text.startswith(margin) else row for row in rows]


def _check(rows: Sequence[Row]) -> None:
    """Raise `Unreadable`, with the columns of the cell, where rows are no Python."""
    try:
        parse_text("\n".join(row.text for row in rows))
    except Unreadable as fault:
        if fault.row <= len(rows):
            fault.column += rows[fault.row - 1].shift
        raise


@dataclass(slots=True)
class _Scan:
    """Where the rows so far have led: how deep in brackets, in which string, on a continued row."""

    depth: int = 0
    quote: str = ""
    continued: bool = False

    @property
    def starts(self) -> bool:
        """Whether the next row begins a statement."""
        return not (self.depth or self.quote or self.continued)

    def take(self, text: str) -> re.Match[str] | None:
        """Go through a row, up to the command in it if there is one."""
        at = 0
        while part := (_CLOSING[self.quote].match if self.quote else _PART.search)(text, at):
            at = part.end()
            if self.quote:
                self.quote = ""
            elif part["comment"] or (self.depth == 0 and (part["command"] or part["help"])):
                self.continued = False
                return None if part["comment"] else part
            else:
                self._enter(part)
        self._end(text)
        return None

    def _enter(self, part: re.Match[str]) -> None:
        """Go into a string or a bracket, or out of a bracket."""
        self.quote = part["quote"] or ""
        self.depth = max(self.depth + bool(part["open"]) - bool(part["close"]), 0)

    def _end(self, text: str) -> None:
        """A string in single quotes ends with its row, unless that is continued."""
        goes_on = text.endswith("\\")
        if len(self.quote) == 1 and not goes_on:
            self.quote = ""
        self.continued = goes_on and not self.quote


def _without_commands(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows with something in the place of each command that keeps blocks whole."""
    scan = _Scan()
    goes_on = False
    for row in rows:
        if goes_on:
            result = Row("")
        elif scan.starts and _COMMAND.match(row.text):
            result = _command(row)
        else:
            began = scan.starts
            part = scan.take(row.text)
            result = row if part is None else _within(row, part, began)
        goes_on = result is not row and row.text.endswith("\\")
        yield result


def _command(row: Row) -> Row:
    """What stands in the place of a row that is a command: `%time` runs its statement in this module."""
    timed = _TIMED.match(row.text)
    if timed is not None:
        statement = row.text[timed.end() :]
        try:
            parse_text(statement)
        except Unreadable:
            pass
        else:
            return Row(timed[1] + statement, row.shift + timed.end() - timed.end(1))
    return _nothing(row)


def _within(row: Row, part: re.Match[str], began: bool) -> Row:
    """What stands in the place of a row that ends in a command."""
    if part["command"]:
        return Row(row.text[: part.start("command")] + UNKNOWN, row.shift)
    return _nothing(row) if began else row


def _nothing(row: Row) -> Row:
    return Row(row.margin + "pass", row.shift)
