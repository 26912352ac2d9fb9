"""The documentation of a rule, which is written for terminals, for pages that show Markdown."""

from __future__ import annotations

import re
from textwrap import dedent

HEADING = re.compile(r"^(\S.*)\n-{3,}$", re.MULTILINE)
_CODE = re.compile(r"^ {4}.*(?:\n+ {4}.*)*", re.MULTILINE)


def markdown(documentation: str) -> str:
    """Headings below that of the page, and code that is known to be Python."""
    text = _CODE.sub(lambda code: f"```python\n{dedent(code[0])}\n```", documentation.strip())
    return HEADING.sub(r"## \1\n", text) + "\n"


def first_section(documentation: str) -> str:
    """The first paragraph below the first heading, on one line; empty if there is none."""
    heading = HEADING.search(documentation)
    if heading is None:
        return ""
    paragraph, _, _ = documentation[heading.end() :].strip().partition("\n\n")
    return " ".join(paragraph.split())
