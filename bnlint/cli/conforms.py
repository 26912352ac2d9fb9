"""`bnlint conforms PKG.MOD:CLASS` compares a home-made BatchNorm with the definition."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from bnlint.cli import FINDINGS, WRONG, Refused, say, terminal
from bnlint.cli.imported import imported
from bnlint.cli.words import OneOf, formats, severities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.finding import Finding
    from bnlint.report import Report


@click.command()
@click.argument("name", metavar="PKG.MOD:CLASS")
@click.option("--output-format", type=OneOf(formats), default="full", help="How findings are shown.")
@click.option("--fail-on", type=OneOf(severities), default="warning", help="Exit 1 from here on.")
@terminal.color_option
@click.pass_context
def conforms(ctx: click.Context, /, name: str, output_format: str, fail_on: str, color: bool | None) -> None:  # noqa: FBT001
    """Compare a home-made BatchNorm with the definition.

    PKG.MOD is imported as Python does from the current folder, and the code of CLASS is run: built with a
    number of channels, called with small inputs. A layer that is built already may stand in place of the
    class. What the code prints goes to standard error. Exit status: 0 if nothing at --fail-on or above was
    found, 1 if something was, 2 if the layer could not be built and run.
    """
    from bnlint import report as shown
    from bnlint.conformity import MissingTorchError, report, require_torch
    from bnlint.finding import SEVERITIES

    if output_format not in shown.formats():
        raise click.UsageError(f"--output-format: {output_format} is none of {', '.join(shown.formats())}")
    if fail_on not in SEVERITIES:
        raise click.UsageError(f"--fail-on: {fail_on} is none of {', '.join(SEVERITIES)}")
    with contextlib.redirect_stdout(sys.stderr):
        try:
            require_torch()
            found = report(imported(name))
        except (MissingTorchError, TypeError) as problem:
            raise Refused(str(problem)) from None
    for line in found.skipped:
        say(f"skipped: {line}" if found.checked else line)
    if not found.checked:
        ctx.exit(WRONG)
    click.echo(_rendered(found, output_format), nl=False, color=terminal.colors(color))
    ctx.exit(FINDINGS if _fails(found.findings, SEVERITIES[SEVERITIES.index(fail_on) :]) else 0)


def _fails(findings: Sequence[Finding], severities: Sequence[str]) -> bool:
    return any(finding.severity in severities for finding in findings)


def _rendered(found: Report, output_format: str) -> str:
    from dataclasses import replace

    from bnlint import report

    form = report.load(output_format)
    view = replace(found.view, paint=terminal.paint, width=terminal.width())
    if terminal.follows_links():
        view = replace(view, link=terminal.link)
    text = form.render(found.findings, view)
    closing = report.summary(found.findings, found.checked, view, noun=found.noun)
    return text + (closing if form.SUMMARY else "")
