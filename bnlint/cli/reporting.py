"""A report on its way to the terminal or to a file, and the exit status that it means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bnlint.cli import FINDINGS, WRONG, save, say, terminal

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from bnlint.report import Report, View

OUTPUT = ("-", "/dev/stdout")
"""Names of standard output."""


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


def emit(
    rendered: Callable[[View], str],
    view: View,
    target: str | os.PathLike[str] | None,
    color: bool | None,  # noqa: FBT001  None leaves it to the terminal
) -> None:
    """Write what a view shows to where it was asked for: to a terminal in its width, or to a file."""
    view = replace(view, paint=terminal.paint, width=terminal.WIDTH)
    if target is None or str(target) in OUTPUT:
        view = replace(view, width=terminal.width())
        if terminal.follows_links():
            view = replace(view, link=terminal.link)
        click.echo(rendered(view), nl=False, color=terminal.colors(color))
        return
    text = rendered(view)
    save(target, (text if color else click.unstyle(text)).encode("utf-8", "backslashreplace"))


def show(
    found: Report,
    output_format: str,
    target: str | None = None,
    color: bool | None = None,  # noqa: FBT001  None leaves it to the terminal
) -> None:
    """Say what was skipped, and show the findings, unless nothing could be looked at."""
    from bnlint import report

    blind = _blind(found)
    for line in found.skipped:
        say(line if blind else f"skipped: {line}")
    if blind:
        return
    form = report.load(output_format)

    def rendered(view: View) -> str:
        closing = report.summary(found.findings, found.checked, view, noun=found.noun)
        return form.render(found.findings, view) + (closing if form.SUMMARY else "")

    emit(rendered, found.whole(), target, color)


def status(found: Report, fail_on: str, *, exit_zero: bool = False) -> int:
    """The exit status: findings from a severity on, or nothing that could be looked at.

    `exit_zero` is about findings, as in `lint`.
    """
    from bnlint.report import as_grave_as

    if _blind(found):
        return WRONG
    grave = as_grave_as(fail_on)
    return FINDINGS if any(one.severity in grave for one in found) and not exit_zero else 0


def _blind(found: Report) -> bool:
    """Was there nothing that could be looked at?"""
    return not found.checked and not found.findings
