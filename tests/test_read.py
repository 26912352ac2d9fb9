"""Reading never imports, never runs, and never fails but with a clear line and a position."""

from __future__ import annotations

import ast
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnlint.source.read import Unreadable, decode, load, parse

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


def problem(data: bytes) -> tuple[int, int, str]:
    with pytest.raises(Unreadable) as caught:
        parse(data)
    return caught.value.row, caught.value.column, caught.value.message


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"x = 1\ny = (\n", (2, 5, f"not valid {PYTHON}: '(' was never closed")),
        (
            b"x = 1\nif x:\ny = 2\n",
            (3, 1, f"not valid {PYTHON}: expected an indented block after 'if' statement on line 2"),
        ),
        (b"x = 1\ny = '\xe9'\n", (2, 6, "not UTF-8: byte 0xe9 cannot be decoded")),
        (b"x = 1\r\ny = '\xc3\xa9', '\xe9'\r\n", (2, 11, "not UTF-8: byte 0xe9 cannot be decoded")),
        (b"x = 1\ry = 1\rz = '\xff'", (3, 6, "not UTF-8: byte 0xff cannot be decoded")),
        (b"\xef\xbb\xbfx = '\xff'", (1, 6, "not UTF-8: byte 0xff cannot be decoded")),
        ("x = 1\n".encode("utf-16"), (1, 1, "not UTF-8: the file starts with the byte order mark of UTF-16")),
        (b"x = 1\ny = \0\n", (2, 5, "contains a NUL byte")),
        (b"#!/usr/bin/python\n# -*- coding: nope -*-\n", (2, 1, "unknown encoding: nope")),
        (b"# coding: rot13\nx = 1\n", (1, 1, "unknown encoding: rot13")),
        (b"# coding: ascii\nx = '\xe9'\n", (2, 6, "not ascii: byte 0xe9 cannot be decoded")),
        (
            b"\xef\xbb\xbf# coding: latin-1\n",
            (1, 1, "the byte order mark says UTF-8 but the coding cookie says latin-1"),
        ),
        (b"x = 1\ny = " + b"-" * 20_000 + b"1\n", (2, 1, "nested too deeply to be parsed")),
    ],
)
def test_unreadable_input_has_a_clear_line_and_a_position(
    data: bytes, expected: tuple[int, int, str]
) -> None:
    assert problem(data) == expected


def test_brackets_nested_too_deeply_are_unreadable() -> None:
    row, column, message = problem(b"x = 1\ny = " + b"(" * 500 + b")" * 500)
    assert (row, message) == (2, f"not valid {PYTHON}: too many nested parentheses")
    assert column > 200


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "é"),
        (b"#!/usr/bin/env python\n# vim: set fileencoding=cp1252 :\nx = '\x80'\n", "€"),
        (b"\n# coding: latin-1\nx = '\xe9'\n", "é"),
        (b"\xef\xbb\xbfx = '\xc3\xa9'\n", "é"),
        (b"\xef\xbb\xbf# coding: utf-8\nx = '\xc3\xa9'\n", "é"),
        (b"# coding: UTF_8\nx = '\xc3\xa9'\n", "é"),
    ],
)
def test_the_declared_encoding_is_honoured(data: bytes, value: str) -> None:
    assignment = parse(data).body[0]
    assert isinstance(assignment, ast.Assign)
    assert ast.literal_eval(assignment.value) == value
    assert value in "\n".join(decode(data))


def test_a_cookie_below_code_is_no_cookie() -> None:
    assert problem(b"x = 1\n# coding: latin-1\ny = '\xe9'\n")[:2] == (3, 6)


def test_an_empty_file_is_an_empty_module() -> None:
    assert parse(b"").body == []


def test_warnings_of_the_linted_source_stay_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parse(b"x = '\\d'\ny = 1 is 1\n")


def test_the_caller_s_warning_filters_come_back() -> None:
    before = list(warnings.filters)
    parse(b"x = '\\d'\n")
    assert warnings.filters == before


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be read: No such file"):
        load(tmp_path / "gone.py")


@given(st.binary())
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    check(data)


CODECS = st.sampled_from(
    [
        "utf-8",
        "latin-1",
        "utf-7",
        "utf-16",
        "utf-32",
        "idna",
        "punycode",
        "unicode_escape",
        "undefined",
        "hex",
        "mbcs",
    ]
)


@given(CODECS, st.binary())
def test_no_bytes_under_any_cookie_raise_anything_else(codec: str, data: bytes) -> None:
    check(b"# coding: " + codec.encode() + b"\n" + data)


@given(
    st.lists(
        st.sampled_from(
            ["(", ")", "[", "]", "'", '"', "\\", "\n", "\t", " ", "if", ":", "0", "x", "f'{", "@", "#"]
        )
    )
)
def test_no_scraps_of_python_raise_anything_else(scraps: list[str]) -> None:
    check("".join(scraps).encode())


def check(data: bytes) -> None:
    try:
        tree = parse(data)
    except Unreadable as fault:
        assert fault.row >= 1
        assert fault.column >= 1
        assert fault.message
        assert "\n" not in fault.message
    else:
        assert isinstance(tree, ast.Module)
    assert all("\n" not in line for line in decode(data))


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0")))
def test_lines_are_counted_as_python_counts_them(text: str) -> None:
    """A form feed or a Unicode line separator ends no line."""
    assert decode(f"first\n# {text}\r\nlast\rend".encode()) == ["first", f"# {text}", "last", "end"]
