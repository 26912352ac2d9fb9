"""Comments that silence findings: `# noqa`, `# noqa: BN201`, `# bnlint: ignore[BN201] reason`.

They count on the line where a finding starts, on each line of the expression that it points at,
and on the first and the last line of the statement around it. `# bnlint: skip-file` before the
first statement silences a whole file. BN000 cannot be silenced from inside the file that it is about.
A comment that names our rules and silences nothing can be reported: it hides the next bug on its line.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bnlint.config import FAULT, UNUSED, ConfigError, nearest, selector
from bnlint.finding import Finding, Step, Where
from bnlint.source.read import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_MARKS = (b"noqa", b"bnlint")
_NOQA = re.compile(r"#\s*noqa(?![\w-])(?P<colon>\s*:\s*(?P<codes>.*))?", re.IGNORECASE)
_LIST = re.compile(r"[\w-]+(?:\s*,\s*[\w-]+|\s+[A-Z]+[0-9]+\b)*,?", re.IGNORECASE)
_OURS = re.compile(
    r"#\s*bnlint\s*:\s*(?P<verb>[\w-]+)?\s*(?P<open>\[)?(?P<codes>[^\]#]*)?(?P<close>\])?", re.IGNORECASE
)
_CODE = re.compile(r"[A-Z]+[0-9]+", re.IGNORECASE)
_MEANT = re.compile(r"[\s:=({]*(BN[0-9]+)\b", re.IGNORECASE)
"""A code that stands where brackets should."""
_VERBS = ("ignore", "skip-file")
_BEFORE_STATEMENTS = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.STRING, tokenize.ENCODING}


@dataclass(slots=True)
class Directive:
    """What one comment silences: some selectors, or everything; and what is wrong with it.

    `text` and `column` are those of the comment's part that says so. A plain `# noqa` has no text:
    it is as much about other tools. `used` are the selectors that have silenced something.
    """

    selectors: tuple[str, ...] = ()
    everything: bool = False
    whole_file: bool = False
    faults: tuple[str, ...] = ()
    text: str = ""
    column: int = 0
    used: set[str] = field(default_factory=set)

    def silences(self, finding: Finding) -> bool:
        """Is this finding meant?"""
        meant = {one for one in self.selectors if one == finding.name or finding.code.startswith(one)}
        if self.everything or self.whole_file:
            meant.add("ALL")
        self.used |= meant
        return bool(meant)

    def unused(self) -> set[str]:
        """The selectors that have silenced nothing so far; only of comments that are for us alone."""
        said = {"ALL"} if self.everything or self.whole_file else set(self.selectors)
        return said - self.used if self.text else set()


@dataclass(slots=True)
class Comments:
    """The directives of one file, and on which rows its statements of several rows begin and end."""

    by_row: dict[int, list[Directive]] = field(default_factory=lambda: defaultdict(list))
    statements: list[tuple[int, int]] = field(default_factory=list)
    skip_file: Directive | None = None

    def silence(self, finding: Finding) -> bool:
        """Is a finding silenced by a comment?"""
        where = finding.where
        around = (span for span in self.statements if span[0] <= where.row <= span[1])
        first, last = next(around, (where.row, where.row))
        # A finding on a whole class or loop ends with its header here: comments in its body are not about it.
        rows = {first, last, *range(where.row, min(where.end_row, last) + 1)}
        near = [one for row in rows for one in self.by_row.get(row, ()) if not one.whole_file]
        if self.skip_file is not None:
            near.append(self.skip_file)
        silencing = [one for one in near if one.silences(finding)]  # each of them has been of use
        return bool(silencing)


class Suppressions:
    """The comments of a project's files. Each is read when a finding in it asks for them."""

    def __init__(self, load: Callable[[str], bytes]) -> None:
        self._load = load
        self._comments: dict[str, Comments | None] = {}

    def keep(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings that no comment silences."""
        return tuple(one for one in findings if one.code == FAULT or not self._silence(one))

    def notes(self) -> Iterator[Step]:
        """What is wrong with comments, in the files that were looked at."""
        for filename, comments in self._comments.items():
            for row, directives in comments.by_row.items() if comments else ():
                where = Where(filename, row, 1, row, 1)
                yield from (Step(where, fault) for one in directives for fault in one.faults)

    def unused(self, filenames: Iterable[str], active: Callable[[str, str], bool]) -> Iterator[Finding]:
        """A finding for each comment that silenced nothing, once `keep` has seen all findings.

        `active(selector, filename)` tells whether all rules that a selector names were asked for
        there: what a rule that is off would have said is not known.
        """
        for filename in filenames:
            comments = self._of(filename)
            for row, directives in sorted(comments.by_row.items()) if comments else ():
                for one in directives:
                    idle = sorted(word for word in one.unused() if active(word, filename))
                    if idle:
                        yield _unused(filename, row, one, idle)

    def _of(self, filename: str) -> Comments | None:
        if filename not in self._comments:
            self._comments[filename] = _comments_of(self._load(filename))
        return self._comments[filename]

    def _silence(self, finding: Finding) -> bool:
        comments = self._of(finding.where.filename)
        return comments is not None and comments.silence(finding)


def _unused(filename: str, row: int, directive: Directive, idle: Sequence[str]) -> Finding:
    """The finding for one comment."""
    some = f"{', '.join(idle)} in " if set(idle) < set(directive.selectors) else ""
    message = f"{some}`{directive.text}` silences nothing: remove it, before it hides a bug to come."
    start = directive.column + 1
    where = Where(filename, row, start, row, start + len(directive.text))
    return Finding(FAULT, UNUSED, message, "warning", "high", where)


def read_comments(lines: Iterable[str]) -> Comments:
    """The directives of a file. A string that looks like a comment is none."""
    found = Comments()
    source = io.StringIO("\n".join(lines))
    start, at_top = 0, True
    try:
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.COMMENT:
                for directive in parse(token.string):
                    directive.column += token.start[1]
                    found.by_row[token.start[0]].append(directive)
                    if directive.whole_file and at_top:
                        found.skip_file = directive
                    elif directive.whole_file:
                        directive.faults = ('"bnlint: skip-file" counts above the first statement only',)
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
        directive = _ours(match)
        directive.text, directive.column = match[0].rstrip(), match.start()
        yield directive


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
    directive = _directive(word for word in words if word.upper().startswith("BN"))
    if directive.selectors and listed:
        directive.text, directive.column = match[0][: -len(match["codes"])] + listed[0], match.start()
    return directive


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
        return _unbracketed(match["codes"] or "")
    if match["close"] is None:
        return Directive(faults=('"bnlint: ignore[" without "]" silences nothing',))
    words = [word.strip() for word in match["codes"].split(",") if word.strip()]
    return _directive(words) if words else Directive(faults=('"bnlint: ignore[]" names no rule',))


def _unbracketed(reason: str) -> Directive:
    """`# bnlint: ignore` silences everything, unless what follows it was meant as a code."""
    word = _MEANT.match(reason)
    if word is None:
        return Directive(everything=True)
    return Directive(faults=(f'write "bnlint: ignore[{word[1]}]": as it stands it silences nothing',))


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
