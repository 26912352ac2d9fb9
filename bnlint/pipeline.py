"""The pipeline: discover, analyse, judge, suppress, sort, compare. It loses no finding, whatever fails."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from bnlint import __version__, rule
from bnlint.config import FAULT, INTERNAL, load
from bnlint.facts import Facts
from bnlint.finding import Finding, Where
from bnlint.report import About, Report, View
from bnlint.source import Analysis, analyse, silent
from bnlint.source.discover import discover
from bnlint.source.exclude import CACHE
from bnlint.source.texts import Sources
from bnlint.suppress import Suppressions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bnlint.baseline import Baseline, Entry
    from bnlint.config import Settings
    from bnlint.finding import Step
    from bnlint.source import Progress

FEW = 2
"""From so many files on it is worth a look whether their facts are known."""

ABOUT_FAULTS = """\
What bnlint has to say of files and comments rather than of BatchNorm.

unreadable-source: the file is not valid Python, cannot be decoded, holds NUL bytes, is nested too
deeply, or the system does not let it be read. The position says where. All other files are linted.

internal-fault: bnlint itself failed on this file, and exits with status 2. Please report it with
the line that the message names. The findings of all other files and rules are shown.

unused-noqa: a comment that names rules of bnlint and silences nothing, asked for by
`--report-unused-noqa`. It would hide the next bug on its line.

