"""SARIF 2.1.0, the standard for what linters find: GitHub's code scanning and editors read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bnlint.fingerprint import distinct
from bnlint.report._sarif_places import ROOT, fixes, location, steps
from bnlint.report._sarif_rules import LEVELS, descriptor, rules
from bnlint.report._served import Json, as_json, path, said, served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.finding import Finding
    from bnlint.report import About, View

SUMMARY = False

_SEMANTIC = re.compile(r"\d+\.\d+\.\d+")


def render(findings: Sequence[Finding], view: View) -> str:
    """A log with one run."""
    view = served(view)
    about = rules(findings, view)
    index = {one.code: number for number, one in enumerate(about)}
    names = distinct(findings, view.lines, lambda filename: path(filename, view))
    run = {
        "tool": {"driver": _driver(about, view.version)},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the checked out source."}}},
        "results": [
            {"ruleId": finding.code, "ruleIndex": index[finding.code], **_result(finding, name, view)}
            for finding, name in zip(findings, names, strict=True)
        ],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return as_json({"$schema": schema, "version": "2.1.0", "runs": [run]})


def _driver(about: Sequence[About], version: str) -> Json:
    driver: Json = {"name": "bnlint", "rules": [descriptor(one) for one in about]}
    if version:
        driver["version"] = version
    if _SEMANTIC.fullmatch(version):
        driver["semanticVersion"] = version
    return driver


def _result(finding: Finding, name: str, view: View) -> Json:
    return {
        "level": LEVELS[finding.severity],
        "message": {"text": said(finding.message, finding.where)},
        "locations": [location(finding.where, view)],
        **steps(finding.evidence, view),
        "partialFingerprints": _fingerprints(finding, name),
        **fixes(finding.fix, view),
        "properties": _properties(finding),
    }


def _fingerprints(finding: Finding, name: str) -> Json:
    """What a result is known by in the next run.

    GitHub goes by the hash of a line, which its upload computes, and warns of any other. It has to
    be ours for a notebook: there the row is none of the file, and findings of two cells would be one.
    """
    ours: Json = {"bnlint/v1": name}
    return ours if finding.where.cell is None else {**ours, "primaryLocationLineHash": name}


def _properties(finding: Finding) -> Json:
    """What SARIF has no field for."""
    where = finding.where
    more = {
        "cell": where.cell,
        "module": where.module,
        "measured": dict(finding.measured) if finding.measured else None,
    }
    known = {key: value for key, value in more.items() if value is not None}
    return {"name": finding.name, "severity": finding.severity, "confidence": finding.confidence, **known}
