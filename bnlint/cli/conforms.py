"""`bnlint conforms PKG.MOD:CLASS` compares a home-made BatchNorm with the definition."""

from __future__ import annotations

import contextlib
import sys

import click

from bnlint.cli import Refused, terminal
from bnlint.cli.imported import imported
from bnlint.cli.reporting import require_format, require_severity, show, status
from bnlint.cli.words import OneOf, formats, severities


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
    from bnlint.conformity import MissingTorchError, report, require_torch

    require_format(output_format)
    require_severity(fail_on)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            require_torch()
            found = report(imported(name))
        except (MissingTorchError, TypeError) as problem:
            raise Refused(str(problem)) from None
    show(found, output_format, color=color)
    ctx.exit(status(found, fail_on))
