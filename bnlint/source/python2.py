"""What only Python 2 reads, written so that Python 3 reads it: every row, and nearly every column, stays.

A file like this cannot run, which is said of it in any case. What it does with its models can be
followed all the same, and old training scripts are full of what is looked for.
"""

from __future__ import annotations

import re
from typing import Final

OLD: Final = re.compile(
    r"^[^#'\"\n]*(?:\bprint[ \t]+[^\s=(.,)\]:>-]|\bprint['\"]"
    r"|\bexcept[ \t]+[^:#\n]+,[ \t]*\w+[ \t]*:|\braise[ \t]+[\w.]+[ \t]*,)",
    re.MULTILINE,
)
"""What shows that a text is Python 2: statements that Python 3 has no longer."""

TABS: Final = re.compile(r"^ *\t", re.MULTILINE)
"""Rows whose indentation Python 2 counts in tabs of eight, whatever the others have."""

BEGIN: Final = r"(?P<begin>^[ \t]*|[:;][ \t]*)"
"""Where a statement begins."""

CHANGES: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.MULTILINE), new)
    for pattern, new in (
        (BEGIN + r"print(?=[ \t]+[^\s=.,)\]:>-]|['\"`])", r"\g<begin>_   ="),
        (BEGIN + r"exec(?=[ \t]+[^\s=(.,)\]:])", r"\g<begin>_  ="),
        (r"^([ \t]*except[ \t]+[^:#\n]+?),[ \t]*(\w+[ \t]*:)", r"\1 as \2"),
        (BEGIN + r"(raise[ \t]+[\w.]+)[ \t]*,", r"\g<begin>\2;"),
        (r"(?<![\w.])0(?=[0-7]+(?![\w.]))", " "),
        (r"(?<=\d)[lL](?!\w)", " "),
        (r"<>", "!="),
        (r"(?<!\w)[uU](?=[rR]['\"])", " "),
        (r"`([^`\n]*)`", r"(\1)"),
    )
)
"""What becomes of each: `print x` assigns x, `raise E, x` raises E."""


def modernised(text: str) -> str | None:
    """The text of a Python 2 file with its statements as Python 3 has them; None if it is no such file.

    It is asked for files that Python 3 cannot parse: tabs among spaces may be all that is wrong there.
    """
    if OLD.search(text) is None and TABS.search(text) is None:
        return None
    for pattern, new in CHANGES:
        text = pattern.sub(new, text)
    return text.expandtabs(8)
