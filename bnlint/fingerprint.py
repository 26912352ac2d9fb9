"""What a finding is known by after the code around it has moved: its rule and the text that it points at."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bnlint.finding import Finding, Where


def text_of(where: Where, lines: Sequence[str]) -> str:
    """The lines of a place as one, whatever their indentation: what was written there."""
    end = where.end_row - (where.end_column == 1)  # a line of which nothing is meant may change
    last = max(where.row, min(end, len(lines)))
    return " ".join(" ".join(lines[where.row - 1 : last]).split())


def fingerprint(finding: Finding, lines: Sequence[str]) -> str:
    """A short name of the rule, the text and the layer; equal for equal ones, wherever they stand."""
    said = [finding.code, finding.name, text_of(finding.where, lines)]
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
