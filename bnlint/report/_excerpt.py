"""Source lines with a mark under the place that is meant.

Everything here counts terminal columns: a tab reaches the next stop, a wide character takes two, a
combining one none. What a terminal would act on (escape sequences, text direction) is made visible.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.finding import Where
    from bnlint.report import View

TAB = 4
CONTEXT = 1
LONGEST = 6
"""Findings on more lines than this are shown by their first and last ones."""

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Controls, formats, lone surrogates and line separators: never written to a terminal as they are."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of an excerpt: its number (none for marks), what stands before its text, and the text."""

    number: int | None
    text: str


def visible(text: str) -> str:
    """A text on one line, without anything that a terminal would act on."""
    return "".join(map(_shown, text))


def width(text: str) -> int:
    """How many columns a text takes, when it starts at a tab stop."""
    return len(_cells(text))


def shortened(text: str, room: int) -> str:
    """A text in at most so many columns."""
    return _cut(text, 0, room if width(text) <= room else room - 1)


def excerpt(where: Where, view: View, style: str) -> Iterator[str]:
    """The lines of a place, each ended; nothing where its source is not known."""
    source = view.lines(where)
    if not 1 <= where.row <= len(source):
        return
    last = min(where.end_row, len(source))
    rows = list(_block(where, source, view) if last > where.row else _line(where, source, view))
    gutter = max(len(str(row.number or "")) for row in rows)
    for row in rows:
        number = view.paint(f"{row.number or '':>{gutter}} |", "line")
        text = row.text if row.number else view.paint(row.text, style)
        yield f"{number} {text}".rstrip() + "\n"


def _line(where: Where, source: Sequence[str], view: View) -> Iterator[_Row]:
    """A place within one line: the lines around it, and carets below it."""
    line = source[where.row - 1]
    start = width(line[: where.column - 1])
    stop = width(line[: where.end_column - 1]) if where.end_row == where.row else width(line)
    first, room = _window(start, stop, width(line), view)
    for number in range(max(1, where.row - CONTEXT), where.row + 1):
        text = source[number - 1]
        if number == where.row or text.strip():
            yield _Row(number, _cut(text, first, room))
    carets = max(min(stop, first + room) - start, 1)
    yield _Row(None, " " * (start - first + bool(first)) + "^" * carets)
    for number in range(where.row + 1, min(where.row + CONTEXT, len(source)) + 1):
        if source[number - 1].strip():
            yield _Row(number, _cut(source[number - 1], first, room))


def _block(where: Where, source: Sequence[str], view: View) -> Iterator[_Row]:
    """A place on several lines: a bracket beside them, with a caret at each end."""
    last = min(where.end_row, len(source))
    room = _room(view) - 2
    start = min(width(source[where.row - 1][: where.column - 1]), room - 1)
    yield _Row(where.row, "  " + _cut(source[where.row - 1], 0, room))
    yield _Row(None, " " + "_" * (start + 1) + "^")
    for number in _shown_rows(where.row + 1, last):
        text = _cut(source[number - 1], 0, room) if number else "..."
        yield _Row(number or None, "| " + text)
    end = (
        width(source[last - 1][: where.end_column - 1]) if last == where.end_row else width(source[last - 1])
    )
    yield _Row(None, "|" + "_" * min(max(end, 1), room) + "^")


def _shown_rows(first: int, last: int) -> list[int]:
    """The rows to show; 0 stands for those that are left out."""
    rows = list(range(first, last + 1))
    return rows if len(rows) < LONGEST else [*rows[: LONGEST - 3], 0, *rows[-2:]]


def _window(start: int, stop: int, length: int, view: View) -> tuple[int, int]:
    """The first column that is shown and how many, such that the carets are in sight."""
    room = _room(view)
    if length <= room:
        return 0, room
    before = max(room // 4, room - 2 - (stop - start))
    return (max(0, start - before) if stop > room - 1 else 0), room - 1


def _room(view: View) -> int:
    """How many columns a source line may take."""
    return max(view.width - 8, 20)


def _cut(text: str, first: int, room: int) -> str:
    """The columns `first` to `first + room` of a line, with a mark on each side where more was cut off."""
    cells = _cells(text)
    kept = cells[first : first + room]
    if kept and not kept[0] and first:
        kept[0] = " "  # the left half of a wide character was cut off
    more = len(cells) > first + room
    if more and len(cells[first + room - 1]) and not cells[first + room]:
        kept[-1] = " "  # and here the right half
    return ("…" if first else "") + "".join(kept).rstrip() + ("…" if more else "")


def _cells(text: str) -> list[str]:
    """What stands in each column of a line; the second column of a wide character is empty."""
    cells: list[str] = []
    for letter in text:
        if letter == "\t":
            cells += " " * (TAB - len(cells) % TAB)
        elif unicodedata.combining(letter) or unicodedata.category(letter) in {"Mn", "Me"}:
            if cells:
                at = -1 if cells[-1] else -2
                cells[at] += letter
        else:
            wide = (
                unicodedata.east_asian_width(letter) in "WF" and unicodedata.category(letter) not in _UNSEEN
            )
            cells += [_shown(letter), ""] if wide else [_shown(letter)]
    return cells


def _shown(letter: str) -> str:
    """A letter, or a sign that stands for one that must not reach a terminal."""
    if letter == "\t":
        return " "
    if ord(letter) < 0x20:
        return chr(0x2400 + ord(letter))
    return "\ufffd" if unicodedata.category(letter) in _UNSEEN else letter
