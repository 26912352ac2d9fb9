"""For people: where, what and why, the source with a caret, and the path that proves it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from bnlint.report import position
from bnlint.report._excerpt import excerpt, shortened, visible
from bnlint.report.concise import headline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.finding import Finding, Step
    from bnlint.report import View

SUMMARY = True
NARROWEST = 40


def render(findings: Sequence[Finding], view: View) -> str:
    """A paragraph for each finding, with an empty line below it."""
    return "".join("".join(_paragraph(finding, view)) + "\n" for finding in findings)


def _paragraph(finding: Finding, view: View) -> Iterator[str]:
    yield headline(finding, view) + "\n"
    yield from _wrap(finding.message, "  ", "  ", view)
    if finding.where.module is not None:
        yield f"  layer: {visible(finding.where.module)}\n"
    yield from _indent(excerpt(finding.where, view, finding.severity))
    for number, step in enumerate(finding.evidence, start=1):
        yield from _step(number, step, view)
    if finding.measured:
        numbers = (f"{key} = {value:.4g}" for key, value in finding.measured.items())
        yield from _wrap("measured: " + ", ".join(numbers), "  ", "    ", view)
    if finding.confidence != "high":
        yield f"  confidence: {finding.confidence}\n"
    if finding.fix is not None:
        yield from _wrap(f"fix ({finding.fix.applicability}): {finding.fix.message}", "  ", "    ", view)
    yield "  " + view.paint("help:", "help") + f" bnlint rule {finding.code}\n"


def _step(number: int, step: Step, view: View) -> Iterator[str]:
    """One step of the evidence: what it says, and the line that says it."""
    place = visible(view.path(step.where.filename)) + position(step.where, column=False)
    text = "".join(_wrap(f"{number}. {place}: {step.message}", "  ", "     ", view))
    yield text.replace(place, view.paint(place, "step"), 1)
    source = view.lines(step.where)
    if 1 <= step.where.row <= len(source):
        room = max(view.width, NARROWEST) - 6
        line = shortened(source[step.where.row - 1].strip(), room)
        yield "     " + view.paint(line, "line") + "\n"


def _wrap(text: str, first: str, rest: str, view: View) -> Iterator[str]:
    """A text in lines that fit; words that do not, such as paths, are kept whole to be copied."""
    lines = textwrap.wrap(
        visible(text),
        max(view.width, NARROWEST),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from (line + "\n" for line in lines)


def _indent(lines: Iterator[str]) -> Iterator[str]:
    yield from ("  " + line for line in lines)
