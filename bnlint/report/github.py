"""Workflow commands of GitHub Actions: findings stand in the log, and beside the code of a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnlint.report._served import path, place, served, sound, span
from bnlint.report.concise import headline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.finding import Finding
    from bnlint.report import View

SUMMARY = True

_COMMANDS = {"error": "error", "warning": "warning", "info": "notice"}


def render(findings: Sequence[Finding], view: View) -> str:
    """`::warning file=src/a.py,line=4,…,title=BN301 tiny-batch::src/a.py:4:10: BN301 …`."""
    view = served(view)
    return "".join(_command(finding, view) for finding in findings)


def _command(finding: Finding, view: View) -> str:
    properties = ",".join(f"{key}={_property(value)}" for key, value in _properties(finding, view))
    return f"::{_COMMANDS[finding.severity]} {properties}::{_data(_text(finding, view))}\n"


def _properties(finding: Finding, view: View) -> Iterator[tuple[str, str]]:
    row, column, end_row, end_column = span(finding.where)
    yield "file", path(finding.where.filename, view)
    yield "line", str(row)
    yield "endLine", str(end_row)
    if row == end_row:  # GitHub drops columns of different lines
        yield "col", str(column)
        yield "endColumn", str(end_column)
    yield "title", f"{finding.code} {finding.name}"


def _text(finding: Finding, view: View) -> str:
    """The log shows this text and nothing else, so it names the place as well."""
    layer = "" if finding.where.module is None else f" layer {finding.where.module}:"
    lines = [f"{headline(finding, view)}{layer} {finding.message}"]
    for number, step in enumerate(finding.evidence, start=1):
        lines.append(f"{number}. {place(step.where, view)}: {step.message}")
    if finding.fix is not None:
        lines.append(f"fix ({finding.fix.applicability}): {finding.fix.message}")
    return "\n".join(lines)


def _data(text: str) -> str:
    """What the runner turns back into this text."""
    return sound(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The same for what stands between commas, before two colons."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
