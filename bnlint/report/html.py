"""A page that needs nothing else: no network, no script; for windows wide and narrow, light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bnlint.pictures.figure import drawable
from bnlint.pictures.markup import STYLE, document, text
from bnlint.report import count
from bnlint.report._excerpt import visible
from bnlint.report._group_markup import group_markup
from bnlint.report._groups import grouped
from bnlint.report._prose import prose, section
from bnlint.versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bnlint.finding import Finding
    from bnlint.report import View
    from bnlint.report._groups import Group

SUMMARY = False

NO_PICTURES = 'Pictures need matplotlib: pip install "bnlint[demo]"'


def render(findings: Sequence[Finding], view: View) -> str:
    """The page."""
    return document("bnlint: report", _body(findings, view, ids=True))


def part(findings: Sequence[Finding], view: View) -> str:
    """The same as an element of another page, such as a notebook, on whose style it has no effect."""
    body = _body(findings, view, ids=False)
    return "\n".join([f'<div class="bnlint"><style>{STYLE}</style>', *body, "</div>"])


def _body(findings: Sequence[Finding], view: View, *, ids: bool) -> Iterator[str]:
    """What was found, in sections of one rule each, and what was not looked at."""
    rules: dict[str, list[Group]] = {}
    for group in grouped(findings):
        rules.setdefault(group.worst.code, []).append(group)
    yield "<h1>BatchNorm, as bnlint found it</h1>"
    if view.closing:
        yield f'<p class="claim">{escape(visible(view.closing.strip()))}</p>'
    yield from _skipped(view.skipped)
    if any(one.picture for one in findings) and not drawable():
        yield f'<p class="soft">{escape(NO_PICTURES)}</p>'
    if ids and len(rules) > 1:
        yield from _contents(rules.values())
    for groups in rules.values():
        yield from _section(groups, view, ids=ids)
    made = " ".join(["Made by bnlint", *filter(None, [view.version]), f"({versions()})."])
    yield f'<p class="soft">{escape(made)}</p>'


def _skipped(lines: Sequence[str]) -> Iterator[str]:
    """What could not be looked at: silence about it would read as "passed"."""
    if lines:
        yield '<section class="skipped"><h2>Not looked at</h2><ul>'
        yield from (f"<li>{text(visible(line))}</li>" for line in lines)
        yield "</ul></section>"


def _contents(rules: Iterable[Sequence[Group]]) -> Iterator[str]:
    """Where to find which rule."""
    yield '<nav aria-label="Rules"><ul>'
    for groups in rules:
        one = groups[0].worst
        number = sum(len(group.findings) for group in groups)
        yield (
            f'<li><a href="#{escape(one.code)}">{escape(f"{one.code} {one.name}")}</a>'
            f'<span class="soft">&nbsp;{number}</span></li>'
        )
    yield "</ul></nav>"


def _section(groups: Sequence[Group], view: View, *, ids: bool) -> Iterator[str]:
    """All that one rule has to say."""
    one = groups[0].worst
    about = view.about(one.code)
    name = f' id="{escape(one.code)}"' if ids else ""
    number = count(sum(len(group.findings) for group in groups), "finding")
    yield f'<section class="long"{name}>'
    yield f'<h2>{escape(f"{one.code} {one.name}")} <span class="soft">{number}</span></h2>'
    if about:
        yield f'<p class="soft">{text(about.summary)}</p>'
    for group in groups:
        yield from group_markup(group, view)
    if about:
        if advice := section(about.documentation, "How to fix it"):
            yield "<h3>How to fix it</h3>"
            yield from prose(advice)
        yield "<details><summary>About this rule</summary><div>"
        yield from prose(about.documentation)
        yield "</div></details>"
    yield "</section>"
