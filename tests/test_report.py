"""What people and tools are shown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from findings import SOURCE
from hypothesis import assume, given
from hypothesis import strategies as st

from bnlint import report
from bnlint.finding import Edit, Finding, Fix, Step, Where
from bnlint.report import Report, View, _statistics

TINY = Finding(
    "BN301",
    "tiny-batch",
    "Each step sees one sample.",
    "warning",
    "high",
    Where("/p/src/a.py", 4, 10, 4, 44),
    (
        Step(Where("/p/src/a.py", 3, 9, 3, 10), "batch_size is 1"),
        Step(Where("/q/b.py", 7), "the model is trained here"),
    ),
)
VIEW = View(lines=lambda where: SOURCE if where.filename == "/p/src/a.py" else (), base="/p")


def show(finding: Finding, lines: list[str], width: int = 100) -> str:
    view = View(lines=lambda _: lines, width=width, base="/p")
    return report.load("full").render([finding], view)


def at(*span: int) -> Finding:
    return replace(TINY, where=Where("/p/a.py", *span), evidence=())


def test_full() -> None:
    assert report.load("full").render([TINY], VIEW) == (
        "src/a.py:4:10: BN301 [warning] tiny-batch:\n"
        "  Each step sees one sample.\n"
        "  3 | BATCH = 1\n"
        "  4 | loader = DataLoader(data, batch_size=BATCH)\n"
        "    |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "  1. src/a.py:3: batch_size is 1\n"
        "     BATCH = 1\n"
        "  2. /q/b.py:7: the model is trained here\n"
        "  help: bnlint rule BN301\n"
        "\n"
    )


def test_full_with_all_that_a_finding_can_have() -> None:
    rich = replace(
        TINY,
        where=replace(TINY.where, cell=3, module="body.0.bn"),
        confidence="medium",
        measured={"shift": 0.123456},
        fix=Fix("unsafe", "Use 8 samples.", ()),
    )
    text = report.load("full").render([rich], VIEW)
    assert "src/a.py:cell 3:4:10: BN301" in text
    assert "\n  layer: body.0.bn\n" in text
    assert "\n  confidence: medium\n" in text
    assert "\n  measured: shift = 0.1235\n" in text
    assert "\n  fix (unsafe): Use 8 samples.\n" in text


def test_concise() -> None:
    text = report.load("concise").render([TINY, at(1, 2, 1, 3)], VIEW)
    assert text == (
        "src/a.py:4:10: BN301 [warning] tiny-batch: Each step sees one sample.\n"
        "a.py:1:2: BN301 [warning] tiny-batch: Each step sees one sample.\n"
    )


def test_a_finding_on_several_lines_has_a_bracket() -> None:
    lines = ["loader = DataLoader(", "    data,", "    batch_size=1,", ")", "after"]
    assert show(at(1, 10, 4, 2), lines).splitlines()[2:-2] == [
        "  1 |   loader = DataLoader(",
        "    |  __________^",
        "  2 | |     data,",
        "  3 | |     batch_size=1,",
        "  4 | | )",
        "    | |_^",
    ]


def test_a_finding_on_many_lines_is_shortened() -> None:
    lines = ["f(", *(f"    {number}," for number in range(2, 40)), ")"]
    shown = show(at(1, 1, 40, 2), lines)
    assert [line.split("|")[0].strip() for line in shown.splitlines()[2:-2]] == [
        "1", "", "2", "3", "4", "", "39", "40", "",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["full", "concise"])
def test_nothing_found_is_nothing_shown(name: str) -> None:
    assert report.load(name).render([], VIEW) == ""


@pytest.mark.parametrize("where", [Where("/p/gone.py", 3, 1, 3, 2), Where("/p/src/a.py", 99, 1, 99, 2)])
def test_a_finding_without_source_is_shown(where: Where) -> None:
    text = report.load("full").render([replace(TINY, where=where, evidence=())], VIEW)
    assert text.splitlines()[1:] == ["  Each step sees one sample.", "  help: bnlint rule BN301", ""]


def test_text_fits_narrow_terminals() -> None:
    long = replace(TINY, message="Each step sees one sample, which says nothing about the data. " * 5)
    text = report.load("full").render([long], replace(VIEW, width=50))
    assert max(map(len, text.splitlines())) <= 50


@pytest.mark.parametrize("column", [1, 30, 200, 399, 400, 401])
def test_long_lines_are_cut_around_the_caret(column: int) -> None:
    line = "".join(chr(0x4E00 + i) if i % 7 == 0 else chr(97 + i % 26) for i in range(400))
    shown = show(at(1, column, 1, column + 3), [line], 80).splitlines()
    source, carets = shown[2], shown[3]
    assert columns(source) <= 80
    assert columns(carets) <= 80
    assert under(source, carets)[:1] == line[column - 1 : column]


def under(source: str, carets: str) -> str:
    """The letter above the first caret, by walking the columns."""
    target, reached = carets.index("^"), 0
    for letter in source:
        if reached >= target:
            return letter
        reached += columns(letter)
    return ""


def columns(text: str) -> int:
    """What a terminal makes of a text; a second opinion on what the report believes."""
    wide = {"W": 2, "F": 2}
    return sum(
        0
        if unicodedata.category(letter) in {"Mn", "Me"} or unicodedata.combining(letter)
        else wide.get(unicodedata.east_asian_width(letter), 1)
        for letter in text
    )


SAFE = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mn", "Me", "Mc"))
LETTERS = st.one_of(SAFE, st.sampled_from("\t日本é́"))


@given(st.text(LETTERS), SAFE, st.text(LETTERS, max_size=5), st.integers(40, 120))
def test_the_caret_stands_under_its_letter(before: str, letter: str, after: str, width: int) -> None:
    assume(not letter.isspace())
    shown = show(at(1, len(before) + 1, 1, len(before) + 2), [before + letter + after], width).splitlines()
    assert under(shown[2], shown[3]) == letter
    assert shown[3].count("^") == columns(letter)


@given(st.text(), st.integers(1, 50), st.integers(1, 50))
def test_no_source_breaks_the_report_or_reaches_the_terminal_raw(text: str, column: int, end: int) -> None:
    shown = show(at(1, column, 1, end), [text], 60)
    assert not {unicodedata.category(letter) for letter in shown.replace("\n", "")} & {"Cc", "Cf", "Cs"}


def test_escape_sequences_in_names_and_messages_are_shown_not_sent() -> None:
    evil = replace(
        TINY,
        message="see \x1b[2J",
        where=Where("/p/\x1b[31m.py"),
        evidence=(Step(Where("/p/\x1b.py"), "\x07"),),
    )
    for name in ("full", "concise"):
        assert "\x1b" not in report.load(name).render([evil], VIEW)


def test_json() -> None:
    fix = Fix("safe", "Say so.", (Edit(Where("/p/src/a.py", 4, 40, 4, 45), "8"),))
    rich = replace(
        TINY, measured={"shift": 1.5, "ratio": float("nan")}, fix=fix, where=replace(TINY.where, module="a.b")
    )
    (shown,) = json.loads(report.load("json").render([rich], VIEW))
    assert shown == {
        "code": "BN301",
        "name": "tiny-batch",
        "message": "Each step sees one sample.",
        "severity": "warning",
        "confidence": "high",
        "filename": "/p/src/a.py",
        "cell": None,
        "location": {"row": 4, "column": 10},
        "end_location": {"row": 4, "column": 44},
        "module": "a.b",
        "evidence": [
            {"filename": "/p/src/a.py", "row": 3, "message": "batch_size is 1"},
            {"filename": "/q/b.py", "row": 7, "message": "the model is trained here"},
        ],
        "measured": {"shift": 1.5, "ratio": None},
        "fix": {
            "applicability": "safe",
            "message": "Say so.",
            "edits": [
                {
                    "filename": "/p/src/a.py",
                    "content": "8",
                    "location": {"row": 4, "column": 40},
                    "end_location": {"row": 4, "column": 45},
                }
            ],
        },
        "url": None,
    }


def test_json_of_nothing_is_an_empty_list() -> None:
    assert json.loads(report.load("json").render([], VIEW)) == []


@given(st.text())
def test_json_is_valid_whatever_is_said(text: str) -> None:
    (shown,) = json.loads(report.load("json").render([replace(TINY, message=text)], VIEW))
    assert shown["message"] == text


def test_the_summary_counts() -> None:
    error, info = replace(TINY, severity="error"), replace(TINY, severity="info")
    assert (
        report.summary([TINY, error, info, info, error, info], 12, VIEW)
        == "Found 2 errors, 1 warning, 3 info in 12 files.\n"
    )
    assert report.summary([], 1, VIEW) == "All clear: 1 file checked.\n"


def test_statistics_are_ordered_by_number() -> None:
    findings = [TINY, replace(TINY, code="BN201", name="other"), TINY]
    assert (
        _statistics.as_text(findings, VIEW) == "2  BN301  [warning]  tiny-batch\n1  BN201  [warning]  other\n"
    )
    assert json.loads(_statistics.as_json(findings))[0] == {
        "code": "BN301", "name": "tiny-batch", "severity": "warning", "count": 2,
    }  # fmt: skip
    assert json.loads(_statistics.as_json([])) == []


def test_formats_are_found_by_their_file_names() -> None:
    assert {"full", "concise", "json"} <= set(report.formats())
    for name in report.formats():
        form = report.load(name)
        assert isinstance(form.SUMMARY, bool)
        assert form.render([TINY], VIEW).endswith("\n")


def test_every_part_is_painted_in_a_known_style() -> None:
    used = set()

    def paint(text: str, style: str) -> str:
        used.add(style)
        return text

    view = replace(VIEW, paint=paint)
    for severity in ("error", "warning", "info"):
        report.load("full").render([replace(TINY, severity=severity)], view)
    report.summary([], 1, view)
    assert used == set(report.STYLES)


def test_a_report_is_iterable_and_prints_as_the_command_line_does() -> None:
    found = Report((TINY,), ("gone.py: no such file or folder",), 3, VIEW)
    assert list(found) == [TINY]
    assert len(found) == 1
    assert str(found).startswith("src/a.py:4:10: BN301 [warning] tiny-batch:\n")
    assert str(found).endswith("skipped: gone.py: no such file or folder\nFound 1 warning in 3 files.")
    assert json.loads(found.to_json())[0]["code"] == "BN301"
    with pytest.raises(report.FindingsError, match="tiny-batch"):
        found.raise_for_findings()
    Report((), (), 3).raise_for_findings()


RUFF = shutil.which(
    "ruff", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)


@pytest.mark.skipif(RUFF is None, reason="needs ruff")
def test_json_has_the_shape_of_ruff_s(tmp_path: Path) -> None:
    """Whoever reads ruff's JSON finds the same keys, with values of the same kinds."""
    assert RUFF
    (tmp_path / "a.py").write_text("import os\n")
    command = [
        RUFF,
        "check",
        "--isolated",
        "--no-cache",
        "--select",
        "F401",
        "--output-format",
        "json",
        "a.py",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    (theirs,) = json.loads(done.stdout)
    (ours,) = json.loads(report.load("json").render([TINY], VIEW))
    both = {"cell", "code", "end_location", "filename", "fix", "location", "message", "url"}
    assert both <= set(theirs)
    assert both <= set(ours)
    for key in ("code", "filename", "message"):
        assert type(ours[key]) is type(theirs[key]) is str
    for key in ("location", "end_location"):
        assert set(ours[key]) == set(theirs[key]) == {"row", "column"}
    assert os.path.isabs(theirs["filename"])
    assert os.path.isabs(ours["filename"])
    assert theirs["cell"] is None
    assert ours["cell"] is None


class TestTogether:
    """`one | other`, as of linting and of a check."""

    SOURCE = Finding(
        "BN203", "bias-before-batchnorm", "Cancelled.", "info", "high", Where("net.py", 9, 21, 9, 40)
    )

    def live(self, module: str, row: int = 9) -> Finding:
        return replace(self.SOURCE, where=Where("net.py", row, 21, row, 40, module=module))

    def test_what_both_find_at_one_place_is_what_the_check_found(self) -> None:
        layers = (self.live("body.0"), self.live("body.1"))
        found = Report((self.SOURCE,), checked=1) | Report(layers, checked=2, noun="BatchNorm layer")
        assert found.findings == layers
        assert (found.checked, found.noun) == (3, "part")

    def test_what_one_of_them_finds_is_kept(self) -> None:
        other = replace(self.SOURCE, code="BN301", measured={"samples": 8.0})
        found = Report((self.SOURCE,), ("a",), 1) | Report((other, self.live("head", 12)), ("a", "b"), 1)
        assert found.findings == (self.SOURCE, other, self.live("head", 12))
        assert (found.skipped, found.checked, found.noun) == (("a", "b"), 2, "file")

    def test_the_same_twice_is_once(self) -> None:
        found = Report((self.SOURCE,), checked=1)
        assert (found | found).findings == (self.SOURCE,)
