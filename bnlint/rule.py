"""The contract of a rule, how rules are found, and how they judge facts.

A rule is one module of `bnlint.rules` named `bn301_tiny_batch.py`: its code is BN301 and its name
`tiny-batch`, and they stand nowhere else. The module holds

- a docstring whose first line is the summary, followed by the headings in `HEADINGS`;
- `SEVERITY`, and `ENGINES`, a string of the catalogue's marks (S source, R run, W watch, C checkpoint) or H
  where a home-made layer is compared with the reference;
- `check(facts)`, which yields a `Claim` for each bug; or `check(facts, threshold)` and `THRESHOLD`,
  the number at which it begins to speak, which settings may move;
- `demonstrate(lab)`, which shows the bug with numbers (`bnlint.demonstration` says how).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from bnlint.facts import Facts
from bnlint.finding import Confidence, Finding, Fix, Severity, Step, Where

if TYPE_CHECKING:
    from bnlint.demonstration import Demonstration
    from bnlint.picture import Picture
    from bnlint.reference.laboratory import Laboratory

HEADINGS = (
    "What it finds",
    "Why it is wrong",
    "Bad",
    "Good",
    "How to fix it",
    "When it is fine",
    "References",
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a rule says of one place; `severity` only where it differs from the rule's own."""

    where: Where
    message: str
    evidence: tuple[Step, ...] = ()
    confidence: Confidence = "high"
    severity: Severity | None = None
    measured: Mapping[str, float] | None = None
    fix: Fix | None = None
    picture: Picture | None = None

    def assuming(self, what: str | None) -> Claim:
        """This claim where `what` had to be taken for granted: it names it, and is less sure."""
        if what is None:
            return self
        message = f"{self.message.removesuffix('.')} (assuming that {what})."
        return replace(self, message=message, confidence="medium")


@dataclass(frozen=True, slots=True)
class Threshold:
    """The number at which a rule begins to speak: what it means, and between which ones it may be set."""

    default: int | float
    meaning: str
    least: int | float
    most: int | float


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as the rest of bnlint sees it."""

    code: str
    name: str
    severity: Severity
    engines: str
    doc: str
    check: Callable[..., Iterable[Claim]]
    threshold: Threshold | None = None
    demonstrate: Callable[[Laboratory], Demonstration] | None = None

    def claims(self, facts: Facts, threshold: float | None = None) -> Iterable[Claim]:
        """What the rule says of facts, with its own threshold or another one."""
        if self.threshold is None:
            return self.check(facts)
        return self.check(facts, self.threshold.default if threshold is None else threshold)

    @property
    def summary(self) -> str:
        """The first line of the documentation."""
        return self.doc.strip().splitlines()[0]

    def section(self, heading: str) -> str:
        """The text below a heading of the documentation, dedented; empty if there is none."""
        lines = self.doc.strip().splitlines()
        starts = [i for i, line in enumerate(lines) if line.strip() == heading]
        if not starts:
            return ""
        body: list[str] = []
        for line in lines[starts[0] + 2 :]:
            if line.strip() in HEADINGS:
                break
            body.append(line)
        return "\n".join(body).strip("\n")


def load(module_name: str) -> Rule:
    """Read one rule from its module; the file's name gives its code and its name."""
    module = importlib.import_module(f"bnlint.rules.{module_name}")
    code, _, name = module_name.partition("_")
    return Rule(
        code=code.upper(),
        name=name.replace("_", "-"),
        severity=cast(Severity, module.SEVERITY),
        engines=module.ENGINES,
        doc=module.__doc__ or "",
        check=module.check,
        threshold=getattr(module, "THRESHOLD", None),
        demonstrate=getattr(module, "demonstrate", None),
    )


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, by code."""
    import bnlint.rules

    names = (info.name for info in pkgutil.iter_modules(bnlint.rules.__path__))
    return tuple(load(name) for name in sorted(names))


def of_engine(engine: str, codes: Collection[str]) -> list[Rule]:
    """The rules that have an engine's mark, of those with these codes."""
    return [rule for rule in all_rules() if engine in rule.engines and rule.code in codes]


def judge(
    facts: Facts, rules: Iterable[Rule], thresholds: Mapping[str, float] = MappingProxyType({})
) -> Iterator[Finding]:
    """Let rules judge facts. One bug is one finding: the same claim at the same place comes once.

    `thresholds` are those that were set, by the code of their rule.
    """
    for rule in rules:
        seen: set[tuple[Where, str]] = set()
        for claim in rule.claims(facts, thresholds.get(rule.code)):
            if (claim.where, rule.code) in seen:
                continue
            seen.add((claim.where, rule.code))
            yield Finding(
                code=rule.code,
                name=rule.name,
                message=claim.message,
                severity=claim.severity or rule.severity,
                confidence=claim.confidence,
                where=claim.where,
                evidence=claim.evidence,
                measured=claim.measured,
                fix=claim.fix,
                picture=claim.picture,
            )
