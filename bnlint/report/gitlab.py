"""A Code Quality report of GitLab, which is a list of issues as Code Climate defined them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnlint.fingerprint import distinct
from bnlint.report._served import Json, as_json, path, said, served, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.finding import Finding, Where
    from bnlint.report import View

SUMMARY = False

_SEVERITIES = {"error": "major", "warning": "minor", "info": "info"}


def render(findings: Sequence[Finding], view: View) -> str:
    """A list with an object for each finding; empty where there is none."""
    view = served(view)
    names = distinct(findings, view.lines, lambda filename: path(filename, view))
    return as_json([_issue(finding, name, view) for finding, name in zip(findings, names, strict=True)])


def _issue(finding: Finding, name: str, view: View) -> Json:
    """GitLab shows the description alone, and takes findings with one fingerprint for one."""
    return {
        "type": "issue",
        "check_name": finding.code,
        "description": f"{finding.code} {finding.name}: {said(finding.message, finding.where)}",
        "categories": ["Bug Risk"],
        "severity": _SEVERITIES[finding.severity],
        "fingerprint": name,
        "location": _location(finding.where, view),
        "other_locations": [_location(step.where, view) for step in finding.evidence],
    }


def _location(where: Where, view: View) -> Json:
    row, column, end_row, end_column = span(where)
    return {
        "path": path(where.filename, view),
        "lines": {"begin": row, "end": end_row},
        "positions": {
            "begin": {"line": row, "column": column},
            "end": {"line": end_row, "column": end_column},
        },
    }
