"""What all pages have in common: one style for light and dark, narrow and wide, screen and paper."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Final

from bnlint.pictures import figure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bnlint.picture import Picture

LIGHT: Final = """
  color-scheme: light; --ink: #26292e; --paper: #fdfdfc; --card: #ffffff; --line: #d9dce1; --soft: #5c626b;
  --wrong: #b84a00; --right: #0b6fb8; --truth: #7d828a; --grave: #b3261e;
"""
DARK: Final = """
  color-scheme: dark; --ink: #e4e6ea; --paper: #15171a; --card: #1d2024; --line: #363b42; --soft: #a0a6b0;
  --wrong: #ff9a4d; --right: #62b5f5; --truth: #9aa0a9; --grave: #ff8a80;
"""
STYLE: Final = (
    f"""
.bnlint {{ {LIGHT} }}
@media (prefers-color-scheme: dark) {{ .bnlint {{ {DARK} }} }}
[data-jp-theme-light="true"] .bnlint, .vscode-light .bnlint {{ {LIGHT} }}
[data-jp-theme-light="false"] .bnlint, .vscode-dark .bnlint {{ {DARK} }}
@media print {{ .bnlint.bnlint {{ {LIGHT} }} }}
body.bnlint {{ margin: 0 auto; }}
"""
    """
.bnlint.bnlint { /* the name twice outweighs what notebooks say of elements */
  max-width: 76rem; padding: 1.5rem clamp(0.5rem, 3vw, 2.5rem) 2rem; box-sizing: border-box;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; text-align: left;
  * { box-sizing: border-box; }
  h1 { font-size: 1.6rem; margin: 0 0 0.25rem; }
  h2 { font-size: 1.2rem; margin: 0 0 0.5rem; }
  h3, h4 { font-size: 1rem; margin: 1rem 0 0.25rem; }
  p { margin: 0.5rem 0; }
  a { color: var(--right); }
  nav ul { columns: 19rem; padding: 0; margin: 1rem 0; list-style: none; }
  nav li { break-inside: avoid; }
  code, pre {
    font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.85em; color: inherit;
    background: none;
  }
  code { overflow-wrap: anywhere; padding: 0; }
  pre {
    overflow-x: auto; padding: 0.75rem; margin: 0.25rem 0; border: 1px solid var(--line);
    border-radius: 6px; line-height: 1.4;
  }
  section {
    background: var(--card); border: 1px solid var(--line); border-radius: 10px;
    padding: clamp(0.6rem, 2vw, 1.5rem); margin: 1.5rem 0;
  }
  .halves {
    display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem 2rem;
  }
  .pictures {
    display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: 1rem 1.5rem;
    margin-top: 1rem;
  }
  .halves > *, .pictures > * { min-width: 0; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; margin: 0; font-size: 1em; table-layout: auto; }
  tbody tr:nth-child(n) { background: none; }
  th, td {
    text-align: left; vertical-align: top; padding: 0.3rem 0.75rem 0.3rem 0; font-size: 1em;
    border: 0; border-bottom: 1px solid var(--line); white-space: normal; max-width: none;
  }
  td { font-variant-numeric: tabular-nums; }
  tbody th { font-weight: normal; }
  .group + .group { border-top: 1px solid var(--line); margin-top: 1.5rem; padding-top: 0.75rem; }
  .wrong, .warning { color: var(--wrong); }
  .right, .info { color: var(--right); }
  .error { color: var(--grave); }
  .soft { color: var(--soft); }
  .claim { font-weight: 600; }
  .path { overflow-wrap: anywhere; }
  th.path { min-width: 6.5rem; }
  svg { display: block; width: 100%; max-width: 34rem; height: auto; }
  svg * { stroke-linejoin: round; stroke-linecap: butt; }
  svg text { fill: var(--ink); font-family: system-ui, sans-serif; }
  summary { cursor: pointer; margin-top: 0.5rem; }
  details > :not(summary) { margin-left: 0.1rem; }
  ol, ul { padding-left: 1.5rem; margin: 0.5rem 0; }
  li { overflow-wrap: anywhere; }
  @media print {
    max-width: none; padding: 0;
    section, svg, tr { break-inside: avoid; }
    section.long { break-inside: auto; }
    pre { white-space: pre-wrap; }
  }
}
"""
)
"""Nothing of it reaches beyond an element of the class `bnlint`: a page in a notebook stands among others."""


def document(title: str, body: Iterable[str]) -> str:
    """A page that needs nothing else; the title is text, the body is markup."""
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        '<body class="bnlint">',
        *body,
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def text(plain: str) -> str:
    """A sentence, whose `code` looks like code."""
    parts = escape(plain).split("`")
    if len(parts) % 2 == 0:
        return "`".join(parts)
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def drawn(picture: Picture, salt: str) -> str:
    """A picture by matplotlib, with words for those who do not see it; `salt` is as in `figure.inline`."""
    label = escape(f"{picture.title}: {picture.y} over {picture.x}", quote=True)
    return re.sub("^<svg ", lambda _: f'<svg role="img" aria-label="{label}" ', figure.inline(picture, salt))
