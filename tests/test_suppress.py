"""Comments silence what they name, where they stand, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnlint.finding import Finding, Where
from bnlint.suppress import Suppressions, parse, read_comments


def finding(
    code: str = "BN201", name: str = "batchnorm-on-output", row: int = 1, end_row: int = 0
) -> Finding:
    return Finding(code, name, "message", "warning", "high", Where("a.py", row, 1, end_row or row, 2))


BN201, BN301, BN000 = finding(), finding("BN301", "tiny-batch"), finding("BN000", "unreadable-source")


def silenced(source: str, *findings: Finding) -> list[str]:
    kept = Suppressions(lambda _: source.encode()).keep(findings)
    return [one.code for one in findings if one not in kept]


def notes(source: str) -> list[str]:
    comments = Suppressions(lambda _: source.encode())
    comments.keep([BN201])
    return [f"{note.where.filename}:{note.where.row}: {note.message}" for note in comments.notes()]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# noqa", ["BN201", "BN301"]),
        ("#noqa", ["BN201", "BN301"]),
        ("# NOQA", ["BN201", "BN301"]),
        ("# type: ignore # noqa", ["BN201", "BN301"]),
        ("# noqa: BN201", ["BN201"]),
        ("# noqa:BN201", ["BN201"]),
        ("# noqa : bn201", ["BN201"]),
        ("# noqa: BN3", ["BN301"]),
        ("# noqa: BN", ["BN201", "BN301"]),
        ("# noqa: BN201,BN3", ["BN201", "BN301"]),
        ("# noqa: BN201 BN301", ["BN201", "BN301"]),
        ("# noqa: E501, BN201", ["BN201"]),
        ("# noqa: BN201, E501, my-plugin, WPS432", ["BN201"]),
        ("# noqa: my-plugin, BN201", ["BN201"]),
        ("# noqa: BN201 because the loss wants it, not BN301", ["BN201"]),
        ("# noqa: E501", []),
        ("# noqa: PLR2004,WPS432", []),
        ("# noqa:", []),
        ("# noqa: no code at all", []),
        ("# noqa-file", []),
        ("# noqable", []),
        ("# flake8: noqa", []),
        ("# about noqa", []),
        ("# bnlint: ignore", ["BN201", "BN301"]),
        ("# bnlint: ignore, says the paper", ["BN201", "BN301"]),
        ("# bnlint:ignore[BN201]", ["BN201"]),
        ("# bnlint: ignore[BN201] the paper does it so", ["BN201"]),
        ("# BNLINT: Ignore[ bn201 , tiny-batch ]", ["BN201", "BN301"]),
        ("# bnlint: ignore[batchnorm_on_output]", ["BN201"]),
        ("# bnlint: ignore[ALL]", ["BN201", "BN301"]),
        ("# type: ignore  # bnlint: ignore[BN3]", ["BN301"]),
        ("# bnlint: ignore[]", []),
        ("# bnlint: ignore[BN201", []),
        ("# bnlint: ignore[BN999]", []),
        ("# bnlint: ignore[E501, BN201]", ["BN201"]),
        ("# bnlint: skip", []),
        ("# bnlint is great", []),
    ],
)
def test_what_a_comment_silences(comment: str, expected: list[str]) -> None:
    assert silenced(f"x = 1  {comment}\n", BN201, BN301) == expected


@pytest.mark.parametrize(
    ("comment", "note"),
    [
        ("# noqa: BN999", 'a.py:1: unknown rule "BN999", the nearest is "BN'),
        ("# bnlint: ignore[tiny-bach]", 'a.py:1: unknown rule "tiny-bach", the nearest is "tiny-batch"'),
        ("# bnlint: ingore[BN201]", 'a.py:1: unknown comment "bnlint: ingore", the nearest is "ignore"'),
        ("# bnlint: ignore[BN201", 'a.py:1: "bnlint: ignore[" without "]" silences nothing'),
        ("# noqa:", 'a.py:1: "noqa:" without a code silences nothing'),
        ("# bnlint: ignore[]", 'a.py:1: "bnlint: ignore[]" names no rule'),
        ("# bnlint: ignore BN301", 'a.py:1: write "bnlint: ignore[BN301]": as it stands it silences nothing'),
        ("# bnlint: ignore: bn301", 'a.py:1: write "bnlint: ignore[bn301]": as it stands it'),
        ("# bnlint: ignore(BN201)", 'a.py:1: write "bnlint: ignore[BN201]": as it stands it'),
        ("# bnlint: skip-file", 'a.py:1: "bnlint: skip-file" counts above the first statement only'),
    ],
)
def test_a_wrong_comment_is_noted(comment: str, note: str) -> None:
    (only,) = notes(f"x = 1  {comment}\n")
    assert only.startswith(note)


@pytest.mark.parametrize(
    "comment", ["# noqa: E501", "# noqa: XYZ123", "# bnlint: ignore[BN201]", "# bnlint: ignore the paper"]
)
def test_a_right_comment_and_those_of_other_tools_are_not_noted(comment: str) -> None:
    assert notes(f"x = 1  {comment}\n") == []


def test_skip_file_above_the_first_statement_is_right() -> None:
    assert notes("# bnlint: skip-file\nx = 1\n") == []


NETWORK = """\
import torch  # noqa: BN201

