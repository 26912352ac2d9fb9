"""Runs `bnlint.check` over the live models and says how well it judges them.

    python tests/livemodels/judge.py [PART OF A NAME]...

shows each case: what was found, what was missed, false alarms with their messages, marks that were left,
and crashes; then the two rates.
"""

from __future__ import annotations

import random
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import nn

import bnlint
from bnlint.report import Report
from livemodels import all_cases
from livemodels.case import Case
from livemodels.marks import changed, fingerprint


@dataclass
class Verdict:
    """What became of one case."""

    found: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    crash: str = ""
    skipped: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def is_right(self) -> bool:
        """Is everything found, nothing else said, and nothing left?"""
        return not (self.missed or self.alarms or self.marks or self.crash)


def made(case: Case) -> tuple[nn.Module, Iterable[Any]]:
    """The model and the loader of a case, always the same ones."""
    random.seed(0)
    torch.manual_seed(0)
    return case.build()


def names(finding: Any, path: str) -> bool:
    """Does a finding name the layer at a path, as its place or between backquotes?"""
    places = (finding.where, *(step.where for step in finding.evidence))
    words = (finding.message, *(step.message for step in finding.evidence))
    named = [place.module or "" for place in places] + re.findall(r"`([\w.]+)`", " ".join(words))
    return any(f".{name}".endswith(f".{path}") for name in named)


def is_found(label: str, findings: Iterable[Any]) -> bool:
    """Does a finding say what the label asks for?"""
    codes, _, path = label.partition("@")
    return any(
        finding.code in codes.split("|") and (not path or names(finding, path)) for finding in findings
    )


def marks(model: nn.Module, loader: Any) -> dict[str, Any]:
    """What a check has to leave as it was, the loader's own generator included."""
    generator = getattr(loader, "generator", None)
    return fingerprint(model) | ({"generator of the loader": generator.get_state()} if generator else {})


def judge(case: Case) -> Verdict:
    """Check one case, and compare with its label."""
    verdict = Verdict()
    with warnings.catch_warnings(), case.around():
        warnings.simplefilter("ignore")
        model, loader = made(case)
        keywords, before, start = case.keywords(model), marks(model, loader), time.perf_counter()
        try:
            report = bnlint.check(model, loader, **keywords)
            if case.raises:
                verdict.missed = [case.raises[0].__name__]
        except case.raises:
            report = Report(())
        except Exception:
            verdict.crash = traceback.format_exc()
            verdict.missed = list(case.must)
        verdict.seconds = time.perf_counter() - start
        verdict.marks = changed(before, marks(model, loader))
    if verdict.crash:
        return verdict
    allowed = {code for label in case.must for code in label.partition("@")[0].split("|")} | set(case.may)
    for label in case.must:
        (verdict.found if is_found(label, report) else verdict.missed).append(label)
    for finding in report:
        if finding.code not in allowed:
            place = finding.where.module or f"{finding.where.filename}:{finding.where.row}"
            verdict.alarms.append(f"{finding.code} at {place}: {finding.message}")
    verdict.skipped = report.skipped
    return verdict


def show(name: str, verdict: Verdict) -> None:
    """The lines of one case."""
    sign = "ok " if verdict.is_right else "BAD"
    print(f"{sign} {name}  {verdict.seconds:.2f} s  {' '.join(verdict.found)}")
    for title in ("missed", "alarms", "marks", "skipped"):
        for line in getattr(verdict, title):
            print(f"      {title}: {line}")
    if verdict.crash:
        print("      crash: " + verdict.crash.rstrip().replace("\n", "\n      "))


def main() -> None:
    """Judge the cases whose names hold one of the arguments, or all."""
    wanted = sys.argv[1:] or [""]
    cases = {name: case for name, case in all_cases().items() if any(part in name for part in wanted)}
    verdicts = {}
    for name, case in cases.items():
        verdicts[name] = judge(case)
        show(name, verdicts[name])
    found, missed = (sum(len(getattr(v, part)) for v in verdicts.values()) for part in ("found", "missed"))
    share = f"{found / (found + missed):.1%}" if found + missed else "nothing"
    alarms = {name: v.alarms for name, v in verdicts.items() if v.alarms}
    healthy = sum(not case.must for case in cases.values())
    print(
        f"\n{len(cases)} models ({healthy} healthy): {share} of {found + missed} planted bugs found; "
        f"{sum(map(len, alarms.values()))} false alarms on {len(alarms)} models "
        f"({sum(not cases[name].must for name in alarms)} of them healthy); "
        f"marks on {sum(bool(v.marks) for v in verdicts.values())}; "
        f"crashes on {sum(bool(v.crash) for v in verdicts.values())}; "
        f"{sum(v.seconds for v in verdicts.values()):.1f} s in check"
    )


if __name__ == "__main__":
    main()
