"""One line for each finding: for editors, for grep, and for those who know the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnlint.report import position
from bnlint.report._excerpt import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.finding import Finding
    from bnlint.report import View

SUMMARY = True


def render(findings: Sequence[Finding], view: View) -> str:
    """`path:row:column: BN301 [warning] tiny-batch: message`, in which a layer of a live model is named."""
    return "".join(f"{headline(finding, view)} {_said(finding)}\n" for finding in findings)


def _said(finding: Finding) -> str:
    layer = f"layer {finding.where.module}: " if finding.where.module else ""
    return visible(layer + finding.message)


def headline(finding: Finding, view: View) -> str:
    """Where a finding is, and what it is, up to its message."""
    where = finding.where
    place = view.paint(visible(view.path(where.filename)), "path") + f"{position(where)}:"
    severity = view.paint(f"[{finding.severity}]", finding.severity)
    return f"{place} {view.code(finding.code)} {severity} {finding.name}:"