net = Sequential(  {first}
    Conv(3, 8),  {beside}
    BatchNorm(  {start}
        8,  {middle}
    ),  {end}
)  {last}
after = 1  {after}
"""
HERE = finding(row=5, end_row=7)


@pytest.mark.parametrize(
    ("place", "counts"),
    [("first", 1), ("beside", 0), ("start", 1), ("middle", 1), ("end", 1), ("last", 1), ("after", 0)],
)
def test_where_a_comment_counts(place: str, counts: int) -> None:
    places = dict.fromkeys(("first", "beside", "start", "middle", "end", "last", "after"), "")
    source = NETWORK.format(**{**places, place: "# noqa: BN201"})
    assert len(silenced(source, HERE)) == counts


def test_a_comment_in_the_body_is_not_about_the_whole_class() -> None:
    source = "class Net(\n    Module,\n):  {}\n    x = 1  {}\n    y = 2\n"
    whole = finding(row=1, end_row=5)
    assert silenced(source.format("# noqa", ""), whole) == ["BN201"]
    assert silenced(source.format("", "# noqa"), whole) == []


def test_a_comment_after_a_continued_line_counts() -> None:
    assert silenced("x = \\\n    1  # noqa\n", finding(row=1)) == ["BN201"]


def test_skip_file_counts_before_the_first_statement_only() -> None:
    assert silenced('#!/usr/bin/python\n"""Doc."""\n# bnlint: skip-file\nx = 1\n', finding(row=4)) == [
        "BN201"
    ]
    assert silenced("x = 1\n# bnlint: skip-file\ny = 1\n", finding(row=3)) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = '# noqa'\n",
        'x = """\n# noqa\n"""\n',
        "x = f'{1} # noqa'\n",
        "x = r'# bnlint: ignore'\n",
        "'''# bnlint: skip-file'''\nx = 1\n",
    ],
)
def test_strings_are_no_comments(source: str) -> None:
    assert silenced(source, finding(row=1), finding(row=2)) == []


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_no_string_is_a_comment(text: str) -> None:
    source = f"x = {'# noqa ' + text!r}\ny = {'# bnlint: ignore ' + text!a}\n"
    found = read_comments(source.split("\n"))
    assert not found.by_row
    assert not found.skip_file


@given(st.text())
def test_no_comment_breaks_the_parser(text: str) -> None:
    for start in ("# noqa:", "# noqa", "# bnlint:", "# bnlint: ignore[", ""):
        list(parse(start + text))


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
def test_no_source_breaks_the_reader(text: str) -> None:
    read_comments((text + "\n# noqa").split("\n"))


def test_bn000_is_not_silenced_from_inside_its_file() -> None:
    assert (
        silenced("# bnlint: skip-file\nx = (  # noqa\n", BN000, finding("BN000", "internal-fault", row=2))
        == []
    )


def test_comments_before_a_tokenizer_s_fault_count() -> None:
    assert silenced("x = 1  # noqa\ny = '''\n", BN201) == ["BN201"]


def test_a_coding_cookie_is_honoured() -> None:
    source = "# coding: latin-1\nx = 'é'  # noqa\n".encode("latin-1")
    kept = Suppressions(lambda _: source).keep([finding(row=2)])
    assert not kept


def test_a_file_without_a_mark_is_not_tokenised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnlint.suppress.read_comments", lambda _: pytest.fail("tokenised"))
    assert silenced("x = 1  # fine\n", BN201) == []


def test_only_files_with_findings_are_read() -> None:
    comments = Suppressions(lambda _: pytest.fail("read"))
    assert comments.keep([]) == ()
    assert not list(comments.notes())


def unused(source: str, *findings: Finding, off: str = "") -> list[tuple[int, int, int, str]]:
    """Row, columns and message of each comment that silences nothing; the rule `off` was not asked for."""
    comments = Suppressions(lambda _: source.encode())
    comments.keep(findings)
    found = list(comments.unused(["a.py"], lambda word, _: not off or word not in {"ALL", off, off[:3]}))
    assert all((one.code, one.name) == ("BN000", "unused-noqa") for one in found)
    return [
        (one.where.row, one.where.column, one.where.end_column, one.message.partition(":")[0])
        for one in found
    ]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# noqa: BN201", []),
        ("# noqa: BN301", [(1, 8, 21, "`# noqa")]),
        ("# noqa: BN3, E501 as the paper", [(1, 8, 25, "`# noqa")]),
        ("# noqa: BN201, BN301", [(1, 8, 28, "BN301 in `# noqa")]),
        ("# noqa: BN2", []),
        ("# noqa", []),
        ("# noqa: E501", []),
        ("# bnlint: ignore", []),
        ("# bnlint: ignore[tiny-batch] why", [(1, 8, 36, "`# bnlint")]),
        ("# type: ignore  # bnlint: ignore[BN405]", [(1, 24, 47, "`# bnlint")]),
        ("# bnlint: ignore[BN201, ALL]", []),
        ("# bnlint: skip-file", [(1, 8, 27, "`# bnlint")]),
    ],
)
def test_a_comment_that_silences_nothing_is_pointed_out(comment, expected) -> None:
    assert unused(f"x = 1  {comment}\n", BN201) == expected


def test_a_comment_that_no_finding_asks_for_is_looked_at() -> None:
    assert unused("x = 1  # bnlint: ignore\n") == [(1, 8, 24, "`# bnlint")]
    assert unused("# bnlint: skip-file\nx = 1\n") == [(1, 1, 20, "`# bnlint")]
    assert unused("# bnlint: skip-file\nx = 1\n", finding(row=2)) == []


def test_what_a_rule_that_is_off_would_have_said_is_not_known() -> None:
    source = "x = 1  # noqa: BN301, BN405\ny = 1  # bnlint: ignore\n"
    assert unused(source, off="BN301") == [(1, 8, 28, "BN405 in `# noqa")]
