"""A page of demonstrations: one file that needs nothing else, for light and dark, narrow and wide windows."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bnlint.pictures import figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.demonstration import Demonstration, Subject

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #26292e; --paper: #fdfdfc; --card: #ffffff; --line: #d9dce1; --soft: #5c626b;
  --wrong: #b84a00; --right: #0b6fb8; --truth: #7d828a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e6ea; --paper: #15171a; --card: #1d2024; --line: #363b42; --soft: #a0a6b0;
    --wrong: #ff9a4d; --right: #62b5f5; --truth: #9aa0a9;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 1.5rem clamp(0.5rem, 3vw, 2.5rem) 4rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
}
h1 { font-size: 1.6rem; margin: 0 0 0.25rem; }
h2 { font-size: 1.2rem; margin: 0 0 0.5rem; }
a { color: var(--right); }
nav ul { columns: 17rem; padding: 0; list-style: none; }
nav li { break-inside: avoid; }
code, pre { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.85em; }
pre {
  overflow-x: auto; padding: 0.75rem; margin: 0.25rem 0; border: 1px solid var(--line); border-radius: 6px;
}
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: clamp(0.6rem, 2vw, 1.5rem); margin: 1.5rem 0;
}
.halves {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem 2rem;
}
.halves > * { min-width: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td {
  text-align: left; vertical-align: top; padding: 0.3rem 0.75rem 0.3rem 0;
  border-bottom: 1px solid var(--line);
}
td { font-variant-numeric: tabular-nums; }
tbody th { font-weight: normal; }
.wrong { color: var(--wrong); }
.right { color: var(--right); }
.soft { color: var(--soft); }
.claim { font-weight: 600; }
svg { display: block; width: 100%; max-width: 34rem; height: auto; }
svg text { fill: var(--ink); font-family: system-ui, sans-serif; }
summary { cursor: pointer; }
@media print { section { break-inside: avoid; } }
"""


def render(shown: Sequence[tuple[Subject, Demonstration]], about: str) -> str:
    """The page; `about` says what it was made with."""
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<title>bnlint: demonstrations</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        "<h1>What goes wrong with Batch Normalization, and by how much</h1>",
        f'<p class="soft">{escape(about)}</p>',
        *_contents([subject for subject, _ in shown]),
        *(line for subject, demonstration in shown for line in _section(subject, demonstration)),
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


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
    yield f"<p>{_text(subject.summary)}</p>"
    yield f'<p class="soft">{_text(shown.setting)}</p>'
    yield '<div class="halves"><div>'
    yield from _table(shown)
    mark = (
        '<span class="right">✓</span>' if shown.holds else '<span class="wrong">✗ This does not hold:</span>'
    )
    yield f'<p class="claim">{mark} {_text(shown.claim)}</p>'
    yield "</div><div>"
    picture = figure.inline(shown.picture, subject.name)
    label = escape(f"{shown.picture.title}: {shown.picture.y} over {shown.picture.x}", quote=True)
    yield picture.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    yield "</div></div>"
    yield from _code(subject)
    yield "</section>"


def _table(shown: Demonstration) -> Iterator[str]:
    wrong, right = map(_text, shown.columns)
    yield '<div class="scroll"><table>'
    heads = f'<th class="wrong">{wrong}</th><th class="right">{right}</th>'
    yield f"<thead><tr><td></td>{heads}</tr></thead><tbody>"
    for row in shown.rows:
        cells = f"<td>{_text(row.wrong)}</td><td>{_text(row.right)}</td>"
        yield f'<tr><th scope="row">{_text(row.label)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _code(subject: Subject) -> Iterator[str]:
    """The code that is wrong and the code that is right, for whoever wants to see it."""
    if subject.bad:
        yield '<details><summary>In code</summary><div class="halves">'
        for side, code in (("wrong", subject.bad), ("right", subject.good)):
            yield f'<div><span class="{side}">{side}</span><pre>{escape(code.rstrip())}</pre></div>'
        yield "</div></details>"


def _text(text: str) -> str:
    """A sentence, whose `code` looks like code."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return "`".join(parts)
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
