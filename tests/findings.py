"""Findings of all kinds: one that is easily read, and random ones with the oddest texts and names."""

from __future__ import annotations

import os
import unicodedata

from hypothesis import strategies as st

from bnlint.finding import SEVERITIES, Edit, Finding, Fix, Step, Where
from bnlint.report import About, View

BASE = "/checkout"
SOURCE = [
    "from torch import nn",
    "",
    "BATCH = 1",
    "loader = DataLoader(data, batch_size=BATCH)",
    "",
    "train(loader)",
]
TINY = Finding(
    "BN301",
    "tiny-batch",
    "Each step sees one sample.",
    "warning",
    "high",
    Where(f"{BASE}/src/a b.py", 4, 10, 4, 44),
    (
        Step(Where(f"{BASE}/src/a b.py", 3, 9, 3, 10), "batch_size is 1"),
        Step(Where("/elsewhere/b.py", 7), "the model is trained here"),
    ),
)
ABOUT = About(
    "BN301",
    "tiny-batch",
    "warning",
    "Training batches are too small for BatchNorm.",
    """Training batches are too small for BatchNorm.

What it finds
-------------
A loader with fewer than
16 samples.

Bad
---
    if True:

        DataLoader(data, batch_size=2)

Good
----
    DataLoader(data, batch_size=32)
""",
    "file:///home/me/bn301_tiny_batch.py",
)
VIEW = View(
    lines=lambda where: SOURCE if where.filename == TINY.where.filename else (),
    about=lambda code: ABOUT if code == "BN301" else None,
    base=BASE,
    version="1.2.3",
)

ODD = st.sampled_from("%\r\n\t:,;=&<>\"'[](){}\\`#\0\x1b\x85\u2028\u202e\ufeff\ufffe\ud800\udc00\udcff日😀")
TEXTS = st.text(st.one_of(ODD, st.characters(exclude_categories=())), max_size=30)
LINES = st.lists(st.text(st.characters(exclude_characters="\r\n"), max_size=20), max_size=12)

BYTES = st.binary(min_size=1, max_size=8).filter(
    lambda name: not set(b"/\0") & set(name) and name not in {b".", b".."}
)
"""File names are bytes: most of these are no text."""
NAMES = st.one_of(
    BYTES.map(os.fsdecode), st.sampled_from([":, =%25 #?.py", "模型.py", "try.ipynb", "%0A::error::x"])
)
CELLS = st.none() | st.integers(1, 9)
LAYERS = st.none() | st.just("body.0.bn")
FOLDERS = st.sampled_from([BASE, f"{BASE}/src", "/elsewhere", f"{BASE}2"])


@st.composite
def wheres(draw):
    """A place on one line, on several, or one of which only the start is known."""
    row, column = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    filename = f"{draw(FOLDERS)}/{draw(NAMES)}"
    end = draw(st.sampled_from([(1, 1), (row, column), (row, column + 3), (row + 2, 1), (row + 2, column)]))
    return Where(filename, row, column, *end, draw(CELLS), draw(LAYERS))


STEPS = st.builds(Step, wheres(), TEXTS)
FIXES = st.builds(
    Fix,
    st.sampled_from(["safe", "unsafe"]),
    TEXTS,
    st.lists(st.builds(Edit, wheres(), TEXTS), max_size=3).map(tuple),
)
FINDINGS = st.builds(
    Finding,
    st.sampled_from(["BN000", "BN101", "BN301"]),
    st.sampled_from(["tiny-batch", "missing-eval"]),
    TEXTS,
    st.sampled_from(SEVERITIES),
    st.sampled_from(["high", "medium"]),
    wheres(),
    st.lists(STEPS, max_size=3).map(tuple),
    st.none() | st.dictionaries(st.sampled_from(["shift", "ratio"]), st.floats()),
    st.none() | FIXES,
)
VIEWS = st.builds(
    lambda lines: View(lines=lambda _: lines, about=VIEW.about, base=BASE, version="1.2.3"), LINES
)


def whole(text: str) -> str:
    """A text as it arrives: halves of letters are no text."""
    return "".join("\ufffd" if unicodedata.category(letter) == "Cs" else letter for letter in text)


def shown(filename: str) -> str:
    """A path below the checkout from there on, any other as it is."""
    return whole(filename.removeprefix(f"{BASE}/"))


def end(where: Where) -> tuple[int, int]:
    """The end of a place; its start where no later one is known."""
    return max((where.row, where.column), (where.end_row, where.end_column))
