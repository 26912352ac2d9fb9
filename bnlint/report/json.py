"""A JSON list, shaped as ruff's so that its readers work."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.finding import Edit, Finding, Fix, Step, Where
    from bnlint.report import View

SUMMARY = False

Json = dict[str, object]


def render(findings: Sequence[Finding], _view: View) -> str:
    """A list with an object for each finding; empty where there is none."""
    return json.dumps([_finding(finding) for finding in findings], indent=2) + "\n"


def _finding(finding: Finding) -> Json:
    where = finding.where
    return {
        "code": finding.code,
        "name": finding.name,
        "message": finding.message,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "filename": os.path.abspath(where.filename),
        "cell": where.cell,
        **_span(where),
        "module": where.module,
        "evidence": [_step(step) for step in finding.evidence],
        "measured": _numbers(finding),
        "fix": None if finding.fix is None else _fix(finding.fix),
        "url": None,  # the documentation has no home on the web yet: `bnlint rule CODE` shows it
    }


def _span(where: Where) -> Json:
    return {
        "location": {"row": where.row, "column": where.column},
        "end_location": {"row": where.end_row, "column": where.end_column},
    }


def _step(step: Step) -> Json:
    return {
        "filename": os.path.abspath(step.where.filename),
        **_cell(step.where),
        "row": step.where.row,
        "message": step.message,
    }


def _numbers(finding: Finding) -> Json | None:
    """What was measured; NaN and infinity, which JSON does not have, become null."""
    if finding.measured is None:
        return None
    finite = {key: value - value == 0 for key, value in finding.measured.items()}
    return {key: value if finite[key] else None for key, value in finding.measured.items()}


def _fix(fix: Fix) -> Json:
    return {
        "applicability": fix.applicability,
        "message": fix.message,
        "edits": [_edit(edit) for edit in fix.edits],
    }


def _edit(edit: Edit) -> Json:
    where = edit.where
    return {
        "filename": os.path.abspath(where.filename),
        **_cell(where),
        "content": edit.content,
        **_span(where),
    }


def _cell(where: Where) -> Json:
    """Rows of a notebook mean nothing without their cell; elsewhere there is none to name."""
    return {} if where.cell is None else {"cell": where.cell}
