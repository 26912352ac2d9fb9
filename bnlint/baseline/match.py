"""Findings and entries are put together: by their fingerprints, and by the names of their files."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bnlint.baseline.file import Entry


def pair(
    now: Mapping[int, Entry], known: Iterable[Entry], part: slice
) -> tuple[dict[int, Entry], list[Entry]]:
    """What is left when each finding took an entry with its fingerprint and this part of its path."""

    def key(entry: Entry) -> tuple[str, ...]:
        return entry.fingerprint, *entry.filename.split("/")[part]

    waiting: dict[tuple[str, ...], deque[Entry]] = defaultdict(deque)
    for entry in sorted(known):
        waiting[key(entry)].append(entry)
    new = {}
    for i, entry in now.items():
        if waiting[key(entry)]:
            waiting[key(entry)].popleft()
        else:
            new[i] = entry
    return new, [entry for some in waiting.values() for entry in some]


def likenesses(lost: Iterable[Entry]) -> list[slice]:
    """By which parts of its path a moved file is known: as many of the last ones as can be, its folder, none.

    The order only matters where a text stood in several files and not all of it is left: then what
    is called new, or gone, is rather the one that looks it.
    """
    deepest = max((entry.filename.count("/") for entry in lost), default=0) + 1
    return [*(slice(-depth, None) for depth in range(deepest, 0, -1)), slice(-1), slice(0)]
