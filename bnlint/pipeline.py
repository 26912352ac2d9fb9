"""The pipeline: discover, analyse, judge, suppress, sort. It loses no finding, whatever fails."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bnlint import rule
from bnlint.config import FAULT, FAULT_NAMES, load
from bnlint.facts import Facts
from bnlint.finding import Finding, Where
from bnlint.report import Report, View
from bnlint.source import analyse
from bnlint.source.discover import discover
from bnlint.source.read import decode
from bnlint.suppress import suppress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bnlint.config import Settings

_UNREADABLE, _INTERNAL = FAULT_NAMES

ABOUT_FAULTS = """\
A file could not be looked at.

unreadable-source: the file is not valid Python, cannot be decoded, holds NUL bytes, is nested too
deeply, or the system does not let it be read. The position says where. All other files are linted.

internal-fault: bnlint itself failed on this file, and exits with status 2. Please report it with
the line that the message names. The findings of all other files and rules are shown.

BN000 is reported whatever is selected. Only `--ignore BN000`, or one of the two names, turns it off.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the source engine came to.

    `wrong` are the paths that cannot be linted, with the reason; `internal` says that bnlint itself
    failed somewhere; `notes` are about comments that silence nothing.
    """

    findings: tuple[Finding, ...] = ()
    checked: int = 0
    internal: bool = False
    wrong: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def run(paths: Sequence[str | os.PathLike[str]], settings: Settings) -> Outcome:
    """Lint files and folders."""
    found = discover(paths, settings.exclude)
    facts, faults = _analyse(found.files)
    claims: list[Finding] = []
    for one in facts:
        claims += _judge(one, settings)
    inside = frozenset(map(str, found.files))  # imports lead the engine to other files as well
    everything = [
        *found.faults,
        *(fault for fault in faults if fault.name == _INTERNAL or fault.where.filename in inside),
        *(claim for claim in claims if claim.code == FAULT or claim.where.filename in inside),
    ]
    asked = sorted(filter(settings.reports, everything), key=_order)
    kept, notes = suppress(asked, _load)
    return Outcome(
        findings=kept,
        checked=len(found.files),
        internal=any(one.name == _INTERNAL for one in everything),
        wrong=found.wrong,
        notes=notes,
    )


def report(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **given: object) -> Report:
    """Lint for `bnlint.lint`: keyword arguments in, a report out."""
    paths = (paths,) if isinstance(paths, (str, os.PathLike)) else tuple(paths)
    config = cast("str | None", given.pop("config", None))
    isolated = bool(given.pop("isolated", False))
    keys = {key.replace("_", "-"): value for key, value in given.items()}
    outcome = run(paths, load(paths, keys, config=config, isolated=isolated))
    lines = cache(source_lines)
    skipped = (f"{path}: {reason}" for path, reason in outcome.wrong.items())
    view = View(lines=lambda where: lines(where.filename), base=os.getcwd())
    return Report(outcome.findings, tuple(skipped), outcome.checked, view)


def source_lines(filename: str) -> tuple[str, ...]:
    """The lines of a file as reports show them; none if it cannot be read."""
    return tuple(decode(_load(filename))) if os.path.isfile(filename) else ()


def internal_fault(problem: Exception, filename: str, doing: str) -> Finding:
    """The finding that says that bnlint itself failed, and where."""
    import traceback  # only needed for what went wrong

    here = Path(__file__).parent
    frames = traceback.extract_tb(problem.__traceback__)
    files = [(Path(frame.filename), frame.lineno) for frame in frames]
    own = [(file, line) for file, line in files if here in file.parents]
    line = f"{own[-1][0].relative_to(here.parent).as_posix()}:{own[-1][1]}" if own else "?"
    message = f"bnlint failed {doing}: {type(problem).__name__}: {problem} ({line}); please report it"
    return Finding(FAULT, _INTERNAL, message, "error", "high", Where(filename, 1, 1, 1, 1))


def _analyse(files: tuple[Path, ...]) -> tuple[list[Facts], list[Finding]]:
    """The facts of a project, and what could not be looked at.

    The engine reports a fault in one file itself. Should it fail as a whole, each file is looked at
    alone, so that those with which nothing is wrong are still linted.
    """
    if not files:
        return [], []
    try:
        analysis = analyse(files)
    except Exception as problem:  # whatever it is, it is reported and nothing else is lost
        if len(files) == 1:
            return [], [internal_fault(problem, str(files[0]), "on this file")]
        return _analyse_singly(files, problem)
    return [analysis.facts], list(analysis.faults)


def _analyse_singly(files: tuple[Path, ...], problem: Exception) -> tuple[list[Facts], list[Finding]]:
    """What can be said of each file alone; if none fails alone, the fault is in how they are joined."""
    facts, faults = [], []
    for file in files:
        some, more = _analyse((file,))
        facts += some
        faults += more
    if not any(fault.name == _INTERNAL for fault in faults):
        faults.append(internal_fault(problem, str(files[0]), "to join the files, and looked at each alone"))
    return facts, faults


def _judge(facts: Facts, settings: Settings) -> Iterator[Finding]:
    """Let the rules judge, one by one: when one fails, the others still speak."""
    for one in rule.all_rules():
        if one.code in settings.codes:
            try:
                yield from tuple(rule.judge(facts, (one,)))
            except Exception:  # it is found again, and reported, below
                yield from _judge_by_file(facts, one)


def _judge_by_file(facts: Facts, one: rule.Rule) -> Iterator[Finding]:
    """Let a rule that failed judge each file alone: the fault gets a name, the others keep their findings."""
    for filename, some in sorted(_by_file(facts).items()):
        try:
            yield from tuple(rule.judge(some, (one,)))
        except Exception as problem:  # whatever it is, it is reported and nothing else is lost
            yield internal_fault(problem, filename, f"in the rule {one.code} {one.name}")


def _by_file(facts: Facts) -> dict[str, Facts]:
    """The facts about each file."""
    grouped: dict[str, dict[str, list[Any]]] = {}
    for kind in fields(facts):
        for fact in getattr(facts, kind.name):
            where = fact.loader if kind.name == "feeds" else fact.where
            grouped.setdefault(where.filename, {}).setdefault(kind.name, []).append(fact)
    return {
        filename: Facts(**{kind: tuple(some) for kind, some in kinds.items()})
        for filename, kinds in grouped.items()
    }


def _order(finding: Finding) -> tuple[str, int, int, str]:
    where = finding.where
    return where.filename, where.row, where.column, finding.code


def _load(filename: str) -> bytes:
    """The bytes of a file; none if it went away meanwhile."""
    try:
        return Path(filename).read_bytes()
    except OSError:
        return b""
