"""Where in a file a key stands, whatever stands around it; and values spelled as TOML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from bnlint.config.errors import spelled
from bnlint.config.files import Document

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DECOYS = (
    "# select = ['BN2']",
    "",
    "other = '''\nselect = 1\n[tool.bnlint]\n'''",
    'more = ["select", "quiet = true", "tests/*",\n  "select = 1", # quiet\n]',
    "nested.select = 1",
    '"select " = 1',
)
KEYS = {
    "select": ("select = ['BN2']", "'select' = [\n  'BN2', # select\n]", '"select"=["quiet"]'),
    "quiet": ("quiet = true", "  quiet=true # select"),
    "per-file-ignores": ("per-file-ignores.'tests/*' = ['BN2']", "per-file-ignores = {'tests/*' = [\n]}"),
}
HEADS = ("[tool.bnlint]", "[ tool . 'bnlint' ] # select", "[tool.other]\nselect = 1\n[tool.bnlint]")


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """A file, and the row of each key in it."""
    entries = [
        (key, draw(st.sampled_from(KEYS[key]))) for key in draw(st.sets(st.sampled_from(sorted(KEYS))))
    ]
    entries += [("", text) for text in draw(st.sets(st.sampled_from(DECOYS)))]
    head = draw(st.sampled_from(HEADS))
    rows, text = {}, f"[project]\nselect = 'quiet'\n{head}\n"
    for key, entry in draw(st.permutations(entries)):
        rows[key] = text.count("\n") + 1
        text += entry + "\n"
    rows.pop("", None)
    text += draw(st.sampled_from(("", "\n# quiet, select", "[tool.black]\nselect = 1\nquiet = true")))
    return text, rows


@given(documents(), st.sampled_from(("\n", "\r\n")))
def test_the_row_of_a_key_is_where_it_begins(document: tuple[str, dict[str, int]], end: str) -> None:
    text, rows = document
    found = Document(Path("x.toml"), text.replace("\n", end))
    assert {key: found.row((key,)) for key in rows} == rows
    if "per-file-ignores" in rows:
        assert found.row(("per-file-ignores", "tests/*")) == rows["per-file-ignores"]


@pytest.mark.parametrize(
    ("text", "path", "row"),
    [
        ("[tool.bnlint.per-file-ignores]\n'a' = []\n'tests/*' = []", ("per-file-ignores", "tests/*"), 3),
        ("[tool.bnlint.per-file-ignores]\n'a' = []", ("per-file-ignores",), 1),
        ("[tool]\nbnlint = {quiet = true, select = []}", ("select",), 2),
        ("[project]\n[tool]\nbnlint.select = []", ("select",), 3),
        ("[project]\n\n[tool.bnlint]\nx = 1", (), 3),
        ("[tool.bnlint]\n'sel\\u0065ct' = 1\nquiet = \"\\u0061\"", ("quiet",), 3),
        ('[tool.bnlint]\n"sel\\u0065ct" = 1', ("select",), None),
    ],
)
def test_a_key_by_any_way_to_write_it(text: str, path: tuple[str, ...], row: int | None) -> None:
    assert Document(Path("x.toml"), text).row(path) == row


SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(VALUES)
def test_what_is_spelled_reads_back(value: object) -> None:
    assert tomllib.loads(f"x = {spelled(value)}") == {"x": value}
