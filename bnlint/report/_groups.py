"""Findings that say the same are one thing to read: a ResNet has 53 BatchNorm layers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnlint.finding import SEVERITIES, THRESHOLD
from bnlint.report import position

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bnlint.finding import Finding, Where
    from bnlint.report import View

ROOT = "the model itself"
"""What a layer is called that is the whole model: its path is empty."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")
_PATH = re.compile(r"`[^`\s]*[.\d][^`\s]*`")


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of one rule that say the same, in the order of their layers and places; never empty.

    Those of a live model may differ in their numbers and in the paths that they name.
    """

    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Finding:
        """The finding that is farthest from what is allowed; the first one where nothing was measured."""
        return worst(self.findings)[0]

    @property
    def layers(self) -> tuple[str, ...]:
        """The paths of the layers in the model."""
        paths = (one.where.module for one in self.findings)
        return tuple(dict.fromkeys(path or ROOT for path in paths if path is not None))

    @property
    def places(self) -> tuple[Where, ...]:
        """The places in files, one for each row."""
        known = (one.where for one in self.findings if one.where.filename)
        return tuple({(where.filename, where.cell, where.row): where for where in known}.values())

    @property
    def which(self) -> str:
        """What the worst finding is among these: the "worst", or just the "first" of equals."""
        return "worst" if len(set(map(_badness, self.findings))) > 1 else "first"

    @property
    def differ(self) -> bool:
        """Does each finding have numbers or names of its own?"""
        return len({one.message for one in self.findings}) > 1

    @property
    def numbers(self) -> tuple[tuple[str, str], ...]:
        """What was measured, and from where to where it goes: `("shift", "0.2 to 3")`."""
        names = measured_names(self.findings)
        spans = ((name, [(one.measured or {}).get(name) for one in self.findings]) for name in names)
        return tuple((name, span(value for value in some if value is not None)) for name, some in spans)


def grouped(findings: Iterable[Finding]) -> list[Group]:
    """All findings in groups: the gravest first, then by code, then in the order in which they come."""
    found: dict[tuple[object, ...], list[Finding]] = {}
    for one in findings:
        key = (one.code, one.name, one.severity, one.confidence, _pattern(one), one.fix and one.fix.message)
        found.setdefault(key, []).append(one)
    groups = [Group(tuple(sorted(some, key=_order))) for some in found.values()]
    return sorted(groups, key=lambda one: (-SEVERITIES.index(one.worst.severity), one.worst.code))


def measured_names(findings: Iterable[Finding]) -> list[str]:
    """The names of all that was measured, and that of the threshold behind them."""
    names = dict.fromkeys(name for one in findings for name in one.measured or ())
    return sorted(names, key=lambda name: name == THRESHOLD)


def worst(findings: Sequence[Finding]) -> list[Finding]:
    """Findings, the worst first by the first number of each: what is no number, then what is farthest off.

    That is on the side of the threshold where they lie: 2 values per channel are worse than 8 where 16 are
    asked for.
    """
    return sorted(findings, key=_badness, reverse=True)


def named(layers: Sequence[str]) -> str:
    """Layers as a person would name them: all of a few, the first and the last of many."""
    if len(layers) <= 2:
        return " and ".join(layers)
    return f"{layers[0]} … {layers[-1]}"


def measurements(group: Group) -> str:
    """`shift 0.2 to 3, threshold 0.1`; empty where nothing was measured."""
    return ", ".join(f"{name} {value}" for name, value in group.numbers)


def located(where: Where, view: View) -> str:
    """A place in a file as a word, with its row."""
    return view.path(where.filename) + position(where, column=False)


def span(values: Iterable[float]) -> str:
    """From the least to the most of some numbers, and whether any is none."""
    known = list(values)
    numbers = sorted({f"{value:.4g}": value for value in known if not math.isnan(value)}.items(), key=_second)
    parts = [" to ".join(dict.fromkeys((numbers[0][0], numbers[-1][0])))] if numbers else []
    return " or ".join(parts + ["NaN"] * any(map(math.isnan, known)))


def _second(pair: tuple[str, float]) -> float:
    return pair[1]


def _pattern(finding: Finding) -> str:
    """The message of a finding without what is its own: the paths and the numbers of a layer."""
    if finding.where.module is None:
        return finding.message
    text = finding.message.replace(f"`{finding.where.module}`", "``")
    return _NUMBER.sub("#", _PATH.sub("``", text))


def _order(finding: Finding) -> tuple[list[str | int], str, int, int, int]:
    """By the path of the layer, in which numbers count as such; then by the place."""
    where = finding.where
    path = re.split(r"(\d+)", where.module or "")
    natural: list[str | int] = [int(part) if number % 2 else part for number, part in enumerate(path)]
    return natural, where.filename, where.cell or 0, where.row, where.column


def _badness(finding: Finding) -> float:
    """How far the first measured number is from the threshold, or from 0 where there is none."""
    numbers = dict(finding.measured or {})
    threshold = numbers.pop(THRESHOLD, 0.0)
    value = next(iter(numbers.values()), 0.0)
    return math.inf if math.isnan(value) else abs(value - threshold)
