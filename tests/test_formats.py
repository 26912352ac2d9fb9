"""What servers read: each format is parsed by other means than it is made with. SARIF has its own tests."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import jsonschema
import junitparser
import pytest
from findings import BASE, FINDINGS, TINY, VIEW, VIEWS, end, shown, whole
from hypothesis import given
from hypothesis import strategies as st

from bnlint import report
from bnlint.finding import Fix, Where

RICH = replace(
    TINY,
    where=replace(TINY.where, filename=f"{BASE}/try.ipynb", cell=3, module="body.0.bn"),
    fix=Fix("unsafe", "Use 8 samples.", ()),
)
LONG = replace(TINY, severity="info", where=Where(f"{BASE}/c.py", 4, 10, 6, 2), evidence=())
SERVED = ("github", "gitlab", "junit", "sarif")


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.delenv("CI_PROJECT_DIR", raising=False)


def render(form, *findings, view=VIEW):
    return report.load(form).render(findings, view)


@pytest.mark.parametrize("form", SERVED)
def test_paths_begin_at_the_checkout_of_the_server(form, monkeypatch):
    inside = replace(VIEW, base=f"{BASE}/src")
    here = render(form, LONG, TINY, view=inside)
    monkeypatch.setenv("CI_PROJECT_DIR", BASE)
    assert here != render(form, LONG, TINY)
    assert render(form, LONG, TINY, view=inside) == render(form, LONG, TINY)
    monkeypatch.setenv("CI_PROJECT_DIR", "/another/checkout")
    assert render(form, LONG, TINY, view=inside) == here
    monkeypatch.setenv("GITHUB_WORKSPACE", BASE)
    assert render(form, LONG, TINY, view=inside) == render(form, LONG, TINY)


@pytest.mark.parametrize("form", SERVED)
def test_colours_and_links_are_for_people(form):
    painted = replace(
        VIEW, paint=lambda text, style: f"\x1b[{style}m{text}", link=lambda text, url: text + url
    )
    assert render(form, TINY, RICH, view=painted) == render(form, TINY, RICH)


@pytest.mark.parametrize("form", ["gitlab", "junit", "sarif"])
@given(findings=st.lists(FINDINGS, max_size=3), view=VIEWS)
def test_files_are_ascii_whatever_they_are_written_to(form, findings, view):
    assert render(form, *findings, view=view).isascii()


# --- GitHub


def commands(text):
    """What the runner makes of a log: it unescapes in this order, and knows no other escapes."""
    for line in filter(None, re.split(r"\r\n|\r|\n", text)):
        assert line.startswith("::")
        info, _, data = line[2:].partition("::")
        name, _, properties = info.partition(" ")
        pairs = (pair.partition("=") for pair in properties.strip().split(",") if pair)
        yield name, {key: unescape(value, ":,") for key, _, value in pairs}, unescape(data)


def unescape(text, more=""):
    for sign in f"\r\n{more}%":
        text = text.replace(f"%{ord(sign):02X}", sign)
    return text


def test_github():
    assert render("github", TINY) == (
        "::warning file=src/a b.py,line=4,endLine=4,col=10,endColumn=44,title=BN301 tiny-batch"
        "::src/a b.py:4:10: BN301 [warning] tiny-batch: Each step sees one sample."
        "%0A1. src/a b.py:3:9: batch_size is 1%0A2. /elsewhere/b.py:7:1: the model is trained here\n"
    )


def test_github_is_silent_where_nothing_was_found():
    assert render("github") == ""


def test_github_takes_no_columns_of_several_lines_and_reads_them_in_the_text():
    ((name, properties, text),) = commands(render("github", LONG))
    assert name == "notice"
    assert properties == {"file": "c.py", "line": "4", "endLine": "6", "title": "BN301 tiny-batch"}
    assert text == "c.py:4:10: BN301 [info] tiny-batch: Each step sees one sample."


def test_github_names_cells_layers_and_fixes_in_the_text():
    ((_, _, text),) = commands(render("github", RICH))
    assert text.splitlines()[0] == (
        "try.ipynb:cell 3:4:10: BN301 [warning] tiny-batch: layer body.0.bn: Each step sees one sample."
    )
    assert text.splitlines()[-1] == "fix (unsafe): Use 8 samples."


@given(st.lists(FINDINGS, max_size=3), VIEWS)
def test_the_runner_understands_every_finding(findings, view):
    found = list(commands(render("github", *findings, view=view)))
    assert len(found) == len(findings)
    for finding, (name, properties, text) in zip(findings, found, strict=True):
        where = finding.where
        assert name == {"error": "error", "warning": "warning", "info": "notice"}[finding.severity]
        assert properties["file"] == shown(where.filename)
        assert properties["title"] == f"{finding.code} {finding.name}"
        assert int(properties["line"]) == where.row
        assert int(properties["endLine"]) == end(where)[0]
        assert ("col" in properties) == ("endColumn" in properties) == (end(where)[0] == where.row)
        cell = f":cell {where.cell}" if where.cell else ""
        assert f"{cell}:{where.row}:{where.column}: {finding.code} [{finding.severity}]" in text
        for said in (finding.message, *(step.message for step in finding.evidence)):
            assert f": {whole(said)}" in text


# --- GitLab

POSITION = {
    "type": "object",
    "required": ["line", "column"],
    "properties": {"line": {"type": "integer", "minimum": 1}, "column": {"type": "integer", "minimum": 1}},
}
LOCATION = {
    "type": "object",
    "required": ["path", "lines"],
    "properties": {
        "path": {"type": "string", "minLength": 1},
        "lines": {
            "type": "object",
            "required": ["begin"],
            "properties": {key: {"type": "integer", "minimum": 1} for key in ("begin", "end")},
        },
        "positions": {
            "type": "object",
            "required": ["begin", "end"],
            "properties": {"begin": POSITION, "end": POSITION},
        },
    },
}
CODE_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "type": {"const": "issue"},
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "categories": {"const": ["Bug Risk"]},
            "location": LOCATION,
            "other_locations": {"type": "array", "items": LOCATION},
        },
        "additionalProperties": False,
    },
}
"""What GitLab documents of a Code Quality report; what it checks itself is less."""


def issues(*findings, view=VIEW):
    found = json.loads(render("gitlab", *findings, view=view))
    jsonschema.validate(found, CODE_QUALITY)
    return found


def test_gitlab():
    (issue,) = issues(TINY)
    fingerprint = issue.pop("fingerprint")
    assert re.fullmatch("[0-9a-f]{32}", fingerprint)
    assert issue == {
        "type": "issue",
        "check_name": "BN301",
        "description": "BN301 tiny-batch: Each step sees one sample.",
        "categories": ["Bug Risk"],
        "severity": "minor",
        "location": {
            "path": "src/a b.py",
            "lines": {"begin": 4, "end": 4},
            "positions": {"begin": {"line": 4, "column": 10}, "end": {"line": 4, "column": 44}},
        },
        "other_locations": [
            {
                "path": "src/a b.py",
                "lines": {"begin": 3, "end": 3},
                "positions": {"begin": {"line": 3, "column": 9}, "end": {"line": 3, "column": 10}},
            },
            {
                "path": "/elsewhere/b.py",
                "lines": {"begin": 7, "end": 7},
                "positions": {"begin": {"line": 7, "column": 1}, "end": {"line": 7, "column": 1}},
            },
        ],
    }


def test_gitlab_names_cells_and_layers_in_the_description():
    assert issues(RICH)[0]["description"] == (
        "BN301 tiny-batch: cell 3, row 4, column 10, layer body.0.bn: Each step sees one sample."
    )


def test_gitlab_of_nothing_is_an_empty_list():
    assert issues() == []


@given(st.lists(FINDINGS, max_size=4), VIEWS)
def test_gitlab_gets_every_finding(findings, view):
    found = issues(*findings, view=view)
    assert len({issue["fingerprint"] for issue in found}) == len(found) == len(findings)
    for finding, issue in zip(findings, found, strict=True):
        where = finding.where
        assert issue["check_name"] == finding.code
        assert issue["description"].endswith(f": {whole(finding.message)}")
        assert (f"cell {where.cell}, row {where.row}" in issue["description"]) >= bool(where.cell)
        assert issue["severity"] == {"error": "major", "warning": "minor", "info": "info"}[finding.severity]
        assert issue["location"]["path"] == shown(where.filename)
        assert issue["location"]["positions"] == {
            "begin": {"line": where.row, "column": where.column},
            "end": dict(zip(("line", "column"), end(where), strict=True)),
        }


# --- JUnit


def suites(*findings, view=VIEW):
    """The suites of a report, whose numbers are those of what is in them."""
    text = render("junit", *findings, view=view)
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n<testsuites ')
    read = junitparser.JUnitXml.fromstring(text.encode())
    for part in (read, *read):
        said = part.tests, part.failures, part.errors, part.skipped
        part.update_statistics()
        assert said == (part.tests, part.failures, part.errors, part.skipped)
    return list(read)


XML = {0x9, 0xA, 0xD, *range(0x20, 0xD800), *range(0xE000, 0xFFFE), *range(0x10000, 0x110000)}
"""The letters that XML 1.0 can hold."""


def xml(text):
    return "".join(letter if ord(letter) in XML else "\ufffd" for letter in text)


def test_junit():
    assert render("junit", TINY) == (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<testsuites name="bnlint" tests="1" failures="1" errors="0" skipped="0" time="0">\n'
        '  <testsuite name="src/a b.py" tests="1" failures="1" errors="0" skipped="0" time="0">\n'
        '    <testcase classname="src/a b.py" name="BN301 tiny-batch (4:10)" file="src/a b.py" time="0" line="4">\n'
        '      <failure type="BN301" message="Each step sees one sample.">'
        f"{report.load('full').render([TINY], replace(VIEW, width=100)).rstrip()}</failure>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "</testsuites>\n"
    )


def test_junit_has_a_suite_for_each_file():
    first, second = suites(TINY, LONG, replace(TINY, code="BN101"))
    assert [(first.name, len(first)), (second.name, len(second))] == [("src/a b.py", 2), ("c.py", 1)]


def test_junit_names_cells_and_layers():
    ((case,),) = suites(RICH)
    assert case.name == "BN301 tiny-batch (cell 3:4:10, layer body.0.bn)"
    assert case.result[0].text.startswith("try.ipynb:cell 3:4:10: BN301 [warning] tiny-batch:\n")


def test_junit_of_nothing_is_a_test_that_passed():
    ((case,),) = suites()
    assert (case.name, case.classname, case.is_passed) == ("bnlint", "bnlint", True)


@given(st.lists(FINDINGS, min_size=1, max_size=4), VIEWS)
def test_junit_holds_every_finding(findings, view):
    cases = [case for suite in suites(*findings, view=view) for case in suite]
    files = list(dict.fromkeys(finding.where.filename for finding in findings))
    grouped = sorted(findings, key=lambda finding: files.index(finding.where.filename))
    for finding, case in zip(grouped, cases, strict=True):
        where, (failure,) = finding.where, case.result
        assert case.classname == xml(shown(where.filename))
        cell = f"cell {where.cell}:" if where.cell else ""
        assert f"({cell}{where.row}:{where.column}" in case.name
        assert isinstance(failure, junitparser.Failure)
        assert (failure.type, failure.message) == (finding.code, xml(finding.message))
        assert f"{finding.code} [{finding.severity}]" in failure.text
