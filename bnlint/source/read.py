"""From the bytes of a file to its text and its syntax tree. Nothing of it is ever imported or run."""

from __future__ import annotations

import ast
import io
import re
import sys
import warnings
from typing import TYPE_CHECKING

from bnlint.finding import Finding, Where

if TYPE_CHECKING:
    from pathlib import Path

_COOKIE = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BLANK = re.compile(rb"[ \t\f]*(?:#.*)?\r?$")
_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class Unreadable(Exception):  # noqa: N818  it is no error of bnlint but a property of the file
    """A file that cannot be read as Python: what is wrong with it, and where (counted from 1)."""

    def __init__(self, message: str, row: int = 1, column: int = 1, cell: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.row = row
        self.column = column
        self.cell = cell

    def finding(self, filename: str) -> Finding:
        """The finding that says so."""
        where = Where(filename, self.row, self.column, self.row, self.column + 1, self.cell)
        return Finding("BN000", "unreadable-source", self.message, "error", "high", where)


def is_notebook(filename: str) -> bool:
    """Whether a file of this name holds a notebook: its Python has to be taken out of it."""
    return filename.endswith(".ipynb")


def load(path: Path) -> bytes:
    """The bytes of a file; `Unreadable` where the system does not give them."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise Unreadable(f"cannot be read: {problem.strerror or problem}") from problem


def parse(data: bytes, filename: str = "<source>") -> ast.Module:
    """The syntax tree of a file; `Unreadable`, and no other exception, where there is none."""
    return parse_text(text_of(data), filename)


def parse_text(text: str, filename: str = "<source>") -> ast.Module:
    """The syntax tree of a text, in which a coding cookie means nothing; `Unreadable` where there is none."""
    try:
        with warnings.catch_warnings():  # the linted code's warnings are none of the user's business here
            warnings.simplefilter("ignore")
            return ast.parse(text, filename)
    except SyntaxError as problem:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        message = f"not valid Python {version}: {problem.msg}"
        raise Unreadable(message, problem.lineno or 1, max(problem.offset or 1, 1)) from problem
    except (RecursionError, MemoryError) as problem:
        raise Unreadable("nested too deeply to be parsed", _longest_row(text)) from problem
    except (ValueError, OverflowError) as problem:
        raise Unreadable(f"cannot be parsed: {problem}") from problem


def decode(data: bytes) -> list[str]:
    """The lines of a file, as Python counts them, without their ends; what cannot be decoded is replaced."""
    try:
        text = data.removeprefix(_BOM).decode(_encoding(data), "replace")
    except (LookupError, ValueError, Unreadable):
        text = data.removeprefix(_BOM).decode("utf-8", "replace")
    return io.StringIO(text, newline=None).read().split("\n")


def text_of(data: bytes) -> str:
    """Decode strictly; `Unreadable` says where that fails."""
    for bom, name in _WIDE_BOMS.items():
        if data.startswith(bom):
            raise Unreadable(f"not UTF-8: the file starts with the byte order mark of {name}")
    if (at := data.find(b"\0")) >= 0:
        raise Unreadable("contains a NUL byte", *_position(data[:at].removeprefix(_BOM)))
    encoding = _encoding(data)
    data = data.removeprefix(_BOM)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as problem:
        name = "UTF-8" if encoding == "utf-8" else encoding
        byte = f"byte 0x{data[problem.start]:02x}" if problem.start < len(data) else "the end of the file"
        raise Unreadable(
            f"not {name}: {byte} cannot be decoded", *_position(data[: problem.start])
        ) from problem
    except (LookupError, ValueError) as problem:
        raise Unreadable(f"cannot be decoded as {encoding}: {problem}") from problem


def _encoding(data: bytes) -> str:
    """The encoding that the byte order mark or the cookie (PEP 263) declares; UTF-8 otherwise."""
    for row, line in enumerate(data.removeprefix(_BOM).split(b"\n", 2)[:2], start=1):
        if cookie := _COOKIE.match(line):
            return _declared(cookie[1].decode("ascii", "replace"), row, has_bom=data.startswith(_BOM))
        if not _BLANK.match(line):
            break
    return "utf-8"


def _declared(name: str, row: int, *, has_bom: bool) -> str:
    """The encoding that a cookie names, which a byte order mark must not contradict."""
    utf8 = name.lower().replace("_", "-") in {"utf-8", "utf8"} or name.lower().startswith("utf-8-")
    if utf8:
        return "utf-8"
    if has_bom:
        raise Unreadable(f"the byte order mark says UTF-8 but the coding cookie says {name}", row)
    return _known(name, row)


def _known(name: str, row: int) -> str:
    """The name of a text encoding that this Python has."""
    try:
        b"    ".decode(name)  # four bytes: codecs are not looked up for none, and UTF-32 takes four
    except LookupError as problem:
        raise Unreadable(f"unknown encoding: {name}", row) from problem
    except ValueError:  # decoding the whole file says where
        pass
    return name


def _position(before: bytes) -> tuple[int, int]:
    """Row and column (in characters) of what comes after some bytes."""
    before = before.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    line = before[before.rfind(b"\n") + 1 :]
    return before.count(b"\n") + 1, len(line.decode("utf-8", "replace")) + 1


def _longest_row(text: str) -> int:
    """Where deep nesting most likely is: Python does not say where it gave up."""
    lines = text.split("\n")
    return max(range(len(lines)), key=lambda row: len(lines[row])) + 1
