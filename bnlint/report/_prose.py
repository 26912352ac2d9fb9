"""The documentation of a rule, which is written for terminals, as HTML."""

from __future__ import annotations

import re
from html import escape
from textwrap import dedent
from typing import TYPE_CHECKING

from bnlint.pictures.markup import text
from bnlint.report._markdown import HEADING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = re.compile(r"(?:^ {4}.*(?:\n+ {4}.*)*)|(?:^(?! {4}).+(?:\n(?! {4}|-{3,}$).+)*)", re.MULTILINE)
_LINK = re.compile(r"https?://[^\s<>]*[^\s<>.,;)]")


def section(documentation: str, heading: str) -> str:
    """The text below a heading; empty if there is none."""
    parts = HEADING.split(documentation)
    return dict(zip(parts[1::2], parts[2::2], strict=True)).get(heading, "").strip("\n")


def prose(documentation: str) -> Iterator[str]:
    """Headings, paragraphs, lists and code."""
    parts = HEADING.split(documentation)
    yield from _blocks(parts[0])
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        yield f"<h4>{escape(heading)}</h4>"
        yield from _blocks(body)


def _blocks(body: str) -> Iterator[str]:
    for block in _BLOCK.findall(body):
        if block.startswith("    "):
            yield f"<pre>{escape(dedent(block).rstrip())}</pre>"
        elif block.startswith("- "):
            items = re.split(r"^- ", block, flags=re.MULTILINE)[1:]
            yield "<ul>" + "".join(f"<li>{_linked(item)}</li>" for item in items) + "</ul>"
        else:
            yield f"<p>{_linked(block)}</p>"


def _linked(words: str) -> str:
    """A text whose addresses lead there; nothing is loaded from them."""
    plain = " ".join(words.split())
    return _LINK.sub(lambda found: f'<a href="{found[0]}">{found[0]}</a>', text(plain))
