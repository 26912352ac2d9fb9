"""A report on its way to the terminal or to a file, and the exit status that it means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bnlint.cli import FINDINGS, WRONG, save, say, terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.report import Report


def require_format(name: str) -> None:
    """Refuse what is no output format."""
    from bnlint.report import formats

    _require("--output-format", name, formats())


def require_severity(name: str) -> None:
    """Refuse what is no severity."""
    from bnlint.finding import SEVERITIES

    _require("--fail-on", name, SEVERITIES)


def _require(option: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise click.UsageError(f"{option}: {word} is none of {', '.join(known)}")


def show(
    found: Report,
    output_format: str,
    target: str | None = None,
    color: bool | None = None,  # noqa: FBT001  None leaves it to the terminal
) -> None:
    """Say what was skipped, and show the findings, unless nothing could be looked at."""
    from bnlint import report

    for line in found.skipped:
        say(f"skipped: {line}" if found.checked else line)
    if not found.checked:
        return
    form = report.load(output_format)
    view = replace(found.view, paint=terminal.paint, width=terminal.WIDTH if target else terminal.width())
    if terminal.follows_links() and not target:
        view = replace(view, link=terminal.link)
    closing = report.summary(found.findings, found.checked, view, noun=found.noun) if form.SUMMARY else ""
    text = form.render(found.findings, view) + closing
    if target:
        save(target, (text if color else click.unstyle(text)).encode("utf-8", "backslashreplace"))
    else:
        click.echo(text, nl=False, color=terminal.colors(color))


def status(found: Report, fail_on: str) -> int:
    """The exit status: findings from a severity on, or nothing that could be looked at."""
    from bnlint.finding import SEVERITIES

    grave = [*SEVERITIES][[*SEVERITIES].index(fail_on) :] if fail_on in SEVERITIES else []
    if not found.checked:
        return WRONG
    return FINDINGS if any(finding.severity in grave for finding in found) else 0
