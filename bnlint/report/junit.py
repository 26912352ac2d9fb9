"""JUnit's XML, which every build server can read: a suite for each file, a failed test for each finding."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from bnlint.report import full
from bnlint.report._served import path, served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.finding import Finding, Where
    from bnlint.report import View

SUMMARY = False

_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(findings: Sequence[Finding], view: View) -> str:
    """One document; where nothing was found it holds one test that passed, as some readers want any."""
    view = served(view)
    root = _group(ET.Element("testsuites"), "bnlint", findings)
    files: dict[str, list[Finding]] = {}
    for finding in findings:
        files.setdefault(finding.where.filename, []).append(finding)
    for filename, some in files.items():
        suite = _group(ET.SubElement(root, "testsuite"), path(filename, view), some)
        for finding in some:
            _case(suite, finding, view)
    if not findings:
        suite = _group(ET.SubElement(root, "testsuite"), "bnlint", findings)
        ET.SubElement(suite, "testcase", classname="bnlint", name="bnlint", time="0")
    ET.indent(root)
    text = ET.tostring(root, encoding="us-ascii", xml_declaration=False).decode("ascii")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _group(element: ET.Element, name: str, findings: Sequence[Finding]) -> ET.Element:
    """A suite, or all of them: its name and its numbers."""
    number = len(findings)
    counts = {"tests": max(number, 1), "failures": number, "errors": 0, "skipped": 0, "time": 0}
    element.set("name", _xml(name))
    for key, count in counts.items():
        element.set(key, str(count))
    return element


def _case(suite: ET.Element, finding: Finding, view: View) -> None:
    """A failed test: GitLab shows the text below it, Jenkins the message as well."""
    where = finding.where
    name = _xml(path(where.filename, view))
    case = ET.SubElement(suite, "testcase", classname=name, name=_name(finding), file=name, time="0")
    case.set("line", str(where.row))
    failure = ET.SubElement(case, "failure", type=finding.code, message=_xml(finding.message))
    failure.text = _xml(full.render((finding,), view).rstrip())


def _name(finding: Finding) -> str:
    """The rule and the place: of tests with one name, GitLab shows only the first."""
    return _xml(f"{finding.code} {finding.name} ({_spot(finding.where)})")


def _spot(where: Where) -> str:
    cell = "" if where.cell is None else f"cell {where.cell}:"
    layer = "" if where.module is None else f", layer {where.module}"
    return f"{cell}{where.row}:{where.column}{layer}"


def _xml(text: str) -> str:
    """A text without the letters that XML has no way to write."""
    return _NO_XML.sub("\ufffd", text)