BN000 is reported whatever is selected. Only `--ignore BN000`, or one of these names, turns it off.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the source engine came to.

    `wrong` are the paths that cannot be linted, with the reason; `internal` says that bnlint itself
    failed somewhere; `notes` are about comments that are wrong. `skipped` are notebooks of other
    languages, with the reason; `excluded` are named files that a pattern excludes. `gone` are the
    entries of the baseline of which nothing is left, `known` how many findings it hides. `sources`
    are the texts that the findings are about, `files` the names of those that were linted.
    """

    findings: tuple[Finding, ...] = ()
    checked: int = 0
    internal: bool = False
    wrong: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    excluded: tuple[Path, ...] = ()
    notes: tuple[Step, ...] = ()
    gone: tuple[Entry, ...] = ()
    known: int = 0
    sources: Sources = field(default_factory=Sources)
    files: frozenset[str] = frozenset()


def run(
    paths: Sequence[str | os.PathLike[str]],
    settings: Settings,
    contents: Mapping[str, bytes] = MappingProxyType({}),
    progress: Progress = silent,
) -> Outcome:
    """Lint files and folders; `contents` holds the text of files that is not to be read from the disk."""
    known = _baseline(settings)  # what is wrong with it is said before anybody waits
    found = discover(
        paths,
        settings.exclude,
        force_exclude=settings.force_exclude,
        respect_gitignore=settings.respect_gitignore,
        given=frozenset(contents),
        root=settings.file.parent if settings.file else "",
    )
    analyses = _known(found.files, settings, contents, progress)
    sources = Sources(contents, {name: book for one in analyses for name, book in one.notebooks.items()})
    claims = [claim for one in analyses for claim in _judge(one.facts, settings)]
    inside = frozenset(map(str, found.files))  # imports lead the engine to other files as well
    faults = [fault for one in analyses for fault in one.faults]
    everything = [
        *found.faults,
        *(fault for fault in faults if fault.name == INTERNAL or fault.where.filename in inside),
        *(claim for claim in claims if claim.code == FAULT or claim.where.filename in inside),
    ]
    comments = Suppressions(sources.python)
    kept = list(comments.keep(filter(settings.reports, everything)))
    if settings.report_unused_noqa:
        kept += filter(settings.reports, comments.unused(sorted(inside), settings.active))
    findings = tuple(sorted(map(sources.place, kept), key=_order))
    skipped = {name: why for one in analyses for name, why in one.skipped.items()}
    outcome = Outcome(
        findings=findings,
        checked=len(found.files) - len(skipped),
        internal=any(one.name == INTERNAL for one in everything),
        wrong=found.wrong,
        skipped=skipped,
        excluded=found.excluded,
        notes=tuple(sources.place_step(note) for note in comments.notes()),
        sources=sources,
        files=inside,
    )
    if known is None:
        return outcome
    new, gone = known.split(findings, sources.lines, scope(paths), settings.looks_for)
    return replace(outcome, findings=new, gone=gone, known=len(findings) - len(new))


def _baseline(settings: Settings) -> Baseline | None:
    """What is compared with, if anything."""
    if settings.baseline is None:
        return None
    from bnlint import baseline  # most runs have none

    return baseline.read(settings.baseline)


def scope(paths: Sequence[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """The files and folders that were linted, absolute."""
    return tuple(Path(os.path.abspath(path)) for path in paths)


def report(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], **given: object) -> Report:
    """Lint for `bnlint.lint`: keyword arguments in, a report out."""
    paths = (paths,) if isinstance(paths, (str, os.PathLike)) else tuple(paths)
    config = cast("str | Sequence[str] | None", given.pop("config", None))
    isolated = bool(given.pop("isolated", False))
    keys = {key.replace("_", "-"): value for key, value in given.items()}
    outcome = run(paths, load(paths, keys, config=config, isolated=isolated))
    skipped = (f"{path}: {why}" for path, why in {**outcome.wrong, **outcome.skipped}.items())
    view = View(lines=outcome.sources.lines, about=about, base=os.getcwd(), version=__version__)
    return Report(outcome.findings, tuple(skipped), outcome.checked, view)


@cache
def about(code: str) -> About | None:
    """What reports may say of a rule."""
    known = {one.code: one for one in rule.all_rules()}
    if code == FAULT:
        return About(FAULT, "fault", "error", ABOUT_FAULTS.partition("\n")[0], ABOUT_FAULTS)
    if code not in known:
        return None
    one = known[code]
    page = Path(__file__).parent.joinpath("rules", f"{one.code}_{one.name}.py".lower().replace("-", "_"))
    return About(code, one.name, one.severity, one.summary, one.doc.strip(), page.as_uri())


def internal_fault(problem: Exception, filename: str, doing: str) -> Finding:
    """The finding that says that bnlint itself failed, and where."""
    import traceback  # only needed for what went wrong

    here = Path(__file__).parent
    frames = traceback.extract_tb(problem.__traceback__)
    files = [(Path(frame.filename), frame.lineno) for frame in frames]
    own = [(file, line) for file, line in files if here in file.parents]
    line = f"{own[-1][0].relative_to(here.parent).as_posix()}:{own[-1][1]}" if own else "?"
    message = f"bnlint failed {doing}: {type(problem).__name__}: {problem} ({line}); please report it"
    return Finding(FAULT, INTERNAL, message, "error", "high", Where(filename, 1, 1, 1, 1))


def _known(
    files: tuple[Path, ...], settings: Settings, contents: Mapping[str, bytes], progress: Progress
) -> list[Analysis]:
    """The facts of a project, from the cache if they are known."""
    if settings.no_cache or contents or len(files) < FEW:
        return _analyse(files, contents, progress)
    from bnlint.source.cache import cached

    folder = settings.cache_dir or (settings.file.parent if settings.file else Path.cwd()) / CACHE
    return cached(folder, files, lambda: _analyse(files, contents, progress))


def _analyse(
    files: tuple[Path, ...], contents: Mapping[str, bytes], progress: Progress = silent
) -> list[Analysis]:
    """The facts of a project, and what could not be looked at.

    The engine reports a fault in one file itself. Should it fail as a whole, each file is looked at
    alone, so that those with which nothing is wrong are still linted.
    """
    if not files:
        return []
    try:
        return [analyse(files, contents, progress)]
    except Exception as problem:  # whatever it is, it is reported and nothing else is lost
        if len(files) == 1:
            return [Analysis(Facts(), (internal_fault(problem, str(files[0]), "on this file"),))]
        return _analyse_singly(files, contents, problem)


def _analyse_singly(
    files: tuple[Path, ...], contents: Mapping[str, bytes], problem: Exception
) -> list[Analysis]:
    """What can be said of each file alone; if none fails alone, the fault is in how they are joined."""
    analyses = [one for file in files for one in _analyse((file,), contents)]
    if not any(fault.name == INTERNAL for one in analyses for fault in one.faults):
        fault = internal_fault(problem, str(files[0]), "to join the files, and looked at each alone")
        analyses.append(Analysis(Facts(), (fault,)))
    return analyses


def _judge(facts: Facts, settings: Settings) -> Iterator[Finding]:
    """Let the rules judge, one by one: when one fails, the others still speak."""
    for one in rule.all_rules():
        if one.code in settings.codes:
            try:
                yield from tuple(rule.judge(facts, (one,), settings.thresholds))
            except Exception:  # it is found again, and reported, below
                yield from _judge_by_file(facts, one, settings)


def _judge_by_file(facts: Facts, one: rule.Rule, settings: Settings) -> Iterator[Finding]:
    """Let a rule that failed judge each file alone: the fault gets a name, the others keep their findings."""
    for filename, some in sorted(_by_file(facts).items()):
        try:
            yield from tuple(rule.judge(some, (one,), settings.thresholds))
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


def _order(finding: Finding) -> tuple[str, int, int, int, str]:
    where = finding.where
    return where.filename, where.cell or 0, where.row, where.column, finding.code
