"""What a run of bnlint is to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.config.selectors import FAULT, FAULT_NAMES, UNUSED, named, rank
from bnlint.finding import SEVERITIES
from bnlint.source.discover import EXCLUDE, matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bnlint.finding import Finding, Severity


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run of bnlint is to do.

    `codes` are the rules that are on, `muted` the names of BN000 that were turned off, `thresholds`
    those that were set, by the code of their rule. Patterns with a slash are absolute, others are
    names of files or folders. `baseline` and `cache_dir` are absolute; `output_file` is as it was
    given on the command line, or absolute. `file` is where settings were read.
    """

    codes: frozenset[str]
    muted: frozenset[str] = frozenset()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exclude: tuple[str, ...] = EXCLUDE
    force_exclude: bool = False
    respect_gitignore: bool = True
    output_format: str = "full"
    output_file: Path | None = None
    fail_on: Severity = "warning"
    exit_zero: bool = False
    statistics: bool = False
    baseline: Path | None = None
    report_unused_noqa: bool = False
    no_cache: bool = False
    cache_dir: Path | None = None
    verbose: bool = False
    quiet: bool = False
    thresholds: Mapping[str, float] = field(default_factory=dict)
    file: Path | None = None

    def reports(self, finding: Finding) -> bool:
        """Was this finding asked for, in this file?"""
        return self._asks(finding.code, finding.name, finding.where.filename)

    def active(self, selector: str, filename: str) -> bool:
        """Is all that a selector names on in a file? What a rule that is off would say is not known."""
        return all(self._asks(code, name, filename) for code, name in named(selector))

    def looks_for(self, word: str) -> bool:
        """Is a rule on, by its code, or something that BN000 says, by its name?"""
        if word == UNUSED:
            return self.report_unused_noqa and word not in self.muted
        return word in self.codes or (word in FAULT_NAMES and word not in self.muted)

    def fails(self, finding: Finding) -> bool:
        """Is a finding grave enough for exit status 1?"""
        return SEVERITIES.index(finding.severity) >= SEVERITIES.index(self.fail_on)

    def _asks(self, code: str, name: str, filename: str) -> bool:
        """Is what goes by this code and name on, and not ignored in this file?"""
        asked = name not in self.muted if code == FAULT else code in self.codes
        return asked and not any(
            rank(selector, code, name) is not None
            for pattern, selectors in self.per_file_ignores
            if _is_within(filename, pattern)
            for selector in selectors
        )


def _is_within(filename: str, pattern: str) -> bool:
    """Does a pattern match a file or a folder that it is in? With a `!` it is about all others."""
    if pattern.startswith("!"):
        return not _is_within(filename, pattern[1:])
    return any(matches(path, (pattern,)) for path in (filename, *map(str, Path(filename).parents)))
