"""How often each rule spoke, in place of the findings."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.finding import Finding
    from bnlint.report import View


def tally(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """A row for each code, name and severity, the most frequent first."""
    numbers = Counter((finding.code, finding.name, finding.severity) for finding in findings)
    ordered = sorted(numbers.items(), key=lambda row: (-row[1], row[0]))
    return [
        {"code": code, "name": name, "severity": severity, "count": number}
        for (code, name, severity), number in ordered
    ]


def render(findings: Sequence[Finding], view: View, form: str) -> str:
    """The table for people, or as JSON where that was asked for."""
    return as_json(findings) if form == "json" else as_text(findings, view)


def as_text(findings: Sequence[Finding], view: View) -> str:
    """A table."""
    rows = tally(findings)
    digits = max((len(str(row["count"])) for row in rows), default=0)
    return "".join(
        f"{row['count']:>{digits}}  {view.paint(str(row['code']), 'code')}  "
        f"{view.paint('[' + str(row['severity']) + ']', str(row['severity']))}  {row['name']}\n"
        for row in rows
    )


def as_json(findings: Sequence[Finding]) -> str:
    """The table as a JSON list."""
    import json

    return json.dumps(tally(findings), indent=2) + "\n"
