"""How findings are shown: one module per output format, found by its file name.

A format `name` is the module `bnlint.report.name` (those that begin with `_` are shared parts) with

- `render(findings, view) -> str`: the whole text, with its last line ended; findings come sorted,
  and the `view` holds all that a format needs beside them;
- `SUMMARY: bool`: does the closing line for people (`Found 3 errors …`) belong below it?

A format knows findings only: no files, no command line, no terminal.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, cast

from bnlint.finding import SEVERITIES
from bnlint.report._excerpt import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bnlint.finding import Finding, Severity, Where


def _plain(text: str, _style: str) -> str:
    return text


def _no_source(_where: Where) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class About:
    """What a format may say of a rule; `page` is where its documentation can be opened, if anywhere."""

    code: str
    name: str
    severity: Severity
    summary: str
    documentation: str
    page: str = ""


def _nothing(_code: str) -> About | None:
    return None


@dataclass(frozen=True, slots=True)
class View:
    """What a format may ask for: lines, what a rule is about, how to colour, and where it is shown.

    `lines(where)` are those of the file, or of the notebook's cell, that a place is in. `about(code)`
    tells of a rule. `paint(text, style)` knows the styles of `STYLES`, and `link(text, url)` makes a
    text lead somewhere. `base` is the folder that paths are shown relative to. `width` is that of
    the terminal, in columns. `version` is bnlint's. What was `skipped` and the `closing` line are for
    formats that are documents of their own.
    """

    lines: Callable[[Where], Sequence[str]] = _no_source
    about: Callable[[str], About | None] = _nothing
    paint: Callable[[str, str], str] = _plain
    link: Callable[[str, str], str] = _plain
    base: str = ""
    width: int = 100
    version: str = ""
    skipped: Sequence[str] = ()
    closing: str = ""

    def code(self, code: str) -> str:
        """The code of a rule as it is shown: it leads to the rule's page."""
        about = self.about(code)
        return self.link(self.paint(code, "code"), about.page if about else "")

    def path(self, filename: str) -> str:
        """A path as it is shown: relative where that leads downwards only."""
        inside = self.base and filename.startswith(os.path.join(self.base, ""))
        return os.path.relpath(filename, self.base) if inside else filename


def position(where: Where, *, column: bool = True) -> str:
    """What stands behind the path of a place: `:cell 3:4:10`, where the cell is that of a notebook."""
    cell = f":cell {where.cell}" if where.cell is not None else ""
    return f"{cell}:{where.row}" + (f":{where.column}" if column else "")


STYLES = ("error", "warning", "info", "path", "code", "line", "step", "help", "good")
"""What `paint` is asked for: severities, parts of a finding, and good news."""


class Format(Protocol):
    """A module of this package that is an output format."""

    SUMMARY: bool

    def render(self, findings: Sequence[Finding], view: View) -> str:
        """Show findings."""


