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
    last = max(where.row, min(where.end_row, len(lines)))
    return " ".join(" ".join(lines[where.row - 1 : last]).split())


def fingerprint(finding: Finding, lines: Sequence[str]) -> str:
    """A short name of the rule and the text; equal for equal text, wherever it stands."""
    said = "\0".join((finding.code, finding.name, text_of(finding.where, lines)))
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:16]


def distinct(
    findings: Iterable[Finding], lines: Callable[[Where], Sequence[str]], path: Callable[[str], str]
) -> Iterator[str]:
    """A name for each finding that no other one of them has: fingerprint, file, and which of equal ones."""
    seen: Counter[tuple[str, str]] = Counter()
    for finding in findings:
        key = path(finding.where.filename), fingerprint(finding, lines(finding.where))
        seen[key] += 1
        yield hashlib.sha256("\0".join((*key, str(seen[key]))).encode("utf-8", "replace")).hexdigest()[:32]
