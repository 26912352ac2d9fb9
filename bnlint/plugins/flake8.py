"""flake8: `flake8 --select BN`. Each run of flake8 loads this module, so it imports nothing heavy.

flake8 hands over one file at a time, in several processes, as lines that may come from an editor. A
file is analysed with all that it imports, but without those who import it: `bnlint` itself, which
sees the whole project, may find more. flake8 knows no severities: what is below `fail-on` is not told.
Wrong settings end it with a message; a fault of bnlint does not.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from bnlint import __version__

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator, Sequence

    from bnlint.config import Settings
    from bnlint.finding import Finding


class Plugin:
    """What flake8 makes for each file. It asks for the tree only to be called once per file."""

    name = "bnlint"
    version = __version__

    def __init__(self, tree: ast.AST, filename: str, lines: Sequence[str]) -> None:  # noqa: ARG002
        self.filename = os.path.abspath(filename)
        self.lines = lines

    def run(self) -> Iterator[tuple[int, int, str, type[Plugin]]]:
        """Row, column from 0, and one line of text for each finding in this file."""
        from bnlint.report._excerpt import visible

        for finding in self._findings():
            text = f"{finding.code} {finding.name}: {visible(finding.message)}"
            yield finding.where.row, finding.where.column - 1, text, type(self)

    def _findings(self) -> Sequence[Finding]:
        """Those that flake8 is to show. A fault of bnlint is one of them: flake8 goes on."""
        from bnlint.config import ConfigError
        from bnlint.pipeline import internal_fault

        if self.filename.endswith(".ipynb"):  # flake8 reads its JSON as Python: rows would mean nothing
            return ()
        try:
            settings = _settings(self.filename)
            return [one for one in self._lint(settings) if settings.fails(one)]
        except ConfigError as problem:
            from flake8.exceptions import ExecutionError  # type: ignore[import-untyped,unused-ignore]

            raise ExecutionError(f"bnlint: {problem}") from problem
        except Exception as problem:
            return [internal_fault(problem, self.filename, "in flake8")]

    def _lint(self, settings: Settings) -> Iterator[Finding]:
        """The findings of this file, read from flake8's lines."""
        from bnlint.pipeline import run

        outcome = run([self.filename], settings, {self.filename: encoded(self.lines)})
        return (one for one in outcome.findings if one.where.filename == self.filename)


def encoded(lines: Sequence[str]) -> bytes:
    """A text in the encoding that it declares, by which it is going to be read."""
    import io
    import tokenize

    text = "".join(lines)
    data = text.encode("utf-8", "replace")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return text.encode(encoding)
    except (SyntaxError, UnicodeError):  # flake8 has read it as Latin-1
        return data


def _settings(filename: str) -> Settings:
    """The settings of the project that a file is in, and two that flake8 asks for."""
    from bnlint.config import load

    # flake8 names each file, whether the user did or not. A comment that is of no use in one file
    # may be of use where those who import it are known.
    return replace(load([filename], {}), force_exclude=True, report_unused_noqa=False)
