"""What a run came to: notes on standard error, the report, and the exit status."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bnlint.cli import COMMANDS, FINDINGS, WRONG, say
from bnlint.cli.reporting import emit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.baseline import Entry
    from bnlint.config import Settings
    from bnlint.finding import Step
    from bnlint.pipeline import Outcome
    from bnlint.report import View

MANY = 10
"""Entries of a baseline that are listed."""


def tell(outcome: Outcome, settings: Settings) -> None:
    """What goes to stderr: wrong paths always, notes unless they are not wanted."""
    from bnlint.report import count

    for path, reason in outcome.wrong.items():
        near = _meant_command(path) if reason.startswith("no such") else ""
        say(f"{path}: {reason}{near}")
    if outcome.internal:
        say("internal fault, see BN000; please report it")
    if not settings.quiet:
        for note in _notes(outcome):
            say(note)
        if not outcome.checked and not outcome.wrong:
            say("no Python files or notebooks found")
    for excluded in outcome.excluded:
        explain(f"{os.path.relpath(excluded)}: excluded", settings)
    explain(f"checked {count(outcome.checked, 'file')}", settings)


def _notes(outcome: Outcome) -> list[str]:
    """Comments that are wrong, files that were not looked at, and entries of the baseline that are done."""
    skipped = [f"{os.path.relpath(name)}: skipped: {why}" for name, why in outcome.skipped.items()]
    return [*map(_noted, outcome.notes), *skipped, *_gone(outcome.gone)]


def _noted(note: Step) -> str:
    """A note and its place."""
    from bnlint.report import position

    return f"{os.path.relpath(note.where.filename)}{position(note.where, column=False)}: {note.message}"


def _gone(entries: Sequence[Entry]) -> Iterator[str]:
    """The entries of the baseline of which nothing is left, as many as one likes to read."""
    if entries:
        some = "1 entry matches" if len(entries) == 1 else f"{len(entries)} entries match"
        yield f"baseline: {some} nothing any more; --write-baseline takes them out:"
        yield from (f"  {entry}" for entry in entries[:MANY])
    if len(entries) > MANY:
        yield f"  and {len(entries) - MANY} more"


def explain(line: str, settings: Settings) -> None:
    """What goes to stderr where somebody wants to know it all."""
    if settings.verbose:
        say(line)


MEANT = {"check": "lint", "help": "--help", "version": "--version", "explain": "rule", "show": "config"}
"""What other tools call our commands."""


def _meant_command(path: str) -> str:
    """A misspelt command looks like a path."""
    from difflib import get_close_matches

    near = get_close_matches(path, COMMANDS, n=1)
    meant = MEANT.get(path) or (near[0] if near else "")
    return f' (did you mean "bnlint {meant}"?)' if meant else ""


def show(outcome: Outcome, settings: Settings, color: bool | None) -> None:  # noqa: FBT001
    """Write the findings to where they were asked for."""
    from bnlint import __version__, report
    from bnlint.pipeline import about

    view = report.View(
        lines=outcome.sources.lines,
        about=about,
        base=os.getcwd(),
        version=__version__,
        skipped=[f"{path}: {why}" for path, why in {**outcome.wrong, **outcome.skipped}.items()],
    )
    emit(lambda view: _rendered(outcome, settings, view), view, settings.output_file, color)


def _rendered(outcome: Outcome, settings: Settings, view: View) -> str:
    """The findings in the format that was asked for."""
    from bnlint import report
    from bnlint.report import _statistics

    form = report.load(settings.output_format)
    closing = report.summary(outcome.findings, outcome.checked, view, outcome.known)
    if settings.statistics:
        text = _statistics.render(outcome.findings, view, settings.output_format)
    else:
        text = form.render(outcome.findings, replace(view, closing=click.unstyle(closing)))
    wanted = form.SUMMARY and not settings.quiet and outcome.checked
    return text + (closing if wanted else "")


def status(outcome: Outcome, settings: Settings) -> int:
    """The exit status. `--exit-zero` is about findings: it hides no wrong use and no fault."""
    if outcome.internal or outcome.wrong:
        return WRONG
    failed = any(map(settings.fails, outcome.findings))
    return FINDINGS if failed and not settings.exit_zero else 0