def formats() -> tuple[str, ...]:
    """The names of all output formats."""
    names = (info.name for info in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def load(name: str) -> Format:
    """An output format by its name."""
    return cast("Format", importlib.import_module(f"{__name__}.{name}"))


def summary(
    findings: Sequence[Finding], checked: int, view: View, known: int = 0, *, noun: str = "file"
) -> str:
    """The closing line: how much was found, and in how much; `known` is what a baseline hides."""
    files = count(checked, noun)
    hidden = f"; {known} more in the baseline" if known else ""
    if not findings and not checked and noun != "file":
        return f"There is no {noun} to check.\n"
    if not findings:
        hidden = f"; {count(known, 'finding')} in the baseline" if known else ""
        return view.paint("All clear", "good") + f": {files} checked{hidden}.\n"
    numbers = Counter(finding.severity for finding in findings)
    parts = [
        view.paint(count(numbers[severity], severity), severity)
        for severity in reversed(SEVERITIES)
        if numbers[severity]
    ]
    return f"Found {', '.join(parts)} in {files}{hidden}.\n"


def count(number: int, noun: str) -> str:
    """A number and its noun."""
    return (
        f"{number} {noun}{'' if number == 1 or noun == 'info' else 's'}"  # there is no plural of information
    )


def as_grave_as(severity: str) -> tuple[Severity, ...]:
    """The severities from one on; raises `ValueError` for what is none."""
    known: tuple[str, ...] = SEVERITIES
    if severity not in known:
        raise ValueError(f'"{severity}" is no severity: those are {", ".join(known)}')
    return SEVERITIES[known.index(severity) :]


class FindingsError(Exception):
    """Raised by `Report.raise_for_findings`; its text is the report."""


def _place(finding: Finding) -> tuple[str, str, int | None, int]:
    """The rule and the line of a finding."""
    where = finding.where
    return finding.code, os.path.abspath(where.filename), where.cell, where.row


def _is_live(finding: Finding) -> bool:
    """Does it come from a model that was run, or a file that was read?"""
    return finding.where.module is not None or finding.measured is not None


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What bnlint found, and what it could not look at.

    `skipped` holds a line for each thing that was not looked at: silence about it would read as "passed".
    `checked` counts what was, each of which is a `noun`. Iterating gives the findings, `len` their number;
    `print(report)` shows them in the width of the terminal, and a notebook as a page. `one | other` puts
    reports together. A report is neither true nor false: that nothing was found says little where much was
    skipped.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()
    checked: int = 0
    view: View = field(default_factory=View)
    noun: str = "file"

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __or__(self, other: Report) -> Report:
        """Both reports as one: what linting and a check find at one place is one finding, the check's."""
        every = (*self, *other)
        live = {_place(one) for one in every if _is_live(one)}
        kept = [one for one in every if _is_live(one) or _place(one) not in live]
        return replace(
            self,
            findings=tuple(one for number, one in enumerate(kept) if one not in kept[:number]),
            skipped=tuple(dict.fromkeys((*self.skipped, *other.skipped))),
            checked=self.checked + other.checked,
            noun=self.noun if self.noun == other.noun else "part",
        )

    def __bool__(self) -> bool:
        raise TypeError(
            "a Report is neither true nor false: ask for len(report), report.skipped or "
            "report.raise_for_findings()"
        )

    def __repr__(self) -> str:
        said = [self._closing().strip().rstrip("."), f"{len(self.skipped)} skipped" if self.skipped else ""]
        return f"<Report: {'; '.join(filter(None, said))}>"

    def __str__(self) -> str:
        from shutil import get_terminal_size  # slow to import, and most reports are not printed

        live = any(one.where.module is not None for one in self.findings)
        view = replace(self.view, width=get_terminal_size((self.view.width, 24)).columns)
        text = load("table" if live else "full").render(self.findings, view)
        skipped = "".join(f"skipped: {visible(line)}\n" for line in self.skipped)
        return (text + skipped + self._closing()).rstrip("\n")

    def _repr_html_(self) -> str:
        """What notebooks show."""
        from bnlint.report import html

        return html.part(self.findings, self.whole())

    def to_json(self) -> str:
        """The findings as `--output-format json` gives them."""
        return load("json").render(self.findings, self.view)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """A page that needs nothing else, with pictures where matplotlib is installed; `path` keeps it.

        Raises `OSError` where it cannot be written.
        """
        text = load("html").render(self.findings, self.whole())
        if path is not None:
            from bnlint.writing import write

            write(path, text.encode("utf-8", "replace"))
        return text

    def raise_for_findings(self, fail_on: Severity = "info") -> None:
        """Raise `FindingsError` if a finding is as grave as `fail_on`, or if nothing could be looked at.

        Raises `ValueError` for what is no severity.
        """
        grave = as_grave_as(fail_on)
        if any(one.severity in grave for one in self.findings) or (self.skipped and not self.checked):
            raise FindingsError(str(self))

    def whole(self) -> View:
        """The view for formats that are documents of their own."""
        return replace(self.view, skipped=self.skipped, closing=self._closing())

    def _closing(self) -> str:
        """The closing line; none where nothing could be looked at."""
        if self.skipped and not self.checked:
            return ""
        return summary(self.findings, self.checked, self.view, noun=self.noun)
