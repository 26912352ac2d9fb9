"""What bnlint reports: findings, the places they point at, and the path that proves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bnlint.picture import Picture

Severity = Literal["error", "warning", "info"]
Confidence = Literal["high", "medium"]
Applicability = Literal["safe", "unsafe"]

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
"""From the mildest to the gravest."""

THRESHOLD = "threshold"
"""The name among measured numbers of the one at which the rule speaks; the first one is held against it."""


@dataclass(frozen=True, slots=True, order=True)
class Where:
    """A place in a source file: rows and columns count from 1, the end is exclusive.

    `cell` is the notebook cell (from 1), `module` the dotted path of a layer in a live model.
    """

    filename: str
    row: int = 1
    column: int = 1
    end_row: int = 1
    end_column: int = 1
    cell: int | None = None
    module: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the evidence: a place, and what it contributes to the proof."""

    where: Where
    message: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text at `where` by `content`."""

    where: Where
    content: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that removes the finding. A safe one keeps what the program computes otherwise."""

    applicability: Applicability
    message: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One bug at one place.

    `message` says what is wrong, why, and what to do. `evidence` is the path that proves it, in the
    order in which it happens. `measured` holds numbers of the run engine, and `picture` shows them where
    people would rather look.
    """

    code: str
    name: str
    message: str
    severity: Severity
    confidence: Confidence
    where: Where
    evidence: tuple[Step, ...] = ()
    measured: Mapping[str, float] | None = None
    fix: Fix | None = field(default=None)
    picture: Picture | None = field(default=None, compare=False, repr=False)
