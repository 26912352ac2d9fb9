"""The baseline: what was there when bnlint came to a project, so that only what is new is reported.

It is made against what people complain of in the baselines of other tools:

- Row numbers, and messages, go stale with every edit and every release. Here an entry is known by its
  fingerprint: the rule and the text that it points at.
- A set, or a count for each file and rule, hides a new bug behind an old one. Here one entry stands for
  one finding, and of two equal lines each needs its own.
- After a file is moved, all in it is new. Here the entries of a file that is gone go with equal findings
  elsewhere; those of a file that is still there do not, or a bug that is fixed would hide its copy.
- A run on some of the files, or with some of the rules, takes all others out. Here only what was looked
  at is judged: neither a file that could not be read nor a rule that is off has lost its findings.
- It is where branches collide. Here it is sorted by what it says rather than by where that stands, with
  a line for each entry, none of which is special: the lines of both sides may stay.
- It rots. Entries that match nothing are given back to be pointed out, and go when it is written anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.baseline import file as _file
from bnlint.baseline.file import BaselineError, Entry
from bnlint.baseline.match import likenesses, pair
from bnlint.baseline.places import folder_of, name, real, within
from bnlint.config import FAULT, INTERNAL, UNREADABLE
from bnlint.fingerprint import fingerprint, text_of

if TYPE_CHECKING:
    from bnlint.finding import Finding, Where

    Lines = Callable[[Where], Sequence[str]]
    """The lines of the file, or of the notebook's cell, that a place is in."""
    Active = Callable[[str], bool]
    """Whether a rule was on, by its code; of BN000, which says several things, by its names."""
    Scope = Iterable[str | os.PathLike[str]]
    """The files and folders that were linted."""

__all__ = ["Baseline", "BaselineError", "Entry", "Written", "read", "write"]

_BLIND = (UNREADABLE, INTERNAL)
"""What BN000 says where a file was not looked at, or not at all of it."""


@dataclass(frozen=True, slots=True)
class Written:
    """What came of writing.

    Of the findings of this run, `new` had no entry before. Of the entries without a finding, some
    were `kept`, as this run had not looked there, and others were gone and `dropped`.
    """

    findings: int
    new: int
    kept: int
    dropped: int

    def __str__(self) -> str:
        said = f"wrote {self.findings} finding{'' if self.findings == 1 else 's'}, {self.new} of them new"
        said += f"; kept {self.kept} that this run did not look for" if self.kept else ""
        return said + (f"; dropped {self.dropped} that are gone" if self.dropped else "")


def _every(_code: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Baseline:
    """The known findings; `folder` is the absolute one that the baseline lies in."""

    entries: tuple[Entry, ...]
    folder: Path

    def split(
        self, findings: Sequence[Finding], lines: Lines, scope: Scope, active: Active = _every
    ) -> tuple[tuple[Finding, ...], tuple[Entry, ...]]:
        """The findings that are new, and the entries of which nothing is left.

        Entries outside `scope`, and those of rules that are not `active`, are not judged. Where a file
        has more findings of one text than entries, the last ones are called new: nothing tells them apart.
        """
        new, rest = self.unmatched(self.describe(findings, lines))
        looked_for = self.looked_for(findings, scope, active)
        fresh = (one for i, one in enumerate(findings) if i in new or _says(one, INTERNAL))
        return tuple(fresh), tuple(filter(looked_for, rest))

    def describe(self, findings: Sequence[Finding], lines: Lines) -> dict[int, Entry]:
        """The entry of each finding by its index, in the order of their places; none for our own faults."""
        order = sorted(range(len(findings)), key=lambda i: _position(findings[i]))
        return {
            i: self._entry(findings[i], lines(findings[i].where))
            for i in order
            if not _says(findings[i], INTERNAL)
        }

    def unmatched(self, now: Mapping[int, Entry]) -> tuple[dict[int, Entry], list[Entry]]:
        """What is left of the findings and of the entries when they are put together, one by one."""
        new, rest = pair(now, self.entries, slice(None))
        present = {entry.filename for entry in now.values()}
        lost = [one for one in rest if one.filename not in present and not os.path.lexists(self._path(one))]
        gone = {one.filename for one in lost}
        there = [one for one in rest if one.filename not in gone]
        for part in likenesses(lost):
            new, lost = pair(new, lost, part)
        return new, sorted([*there, *lost])

    def looked_for(
        self, findings: Iterable[Finding], scope: Scope, active: Active
    ) -> Callable[[Entry], bool]:
        """Whether a run would have found what an entry says, were it still there."""
        faults = [one for one in findings if _says(one, *_BLIND)]
        failed = any(_says(one, INTERNAL) for one in faults)  # who knows what else was lost
        seen, unseen = set(map(real, scope)), {real(one.where.filename) for one in faults}

        def judge(entry: Entry) -> bool:
            path = self._path(entry)
            on = active(entry.name if entry.code == FAULT else entry.code)
            return on and not failed and within(path, seen) and not within(path, unseen)

        return judge

    def _entry(self, finding: Finding, lines: Sequence[str]) -> Entry:
        return Entry(
            filename=name(finding.where.filename, self.folder),
            code=finding.code,
            name=finding.name,
            text=_file.shortened(text_of(finding.where, lines)),
            fingerprint=fingerprint(finding, lines),
        )

    def _path(self, entry: Entry) -> str:
        return os.path.normpath(os.path.join(self.folder, entry.filename))


def read(file: str | os.PathLike[str]) -> Baseline:
    """Read a baseline. Raises `BaselineError`."""
    return Baseline(_file.load(file), folder_of(file))


def write(
    file: str | os.PathLike[str],
    findings: Sequence[Finding],
    lines: Lines,
    scope: Scope,
    active: Active = _every,
) -> Written:
    """Write down what was found; entries that this run did not look for stay as they are.

    A baseline that cannot be read is an error here too: what it says of other files would be lost.
    """
    before = read(file) if os.path.exists(file) else Baseline((), folder_of(file))
    now = before.describe(findings, lines)
    new, rest = before.unmatched(now)
    looked_for = before.looked_for(findings, scope, active)
    kept = [entry for entry in rest if not looked_for(entry)]
    _file.save(file, [*now.values(), *kept])
    return Written(len(now), len(new), len(kept), len(rest) - len(kept))


def _says(finding: Finding, *names: str) -> bool:
    return finding.code == FAULT and finding.name in names


def _position(finding: Finding) -> tuple[str | int, ...]:
    at = finding.where
    return at.filename, at.cell or 0, at.row, at.column, at.end_row, at.end_column, finding.message
