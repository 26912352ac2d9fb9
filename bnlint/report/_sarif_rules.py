"""Rules as SARIF describes them: what GitHub shows beside an alert."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from bnlint.report import About
from bnlint.report._markdown import first_section, markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.finding import Finding
    from bnlint.report import View
    from bnlint.report._served import Json

LEVELS = {"error": "error", "warning": "warning", "info": "note"}

_PROBLEMS = {"error": "error", "warning": "warning", "info": "recommendation"}
_LONGEST = 1024
"""GitHub takes no longer description."""


def rules(findings: Sequence[Finding], view: View) -> list[About]:
    """What is known of each rule that has found something, by code."""
    return [_about(finding, view) for _, finding in sorted({one.code: one for one in findings}.items())]


def _about(finding: Finding, view: View) -> About:
    """What the view knows of the rule, or what the finding says of it."""
    known = view.about(finding.code)
    if known is not None:
        return known
    return About(finding.code, finding.name, finding.severity, finding.name, finding.name)


def descriptor(about: About) -> Json:
    """A rule, under the name by which comments and settings know it."""
    described = first_section(about.documentation) or about.summary
    rule: Json = {
        "id": about.code,
        "name": about.name,
        "shortDescription": {"text": textwrap.shorten(about.summary, _LONGEST, placeholder=" …")},
        "fullDescription": {"text": textwrap.shorten(described, _LONGEST, placeholder=" …")},
        "help": {"text": about.documentation, "markdown": markdown(about.documentation)},
        "defaultConfiguration": {"level": LEVELS[about.severity]},
        "properties": {
            "tags": ["pytorch", "batch-normalization"],
            "precision": "high",  # what cannot be determined is not reported
            "problem.severity": _PROBLEMS[about.severity],
        },
    }
    if about.page.startswith(("https://", "http://")):  # a file of this machine helps nobody else
        rule["helpUri"] = about.page
    return rule
