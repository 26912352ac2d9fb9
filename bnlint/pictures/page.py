"""A page of demonstrations: one file that needs nothing else, for light and dark, narrow and wide windows."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bnlint.pictures.markup import document, drawn, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.demonstration import Demonstration, Subject


def render(shown: Sequence[tuple[Subject, Demonstration]], about: str) -> str:
    """The page; `about` says what it was made with."""
    body = [
        "<h1>What goes wrong with Batch Normalization, and by how much</h1>",
        f'<p class="soft">{escape(about)}</p>',
        *_contents([subject for subject, _ in shown]),
        *(line for subject, demonstration in shown for line in _section(subject, demonstration)),
    ]
    return document("bnlint: demonstrations", body)


def _contents(subjects: Sequence[Subject]) -> Iterator[str]:
    """Where to find what, if there is more than one thing."""
    if len(subjects) > 1:
        yield '<nav aria-label="Demonstrations"><ul>'
        for one in subjects:
            yield f'<li><a href="#{escape(one.name)}">{escape(one.title)}</a></li>'
        yield "</ul></nav>"


def _section(subject: Subject, shown: Demonstration) -> Iterator[str]:
    name = escape(subject.name)
    yield f'<section id="{name}">'
    yield f"<h2>{escape(subject.title)}</h2>"
    yield f"<p>{text(subject.summary)}</p>"
    yield f'<p class="soft">{text(shown.setting)}</p>'
    yield '<div class="halves"><div>'
    yield from _table(shown)
    mark = (
        '<span class="right">✓</span>' if shown.holds else '<span class="wrong">✗ This does not hold:</span>'
    )
    yield f'<p class="claim">{mark} {text(shown.claim)}</p>'
    yield "</div><div>"
    yield drawn(shown.picture, subject.name)
    yield "</div></div>"
    yield from _code(subject)
    yield "</section>"


def _table(shown: Demonstration) -> Iterator[str]:
    wrong, right = map(text, shown.columns)
    yield '<div class="scroll"><table>'
    heads = f'<th class="wrong">{wrong}</th><th class="right">{right}</th>'
    yield f"<thead><tr><td></td>{heads}</tr></thead><tbody>"
    for row in shown.rows:
        cells = f"<td>{text(row.wrong)}</td><td>{text(row.right)}</td>"
        yield f'<tr><th scope="row">{text(row.label)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _code(subject: Subject) -> Iterator[str]:
    """The code that is wrong and the code that is right, for whoever wants to see it."""
    if subject.bad:
        yield '<details><summary>In code</summary><div class="halves">'
        for side, code in (("wrong", subject.bad), ("right", subject.good)):
            yield f'<div><span class="{side}">{side}</span><pre>{escape(code.rstrip())}</pre></div>'
        yield "</div></details>"
