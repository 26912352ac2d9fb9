"""Comments that silence findings: `# noqa`, `# noqa: BN201`, `# bnlint: ignore[BN201] reason`.

They count on the line where a finding starts, on each line of the expression that it points at,
and on the first and the last line of the statement around it. `# bnlint: skip-file` before the
first statement silences a whole file. BN000 cannot be silenced from inside the file that it is about.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bnlint.config import FAULT, ConfigError, nearest, selector
from bnlint.source.read import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bnlint.finding import Finding

_MARKS = (b"noqa", b"bnlint")
_NOQA = re.compile(r"#\s*noqa(?![\w-])(?P<colon>\s*:\s*(?P<codes>.*))?", re.IGNORECASE)
_LIST = re.compile(r"[\w-]+(?:\s*,\s*[\w-]+|\s+[A-Z]+[0-9]+\b)*,?", re.IGNORECASE)
_OURS = re.compile(
    r"#\s*bnlint\s*:\s*(?P<verb>[\w-]+)?\s*(?P<open>\[)?(?P<codes>[^\]#]*)?(?P<close>\])?", re.IGNORECASE
)
_CODE = re.compile(r"[A-Z]+[0-9]+", re.IGNORECASE)
_VERBS = ("ignore", "skip-file")
_BEFORE_STATEMENTS = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.STRING, tokenize.ENCODING}


@dataclass(frozen=True, slots=True)
class Directive:
    """What one comment silences: some selectors, or everything; and what is wrong with it."""

    selectors: tuple[str, ...] = ()
    everything: bool = False
    whole_file: bool = False
    faults: tuple[str, ...] = ()

    def silences(self, finding: Finding) -> bool:
        """Is this finding meant?"""
        named = (one == finding.name or finding.code.startswith(one) for one in self.selectors)
        return self.everything or any(named)


@dataclass(slots=True)
class Comments:
    """The directives of one file, and on which rows its statements of several rows begin and end."""

    by_row: dict[int, list[Directive]] = field(default_factory=lambda: defaultdict(list))
    statements: list[tuple[int, int]] = field(default_factory=list)
    skip_file: bool = False

    def silence(self, finding: Finding) -> bool:
        """Is a finding silenced by a comment?"""
        where = finding.where
        around = (span for span in self.statements if span[0] <= where.row <= span[1])
        first, last = next(around, (where.row, where.row))
        # A finding on a whole class or loop ends with its header here: comments in its body are not about it.
        rows = {first, last, *range(where.row, min(where.end_row, last) + 1)}
        return self.skip_file or any(
            one.silences(finding) for row in rows for one in self.by_row.get(row, ())
        )


def suppress(
    findings: Iterable[Finding], load: Callable[[str], bytes]
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """The findings that no comment silences, and a note for each comment that is wrong.

    Only files that have findings are looked at, and only those in which a comment can be.
    """
    comments: dict[str, Comments | None] = {}
    notes: list[str] = []
    kept = []
    for finding in findings:
        name = finding.where.filename
        if finding.code != FAULT and name not in comments:
            comments[name] = _comments_of(load(name))
            notes += _notes(name, comments[name])
        ours = None if finding.code == FAULT else comments[name]
        if ours is None or not ours.silence(finding):
            kept.append(finding)
    return tuple(kept), tuple(notes)


def read_comments(lines: Iterable[str]) -> Comments:
    """The directives of a file. A string that looks like a comment is none."""
    found = Comments()
    source = io.StringIO("\n".join(lines))
    start, at_top = 0, True
    try:
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.COMMENT:
                for directive in parse(token.string):
                    found.by_row[token.start[0]].append(directive)
                    found.skip_file |= directive.whole_file and at_top
            at_top = at_top and token.type in _BEFORE_STATEMENTS
            start = _statement(token, start, found)
    except (tokenize.TokenError, SyntaxError, ValueError):  # the last one from Python 3.13's decoder
        pass  # what was read until here counts; the file itself is reported by who parses it
    return found


def parse(comment: str) -> Iterator[Directive]:
    """The directives of one comment."""
    if match := _NOQA.search(comment):
        yield _noqa(match)
    for match in _OURS.finditer(comment):
        yield _ours(match)


def _statement(token: tokenize.TokenInfo, start: int, found: Comments) -> int:
    """Note where statements of several rows are; gives the row where the running one started, or 0."""
    if token.type == tokenize.NEWLINE:
        if token.start[0] > start:
            found.statements.append((start, token.start[0]))
        return 0
    quiet = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
    return start if start or token.type in quiet else token.start[0]


def _noqa(match: re.Match[str]) -> Directive:
    """`# noqa` or `# noqa: E501, BN201`. The codes of other tools are theirs."""
    if match["colon"] is None:
        return Directive(everything=True)
    listed = _LIST.match(match["codes"])
    words = re.split(r"[\s,]+", listed[0]) if listed else []
    if not any(_CODE.fullmatch(word) or word.upper() == "BN" for word in words):
        return Directive(faults=('"noqa:" without a code silences nothing',))
    return _directive(word for word in words if word.upper().startswith("BN"))


def _ours(match: re.Match[str]) -> Directive:
    """`# bnlint: ignore[BN201, tiny-batch]`, `# bnlint: ignore` or `# bnlint: skip-file`."""
    verb = (match["verb"] or "").lower()
    if verb not in _VERBS:
        return Directive(
            faults=(f'unknown comment "bnlint: {verb}", the nearest is "{nearest(verb, _VERBS)}"',)
        )
    if verb == "skip-file":
        return Directive(whole_file=True)
    if match["open"] is None:
        return Directive(everything=True)
    if match["close"] is None:
        return Directive(faults=('"bnlint: ignore[" without "]" silences nothing',))
    return _directive(word.strip() for word in match["codes"].split(",") if word.strip())


def _directive(words: Iterable[str]) -> Directive:
    """What some selectors silence; unknown ones are noted and silence nothing."""
    selectors, faults = [], []
    everything = False
    for word in words:
        try:
            selectors.append(selector(word))
        except ConfigError as problem:
            faults.append(str(problem))
        everything |= word.upper() == "ALL"
    return Directive(tuple(selectors), everything=everything, faults=tuple(faults))


def _comments_of(data: bytes) -> Comments | None:
    """Tokenising is dear: only files in which one of our marks stands are."""
    return read_comments(decode(data)) if any(mark in data.lower() for mark in _MARKS) else None


def _notes(filename: str, comments: Comments | None) -> Iterator[str]:
    rows = {} if comments is None else comments.by_row
    for row, directives in rows.items():
        yield from (f"{filename}:{row}: {fault}" for one in directives for fault in one.faults)
