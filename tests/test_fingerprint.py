"""What a finding is known by: it survives what happens around the code, and tells findings apart."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from findings import FINDINGS, TINY
from hypothesis import given
from hypothesis import strategies as st

from bnlint.finding import Where
from bnlint.fingerprint import distinct, fingerprint, text_of

LINES = st.lists(st.text(st.characters(exclude_characters="\r\n"), max_size=20), max_size=5)
MEANT = st.lists(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"), min_size=1, max_size=20),
    min_size=1,
    max_size=4,
)


def at(row, end_row, end_column=99, filename="/p/a.py", column=1):
    return replace(TINY, where=Where(filename, row, column, end_row, end_column))


@given(MEANT, st.tuples(LINES, LINES), st.tuples(LINES, LINES), st.sampled_from(["    ", "\t", "  \t "]))
def test_it_survives_lines_above_and_below_and_another_indentation(meant, around, later, indent):
    above, below = around
    before = fingerprint(at(len(above) + 1, len(above) + len(meant)), [*above, *meant, *below])
    above, below = later
    moved = [*above, *(indent + line for line in meant), *below]
    after = at(len(above) + 1, len(above) + len(meant), column=len(indent) + 1)
    assert fingerprint(after, moved) == before


@given(MEANT, LINES, LINES)
def test_a_line_that_a_place_only_reaches_is_not_in_it(meant, below, other):
    where = at(1, len(meant) + 1, 1)
    assert fingerprint(where, [*meant, *below]) == fingerprint(where, [*meant, *other])
    assert text_of(where.where, [*meant, *below]) == " ".join(" ".join(meant).split())


LAID_OUT = [
    ["x = Loader(data, batch_size=1, name='a # b')"],
    ['x = Loader( data,batch_size = 1, name="a # b" )  # why'],
    ["x = Loader(  # why", "    data,", "    batch_size=1,  # one", '    name="a # b",', ")"],
    ["    y, x = 1, Loader(data, batch_size=1,", "                     name='a # b',)"],
]


@pytest.mark.parametrize("lines", LAID_OUT)
def test_it_survives_another_layout(lines):
    def named(lines):
        start, end = lines[0].index("Loader"), lines[-1].rindex(")") + 1
        return fingerprint(at(1, len(lines), end + 1, column=start + 1), lines)

    assert named(lines) == named(LAID_OUT[0])
    assert named([line.replace("# b", "# c") for line in lines]) != named(lines)


def test_less_than_a_call_is_known_by_its_line():
    first, second, same = "a = f(eps=1.0)", "b = f(eps=1.0)", "    a = f( eps=1.0 )"
    names = [
        fingerprint(at(1, 1, line.index("1") + 4, column=line.index("1") + 1), [line])
        for line in (first, second, same)
    ]
    assert names[0] == names[2] != names[1]


def test_it_tells_rules_texts_and_layers_apart():
    lines = ["a = f(1)", "a = f(2)"]
    found = [at(1, 1), at(2, 2), at(1, 2), replace(at(1, 1), code="BN1"), replace(at(1, 1), name="other")]
    layers = [replace(at(1, 1), where=replace(at(1, 1).where, module=name)) for name in ("a.0", "a.1")]
    prints = [fingerprint(finding, lines) for finding in (*found, *layers)]
    assert len(set(prints)) == len(prints)


def test_baselines_that_were_written_still_hold():
    assert fingerprint(at(1, 1), ["    loader = DataLoader(data, batch_size=1)"]) == "aeaeb5030e0f2eba"


@given(st.lists(FINDINGS, max_size=6), LINES)
def test_no_two_findings_have_one_name(findings, lines):
    findings = [*findings, *findings[:2]]
    names = list(distinct(findings, lambda _: lines, str))
    assert len(set(names)) == len(names) == len(findings)


def test_files_whose_names_are_no_text_are_told_apart():
    files = [os.fsdecode(b"/p/\xff.py"), os.fsdecode(b"/p/\xfe.py")]
    first, second = distinct([at(1, 1, filename=name) for name in files], lambda _: ["x"], str)
    assert first != second


@given(st.integers(0, 4), LINES)
def test_equal_findings_keep_their_names_when_others_come_between(number, more):
    lines = ["x = 1", *more, "x = 1", "y = 2"]
    rows = (1, len(more) + 2)
    before = list(distinct([at(row, row) for row in rows], lambda _: lines, str))
    others = [at(len(lines), len(lines))] * number
    after = list(distinct([at(1, 1), *others, at(rows[1], rows[1])], lambda _: lines, str))
    assert [after[0], after[-1]] == before
