"""pytest: `pytest --bnlint` makes a test of each finding, marked `bnlint`.

Every run of pytest loads this module, asked for or not: all else of bnlint is imported where it is
asked for. The paths that pytest was given are linted once, together, and each of their files that
pytest comes by is a collector: of its findings, or of one test that passes.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bnlint.finding import Finding

MARK = "bnlint"


class FindingWarning(pytest.PytestWarning):
    """A finding below `fail-on`: it is told, and its test passes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Ask for bnlint by `--bnlint`, which may stand in `addopts`."""
    group = parser.getgroup("bnlint", "mistakes with Batch Normalization")
    group.addoption("--bnlint", action="store_true", help="lint the given paths: each finding is a test")


def pytest_configure(config: pytest.Config) -> None:
    """Take part in collecting only where that was asked for."""
    config.addinivalue_line("markers", f"{MARK}: what bnlint says of a file")
    if config.getoption("--bnlint"):
        config.pluginmanager.register(Project(config), "bnlint-project")


class Project:
    """What is linted: the paths that pytest was given. Wrong settings end pytest with a message."""

    def __init__(self, config: pytest.Config) -> None:
        from bnlint.config import load
        from bnlint.pipeline import Outcome

        self.outcome = Outcome()
        self.base = str(config.invocation_params.dir)
        named = (os.path.join(self.base, argument.partition("::")[0]) for argument in config.args)
        self.paths = [path for path in named if os.path.exists(path)] or [str(config.rootpath)]
        with usage_errors():
            self.settings = load(self.paths, {})

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Lint before the first file is collected, while pytest still takes settings to be wrong."""
        from bnlint.pipeline import run

        with usage_errors():
            self.outcome = run(self.paths, self.settings)

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Besides what pytest itself and other plugins make of a file."""
        if os.fspath(file_path) not in self.outcome.files:
            return None
        return LintedFile.from_parent(parent, path=file_path, project=self)

    def fails(self, finding: Finding) -> bool:
        """Is a finding grave enough for its test to fail?"""
        return self.settings.fails(finding) and not self.settings.exit_zero

    def show(self, finding: Finding) -> str:
        """A finding as the command line shows it."""
        from bnlint import report
        from bnlint.pipeline import about

        columns = shutil.get_terminal_size().columns
        view = report.View(lines=self.outcome.sources.lines, about=about, base=self.base, width=columns)
        return report.load("full").render([finding], view).rstrip("\n")


@contextmanager
def usage_errors() -> Iterator[None]:
    """Give settings that are wrong to pytest, which ends with their message."""
    from bnlint.config import ConfigError

    try:
        yield
    except ConfigError as problem:
        raise pytest.UsageError(f"bnlint: {problem}") from None


class LintedFile(pytest.File):
    """A file of the project."""

    def __init__(self, *, project: Project, **given: Any) -> None:
        super().__init__(**given)
        self.project = project
        self.add_marker(MARK)

    def collect(self) -> Iterator[pytest.Item]:
        """A test for each finding; one for the file if there is none."""
        name = os.fspath(self.path)
        found = [one for one in self.project.outcome.findings if one.where.filename == name]
        for finding in found:
            yield FoundItem.from_parent(self, name=place(finding), finding=finding, project=self.project)
        if not found:
            yield CleanItem.from_parent(self, name=MARK, skipped=self.project.outcome.skipped.get(name))


class CleanItem(pytest.Item):
    """Passes: nothing was found in a file. Is skipped where the file holds no Python."""

    def __init__(self, *, skipped: str | None, **given: Any) -> None:
        super().__init__(**given)
        self.skipped = skipped

    def runtest(self) -> None:
        """Say what collecting has shown."""
        if self.skipped:
            pytest.skip(self.skipped)


class FoundItem(pytest.Item):
    """Fails with the report of its finding, or warns where that is below `fail-on`."""

    def __init__(self, *, finding: Finding, project: Project, **given: Any) -> None:
        super().__init__(**given)
        self.finding, self.project = finding, project
        self.extra_keyword_matches.add(finding.name)

    def runtest(self) -> None:
        """Say what collecting has shown."""
        if self.project.fails(self.finding):
            pytest.fail(self.project.show(self.finding), pytrace=False)
        self.warn(FindingWarning(f"{self.name} {self.finding.name}: {self.finding.message}"))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the finding is, and what stands above its report."""
        return self.path, self.finding.where.row - 1, f"{self.name} {self.finding.name}"


def place(finding: Finding) -> str:
    """The name of a finding's test, unique in its file."""
    from bnlint.report import position

    return finding.code + position(finding.where)
