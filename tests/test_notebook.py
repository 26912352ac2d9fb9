"""Notebooks are one module of Python; each place in it is one in a cell, and no cell's fault costs another."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bnlint import rule
from bnlint.finding import Finding, Where
from bnlint.source import analyse
from bnlint.source.notebook import Notebook, read
from bnlint.source.read import Unreadable, is_notebook, parse_text
from bnlint.source.texts import Sources

sys.path.insert(0, str(Path(__file__).parent))
import homemade
import live

PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"
FIXTURES = sorted(
    path
    for path in (Path(__file__).parent.parent / "fixtures").glob("*/bad_*.py")
    if not homemade.of_layers(path.parent.name) and not live.of_models(path.parent.name)
)


def code(*sources: str, version: int = 4, language: str = "python", **metadata: Any) -> bytes:
    """A notebook as Jupyter writes it; a text that begins with ¶ is one of prose."""
    cells = [
        nbformat.v4.new_markdown_cell(text[1:]) if text.startswith("¶") else nbformat.v4.new_code_cell(text)
        for text in sources
    ]
    kernel = {"name": "kernel", "display_name": "Kernel", "language": language}
    book = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, **metadata})
    return nbformat.writes(nbformat.convert(book, version)).encode()


def plain(*sources: Any, **more: Any) -> bytes:
    """A notebook as other programs write it."""
    return json.dumps({"cells": [{"cell_type": "code", "source": one} for one in sources], **more}).encode()


@pytest.mark.parametrize("version", [3, 4])
def test_the_code_cells_make_up_one_module(version: int) -> None:
    book = read(
        code("¶# Title", "%matplotlib inline\nimport torch", "¶Text", "", "x = 1\ny = 2\n", version=version)
    )
    assert book.source == "pass\nimport torch\n\nx = 1\ny = 2\n"
    assert book.origins == ((2, 1, 0), (2, 2, 0), (4, 1, 0), (5, 1, 0), (5, 2, 0), (5, 3, 0))
    assert book.cells == {2: ("%matplotlib inline", "import torch"), 4: ("",), 5: ("x = 1", "y = 2", "")}
    assert (book.fault, book.skipped) == (None, "")


def test_cells_count_through_all_worksheets() -> None:
    cell = {"cell_type": "code", "language": "python", "input": ["x = 1\n", "y = 2"]}
    other = {**cell, "language": "ruby"}
    sheets = [{"cells": [{"cell_type": "heading", "source": "A"}, cell]}, {"cells": [other, cell]}]
    book = read(json.dumps({"worksheets": sheets, "nbformat": 3}).encode())
    assert book.source == "x = 1\ny = 2\nx = 1\ny = 2"
    assert [cell for cell, _, _ in book.origins] == [2, 2, 4, 4]


@pytest.mark.parametrize("source", ["x = 1\r\ny = 2", "x = 1\ry = 2", ["x = 1\r\n", "y = 2"], "x = 1\ny = 2"])
def test_a_source_is_a_text_or_a_list_of_texts(source: Any) -> None:
    assert read(plain(source)).source == "x = 1\ny = 2"
    assert read(b"\xef\xbb\xbf" + plain(source)).cells == {1: ("x = 1", "y = 2")}


def test_only_line_ends_of_python_end_a_row() -> None:
    book = read(plain("x = '\u2028\x85'\f\ny = 2"))
    assert book.origins == ((1, 1, 0), (1, 2, 0))


def test_cells_in_other_languages_are_left_out_and_kept_for_excerpts() -> None:
    book = read(code("x = 1", "%%bash\nls", "%%time\ny = 2"))
    assert book.source == "x = 1\n\ny = 2"
    assert [cell for cell, _, _ in book.origins] == [1, 3, 3]
    assert book.cells[2] == ("%%bash", "ls")
    assert book.fault is None


def test_an_editor_may_say_that_a_cell_is_in_another_language() -> None:
    cells = [
        {"cell_type": "code", "source": f"{name} = 1", "metadata": {"vscode": {"languageId": name}}}
        for name in ("python", "sql", "polyglot-notebook")
    ]
    book = read(json.dumps({"cells": cells}).encode())
    assert (book.source, set(book.cells)) == ("python = 1", {1})


# ---------------------------------------------------------------- faults of cells


def fault(*sources: Any) -> tuple[int | None, int, int, str]:
    found = read(plain(*sources)).fault
    assert found is not None
    return found.cell, found.row, found.column, found.message


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["x = 1", "print 1"], (2, 1, 1)),
        (["!ls\nx = (\n", "x"], (1, 2, 5)),
        (["    %cd x\n    x = = 1"], (1, 2, 9)),
        (["x = '\0'"], (1, 1, 1)),
        (["x = 1\ny = " + "-" * 20_000 + "1"], (1, 2, 1)),
        (["\ufeffx = 1"], (1, 1, 1)),
        (["x\ud800 = 1"], (1, 1, 2)),
    ],
)
def test_a_broken_cell_says_where(sources: list[str], expected: tuple[int, int, int]) -> None:
    assert fault(*sources)[:3] == expected


def test_one_fault_speaks_for_all_and_the_other_cells_stay() -> None:
    book = read(plain("a = 1", "b = (", "c = 3", "d d"))
    assert book.source == "a = 1\nc = 3"
    assert [cell for cell, _, _ in book.origins] == [1, 3]
    assert fault("a = 1", "b = (", "c = 3", "d d") == (
        2,
        1,
        5,
        f"not valid {PYTHON}: '(' was never closed; 1 more cell cannot be read",
    )
    assert fault("b = (", "d d", "d d")[3].endswith("; 2 more cells cannot be read")
    assert fault("b = (")[3] == f"not valid {PYTHON}: '(' was never closed"


@pytest.mark.parametrize("source", [None, 1, ["x", 1], {"a": "b"}])
def test_a_cell_without_a_source_is_a_fault_of_its_own(source: Any) -> None:
    assert fault("x = 1", source) == (2, 1, 1, "not a cell of a notebook: it has no source")
    assert read(plain(source, "x = 1")).source == "x = 1"


def test_what_is_no_cell_is_a_fault_and_counts() -> None:
    book = read(b'{"cells": [7, {}, {"cell_type": "code", "source": "x"}, {"cell_type": "code"}]}')
    assert book.fault is not None
    assert (book.fault.cell, book.fault.message) == (
        1,
        "not a cell of a notebook; 1 more cell cannot be read",
    )
    assert book.origins == ((3, 1, 0),)


# ---------------------------------------------------------------- no notebook, or none of Python


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (1, 1, "not a notebook: the file is empty")),
        (b" \n", (1, 1, "not a notebook: the file is empty")),
        (b'{"cells": [\n  {"a": 1} {}]}', (2, 12, "not a notebook: Expecting ',' delimiter")),
        (b"x = 1", (1, 1, "not a notebook: Expecting value")),
        (b"[]", (1, 1, "not a notebook: it has no cells")),
        (b'"cells"', (1, 1, "not a notebook: it has no cells")),
        (b"{}", (1, 1, "not a notebook: it has no cells")),
        (b'{"cells": {}}', (1, 1, "not a notebook: its cells are no list")),
        (b'{"worksheets": {"cells": []}}', (1, 1, "not a notebook: it has no cells")),
        (b'{"worksheets": [{"cells": []}, 1]}', (1, 1, "not a notebook: its cells are no list")),
        (b'{"cells":\n "\xe9"}', (2, 3, "not UTF-8: byte 0xe9 cannot be decoded")),
        (b'{"cells":\n "\0"}', (2, 3, "contains a NUL byte")),
        (
            '{"cells": []}'.encode("utf-16"),
            (1, 1, "not UTF-8: the file starts with the byte order mark of UTF-16"),
        ),
        (b'{"cells": ' + b"[" * 100_000, (1, 1, "not a notebook: its JSON is nested too deeply")),
    ],
)
def test_what_is_no_notebook_says_why(data: bytes, expected: tuple[int, int, str]) -> None:
    with pytest.raises(Unreadable) as caught:
        read(data)
    assert (caught.value.row, caught.value.column, caught.value.message) == expected
    assert caught.value.cell is None


@pytest.mark.skipif(not hasattr(sys, "get_int_max_str_digits"), reason="any number is fine here")
def test_a_number_of_thousands_of_digits_is_no_crash() -> None:
    with pytest.raises(Unreadable, match="not a notebook: Exceeds the limit"):
        read(b'{"cells": ' + b"1" * 5_000 + b"}")


def test_a_notebook_without_cells_is_empty() -> None:
    assert read(b'{"cells": []}') == Notebook()
    assert read(b'{"cells": [{"cell_type": "markdown"}]}') == Notebook()


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({}, ""),
        ({"kernelspec": None, "language_info": []}, ""),
        ({"kernelspec": {"name": "conda-env-torch-py", "display_name": "R and D"}}, ""),
        ({"language_info": {"name": "ipython", "version": 3}}, ""),
        ({"kernelspec": {"language": "Python 3"}, "language_info": {"name": ""}}, ""),
        ({"kernelspec": {"language": "python"}, "language_info": {"name": "sos"}}, ""),
        ({"language_info": {"name": "pyspark"}}, ""),
        ({"kernelspec": {"language": "R", "name": "ir"}}, "R"),
        ({"kernelspec": {"name": "ir"}, "language_info": {"name": "R"}}, "R"),
        ({"kernelspec": {"language": "julia"}}, "julia"),
        ({"language_info": {"name": "C\ud800#"}}, "C?#"),
    ],
)
def test_only_a_language_that_is_named_and_is_not_python_is_skipped(metadata: Any, language: str) -> None:
    book = read(plain("x = 1", metadata=metadata))
    if language:
        assert book == Notebook(skipped=f"its kernel is {language}, not Python")
    else:
        assert (book.source, book.skipped) == ("x = 1", "")


@pytest.mark.parametrize("version", [3, 4])
def test_what_jupyter_writes_for_other_kernels_is_skipped(version: int) -> None:
    book = read(code("x <- 1", language="R", version=version))
    assert book.skipped == "its kernel is R, not Python"


@pytest.mark.parametrize(
    ("filename", "expected"), [("a.ipynb", True), ("a.py", False), ("ipynb", False), ("a.ipynb.py", False)]
)
def test_notebooks_are_known_by_their_name(filename: str, expected: bool) -> None:  # noqa: FBT001
    assert is_notebook(filename) is expected


# ---------------------------------------------------------------- places


PLACED = read(code("¶Text", "x = 1\n%time y = f(\\\n 2)", "    a = 1\n    %time b = (1)\n    c = (2,\n 3)"))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Where("a", 1, 5, 1, 6), Where("a", 1, 5, 1, 6, 2)),
        (Where("a", 4, 1, 4, 6), Where("a", 1, 5, 1, 10, 3)),
        (Where("a", 5, 5, 5, 8), Where("a", 2, 15, 2, 18, 3)),
        (Where("a", 6, 5, 7, 4), Where("a", 3, 9, 4, 4, 3)),
        (Where("a", 6, 5, 99, 4), Where("a", 3, 9, 4, 4, 3)),
        (Where("a", 6, 5, 1, 1), Where("a", 3, 9, 3, 5, 3)),
        (Where("a", 6, 5, 6, 4, 7), Where("a", 6, 5, 6, 4, 7)),
        (Where("a", 8), Where("a", 8)),
        (Where("a", 0), Where("a", 0)),
        (Where("a", 1, module="net.1"), Where("a", 1, 1, 1, 1, 2, "net.1")),
    ],
)
def test_a_place_in_the_module_is_one_in_a_cell(where: Where, expected: Where) -> None:
    assert PLACED.place(where) == expected


def lint(filename: str, contents: dict[str, bytes]) -> list[Finding]:
    """What a whole run finds in one file, at its places."""
    analysis = analyse([Path(filename)], contents)
    sources = Sources(contents, analysis.notebooks)
    found = [*analysis.faults, *rule.judge(analysis.facts, rule.all_rules())]
    return [sources.place(one) for one in found]


def in_file(finding: Finding, starts: list[int]) -> Finding:
    """A finding in a notebook as the one that it would be in the file that the notebook was cut from."""
    return replace(
        finding,
        where=row_in_file(finding.where, starts),
        evidence=tuple(replace(step, where=row_in_file(step.where, starts)) for step in finding.evidence),
    )


def row_in_file(where: Where, starts: list[int]) -> Where:
    assert where.cell is not None
    assert where.cell % 2 == 0
    offset = starts[where.cell // 2 - 1] - 2  # behind the row of a command
    name = where.filename.removesuffix(".ipynb") + ".py"
    return replace(where, filename=name, cell=None, row=where.row + offset, end_row=where.end_row + offset)


def cut(text: str) -> Iterator[int]:
    """The rows at which the statements of a module begin."""
    for number, one in enumerate(ast.parse(text).body):
        first = min([one.lineno, *(node.lineno for node in getattr(one, "decorator_list", ()))])
        yield first if number else 1


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_cut_into_cells_has_the_same_findings_at_the_same_places(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    rows, starts = text.split("\n"), list(cut(text))
    ends = [*(start - 1 for start in starts[1:]), len(rows)]
    cells = [
        one
        for start, end in zip(starts, ends, strict=True)
        for one in ("¶Next", "\n".join(["%cd x", *rows[start - 1 : end]]))
    ]
    name = str(path.with_suffix(".ipynb"))
    expected = lint(str(path), {})
    assert expected
    assert [in_file(one, starts) for one in lint(name, {name: code(*cells)})] == expected


EVALUATED = """\
model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
with torch.no_grad():
    for x, y in test_loader:
        %time model(x)"""


def findings(*sources: str) -> list[tuple[str, int | None, int, int, int]]:
    found = lint("/a.ipynb", {"/a.ipynb": code(*sources)})
    return [(f.code, f.where.cell, f.where.row, f.where.column, f.where.end_column) for f in found]


def test_what_a_timed_statement_does_counts_and_is_pointed_at() -> None:
    assert ("BN101", 2, 4, 15, 23) in findings("import torch\nfrom torch import nn", EVALUATED)


def test_a_broken_cell_costs_the_others_nothing() -> None:
    found = findings("import torch\nfrom torch import nn", "print 1", EVALUATED)
    assert found[0] == ("BN000", 2, 1, 1, 2)
    assert ("BN101", 3, 4, 15, 23) in found


@pytest.mark.parametrize(("given", "silent"), [("1", False), ("!cat seed", True)])
def test_what_a_command_answers_is_unknown(given: str, silent: bool) -> None:  # noqa: FBT001
    source = f"from torch import nn\neps = {given}\nnorm = nn.BatchNorm1d(8, eps=eps)"
    assert (findings(source) == []) is silent


def test_a_cookie_in_a_cell_means_nothing() -> None:
    source = "# -*- coding: {} -*-\nfrom torch import nn\nä = '€'; norm = nn.BatchNorm1d(8, eps=1)"
    for name in ("latin-1", "utf-16", "nonsense"):
        assert findings(source.format(name)) == [("BN405", 1, 3, 39, 40)]


def test_half_a_character_in_a_text_costs_nothing() -> None:
    data = plain("from torch import nn\ns = '\ud800'; norm = nn.BatchNorm1d(8, eps=1)")
    assert [f.code for f in lint("/a.ipynb", {"/a.ipynb": data})] == ["BN405"]


# ---------------------------------------------------------------- laws


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
TEXT = st.text() | st.text("!%?=\\ '\"()#\nxif:\t\r\f\0\ud800\ufeff")
SOURCE = TEXT | st.lists(TEXT) | JSON
CELL = st.fixed_dictionaries(
    {"cell_type": st.sampled_from(["code", "code", "markdown"]) | JSON},
    optional={"source": SOURCE, "input": SOURCE, "language": JSON, "metadata": JSON},
)
CELLS = st.lists(CELL | JSON)
BOOK = st.fixed_dictionaries(
    {},
    optional={
        "cells": CELLS | JSON,
        "worksheets": st.lists(st.fixed_dictionaries({"cells": CELLS}) | JSON),
        "metadata": JSON | st.fixed_dictionaries({}, optional={"kernelspec": JSON, "language_info": JSON}),
    },
)


@given(BOOK | JSON)
@example({"cells": [{"cell_type": "code", "source": "\xa0"}]})
@example({"cells": [{"cell_type": "code", "source": "!ls \\"}, {"cell_type": "code", "source": "x = 1"}]})
def test_any_notebook_is_read_or_unreadable(value: Any) -> None:
    try:
        book = read(json.dumps(value).encode("utf-8", "surrogatepass"))
    except Unreadable:
        return
    parse_text(book.source)
    rows = book.source.encode().decode().split("\n") if book.origins else []
    assert len(rows) == len(book.origins)
    for cell, row, shift in book.origins:
        assert 0 <= shift <= len(book.cells[cell][row - 1])
    assert (
        book.fault is None
        or not book.fault.cell
        or book.fault.row <= len(book.cells.get(book.fault.cell, "1"))
    )


@given(st.binary() | TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_unreadable(data: bytes) -> None:
    with suppress(Unreadable):
        read(data)


@given(st.lists(TEXT))
def test_cells_that_are_python_make_up_a_module_of_all_their_rows(sources: list[str]) -> None:
    texts = [one.encode("utf-8", "replace").decode() for one in sources]
    texts = [one.replace("\r\n", "\n").replace("\r", "\n") for one in texts]
    good = [number for number, text in enumerate(texts, 1) if parses(text)]
    book = read(plain(*sources))
    assert set(good) <= {cell for cell, _, _ in book.origins}
    rows = [
        row for row, (cell, _, _) in zip(book.source.split("\n"), book.origins, strict=False) if cell in good
    ]
    assert rows == [row for number in good for row in texts[number - 1].split("\n")]


def parses(text: str) -> bool:
    try:
        parse_text(text)
    except Unreadable:
        return False
    return True
