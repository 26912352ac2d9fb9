"""What a finding is known by after the code around it has moved: its rule and the code that it points at."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bnlint.finding import Finding, Where

_COMMENT = re.compile(r"""(?P<string>"[^"\n]*"|'[^'\n]*')|\#[^\n]*""")
_LAST_COMMA = re.compile(r",(?=[)\]}])")


def text_of(where: Where, lines: Sequence[str]) -> str:
    """The lines of a place as one, whatever their indentation: what was written there."""
    end = where.end_row - (where.end_column == 1)  # a line of which nothing is meant may change
    last = max(where.row, min(end, len(lines)))
    return " ".join(" ".join(lines[where.row - 1 : last]).split())


def meant(where: Where, lines: Sequence[str]) -> str:
    """The code of a place, however it is laid out: a formatter changes nothing of it.

    A place that is less than a call, such as the `1.0` of `eps=1.0`, says too little: its lines count.
    """
    last = max(where.row, min(where.end_row, len(lines)))
    rows = list(lines[where.row - 1 : last])
    if rows and last == where.end_row:
        rows[-1] = rows[-1][: where.end_column - 1]
    if rows:
        rows[0] = rows[0][where.column - 1 :]
    code = _plain("\n".join(rows))
    return code if "(" in code else _plain(text_of(where, lines))


def _plain(code: str) -> str:
    """Code without spaces, comments, commas at an end, and with one kind of quotes."""
    code = _COMMENT.sub(lambda found: found["string"] or "", code)
    code = "".join(code.split()).replace("'", '"')
    return _LAST_COMMA.sub("", code)


def fingerprint(finding: Finding, lines: Sequence[str]) -> str:
    """A short name of the rule, the code and the layer; equal for equal ones, wherever they stand."""
    said = [finding.code, finding.name, meant(finding.where, lines)]
    if finding.where.module is not None:  # one line can build many layers
        said.append(finding.where.module)
    return _digest(said, 16)


def distinct(
    findings: Iterable[Finding], lines: Callable[[Where], Sequence[str]], path: Callable[[str], str]
) -> Iterator[str]:
    """A name for each finding that no other one of them has: fingerprint, file, and which of equal ones."""
    seen: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        key = path(finding.where.filename), fingerprint(finding, lines(finding.where))
        seen[key] += 1
        yield _digest([*key, str(seen[key])], 32)


def _digest(parts: Iterable[str], length: int) -> str:
    """A name for texts, also for file names that are no UTF-8: two of them never become the same text."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:length]
