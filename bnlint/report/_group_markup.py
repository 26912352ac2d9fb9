"""A group of findings on a page: what is wrong, where, how that was found, and pictures of the worst."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

from bnlint.pictures.figure import drawable
from bnlint.pictures.markup import drawn, text
from bnlint.report import View, count
from bnlint.report._excerpt import excerpt, visible
from bnlint.report._groups import ROOT, located, measured_names, named, span, worst

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.finding import Finding, Step
    from bnlint.picture import Picture
    from bnlint.report._groups import Group

PICTURES = 3
"""Pictures of a group, those of the worst findings."""
WORST = 5
"""Findings whose numbers are in sight; all of them can be unfolded."""
PLACES = 3
"""Places in files whose source is in sight, where no layer of a model is named."""
WIDTH = 96
"""Columns of a source line; a narrow window scrolls them."""


def group_markup(group: Group, view: View) -> Iterator[str]:
    """What findings of one kind have to say, for people."""
    one = group.worst
    view = View(lines=view.lines, base=view.base, width=WIDTH)  # no colours of a terminal
    pictures = list(_pictures(group))
    yield '<div class="group">'
    sure = "" if one.confidence == "high" else f' <span class="soft">{one.confidence} confidence</span>'
    yield f'<p><span class="claim {one.severity}">{one.severity}</span> {_heading(group)}{sure}</p>'
    yield f"<p>{_said(one.message)}{_whose(group)}</p>"
    if one.fix is not None:
        yield f'<p><span class="right">fix ({one.fix.applicability}):</span> {_said(one.fix.message)}</p>'
    beside = len(pictures) == 1
    yield '<div class="halves"><div>' if beside else "<div>"
    yield from _numbers(group, view)
    for shown in [one] if group.layers else group.findings[:PLACES]:
        yield from _proof(shown, view)
    yield from _rest(group, view)
    yield "</div>"
    if pictures:
        yield "<div>" if beside else '<div class="pictures">'
        yield from pictures
        yield "</div></div>" if beside else "</div>"
        yield from _more(group)
    yield "</div>"


def _heading(group: Group) -> str:
    """How many layers or places there are, and which."""
    if not group.layers:
        return count(len(group.findings), "place")
    number = len(group.layers)
    which = f'<span class="path">{escape(visible(named(group.layers)))}</span>'
    return which if number == 1 else f"{number} layers: {which}"


def _whose(group: Group) -> str:
    """Whose numbers a message has, where each finding has its own."""
    if not group.differ:
        return ""
    one = group.worst
    layer = escape(visible(one.where.module or ROOT))
    return f' <span class="soft">({layer}, the {group.which} of {len(group.findings)})</span>'


def _numbers(group: Group, view: View) -> Iterator[str]:
    """What was measured: of the worst findings, and folded away of all."""
    if not group.numbers:
        return
    ordered = worst(group.findings)
    yield from _measured(ordered[:WORST], view)
    if len(ordered) > WORST:
        yield f"<details><summary>All {len(ordered)}</summary>"
        yield from _measured(group.findings, view)
        yield "</details>"


def _measured(findings: Sequence[Finding], view: View) -> Iterator[str]:
    """A table with a row for each finding."""
    names = measured_names(findings)
    heads = "".join(f'<th scope="col">{escape(visible(name))}</th>' for name in names)
    yield '<div class="scroll"><table>'
    noun = "place" if findings[0].where.module is None else "layer"
    yield f'<thead><tr><th scope="col">{noun}</th>{heads}</tr></thead><tbody>'
    for one in findings:
        numbers = one.measured or {}
        cells = "".join(f"<td>{span([numbers[name]]) if name in numbers else ''}</td>" for name in names)
        name = located(one.where, view) if one.where.module is None else one.where.module or ROOT
        yield f'<tr><th scope="row" class="path">{escape(visible(name))}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _proof(finding: Finding, view: View) -> Iterator[str]:
    """The source line of a finding, and the path that proves it."""
    where = finding.where
    if where.filename:
        yield f'<p class="path"><code>{escape(visible(located(where, view)))}</code></p>'
        if lines := "".join(excerpt(where, view, finding.severity)):
            yield f"<pre>{escape(lines.rstrip())}</pre>"
    if finding.evidence:
        yield "<ol>"
        for step in finding.evidence:
            yield from _step(step, view)
        yield "</ol>"


def _step(step: Step, view: View) -> Iterator[str]:
    """What a step says, where, and the line that says it."""
    where = step.where
    place = f"<code>{escape(visible(located(where, view)))}</code> " if where.filename else ""
    yield f"<li>{place}{_said(step.message)}"
    source = view.lines(where)
    if 1 <= where.row <= len(source) and (line := source[where.row - 1].strip()):
        yield f"<pre>{escape(visible(line))}</pre>"
    yield "</li>"


def _rest(group: Group, view: View) -> Iterator[str]:
    """The names of all layers where no table has them, and all places that are not in sight."""
    shown = 1 if group.layers else PLACES
    lists = [
        ("layer", [] if group.numbers or len(group.layers) <= 2 else list(group.layers)),
        ("place", [located(where, view) for where in group.places] if len(group.places) > shown else []),
    ]
    for noun, names in lists:
        if names:
            yield f'<details><summary>All {count(len(names), noun)}</summary><p class="path">'
            yield ", ".join(f"<code>{escape(visible(name))}</code>" for name in names)
            yield "</p></details>"


def _pictures(group: Group) -> Iterator[str]:
    """Pictures of the worst findings."""
    have = [one for one in worst(group.findings) if one.picture]
    if not have or not drawable():
        return
    for number, one in enumerate(have[:PICTURES]):
        assert one.picture
        yield f"<div>{drawn(_printable(one.picture), f'{one.code}-{number}-{one.where.module}')}</div>"


def _printable(picture: Picture) -> Picture:
    """A picture whose words can be shown: layers may have any name."""
    return replace(
        picture,
        title=visible(picture.title),
        x=visible(picture.x),
        y=visible(picture.y),
        series=tuple(replace(one, name=visible(one.label)) for one in picture.series),
        categories=tuple(map(visible, picture.categories)),
    )


def _more(group: Group) -> Iterator[str]:
    """How many pictures there are besides."""
    number = sum(one.picture is not None for one in group.findings) - PICTURES
    if number > 0:
        yield f'<p class="soft">… and {number} more; these are the worst.</p>'


def _said(message: str) -> str:
    return text(visible(message))
