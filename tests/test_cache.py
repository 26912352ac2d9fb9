"""A run on unchanged files says the same as the one before, and anything else is looked at anew."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bnlint.cli import app
from bnlint.facts import Facts
from bnlint.finding import Finding, Where
from bnlint.source import analyse, cache
from bnlint.source.packed import CannotPack, pack, unpack

sys.path.insert(0, str(Path(__file__).parent))
import homemade

FIXTURES = Path(__file__).parent.parent / "fixtures"
NET = """\
from torch import nn

from layers import EPS


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(8, eps=EPS)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return self.head(self.bn(x))
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two files, one of which imports from a third that is not linted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cache, "WORTH", -1.0)
    Path("net.py").write_text(NET)
    Path("other.py").write_text("import torch\n")
    Path("layers.py").write_text("EPS = 1.0\n")
    return tmp_path


def found(*args: str) -> list[tuple[str, str, int]]:
    result = CliRunner().invoke(app, ["net.py", "other.py", "--output-format", "json", *args])
    assert result.exit_code in (0, 1), result.stderr
    return [
        (os.path.basename(one["filename"]), one["code"], one["location"]["row"])
        for one in json.loads(result.stdout)
    ]


class Analyses:
    """Counts how often the engine was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        monkeypatch.setattr("bnlint.pipeline.analyse", self)

    def __call__(self, *args: object) -> object:
        self.number += 1
        return analyse(*args)


@pytest.fixture
def analyses(monkeypatch: pytest.MonkeyPatch) -> Analyses:
    return Analyses(monkeypatch)


EPSILON = [("net.py", "BN405", 9)]


def test_a_configuration_that_changes_is_looked_at_anew(analyses: Analyses) -> None:
    Path("net.py").write_text(
        NET.replace("from layers import EPS", 'import yaml\n\nEPS = yaml.safe_load(open("c.yml"))["eps"]')
    )
    Path("c.yml").write_text("eps: 1.0\n")
    assert [code for _, code, _ in found()] == ["BN405"]
    assert found()
    assert analyses.number == 1
    Path("c.yml").write_text("eps: 0.001\n")
    assert not found()
    assert analyses.number == 2
    Path("c.yml").unlink()
    assert not found()
    assert analyses.number == 3


def test_nothing_is_analysed_twice(analyses: Analyses) -> None:
    assert [found(), found(), found()] == [EPSILON] * 3
    assert analyses.number == 1


def test_rules_thresholds_and_comments_are_asked_anew(analyses: Analyses) -> None:
    assert found() == EPSILON
    assert found("--ignore", "BN405") == []
    assert found("--config", "epsilon-out-of-range = 1.0") == EPSILON
    assert found("--fail-on", "error") == EPSILON
    assert analyses.number == 1


def test_a_change_is_seen(analyses: Analyses) -> None:
    found()
    Path("net.py").write_text("import os\n" + NET)
    assert found() == [("net.py", "BN405", 10)]
    Path("net.py").write_text(NET.replace("EPS)", "1e-5)"))
    assert found() == []
    assert analyses.number == 3


def test_a_change_in_an_imported_file_is_seen(analyses: Analyses) -> None:
    assert found() == EPSILON
    Path("layers.py").write_text("EPS = 1e-5\n")
    assert found() == []
    Path("layers.py").unlink()
    assert found() == []
    Path("layers.py").write_text("EPS = 1.0\n")
    assert found() == EPSILON
    assert analyses.number == 4


def test_a_file_that_comes_to_be_imported_is_seen(analyses: Analyses) -> None:
    Path("layers.py").unlink()
    assert [found(), found()] == [[], []]
    Path("layers").mkdir()
    Path("layers/__init__.py").write_text("EPS = 1.0\n")
    assert found() == EPSILON
    assert analyses.number == 2


def test_another_set_of_files_has_an_entry_of_its_own(analyses: Analyses) -> None:
    Path("more.py").write_text("import torch\n")
    assert [found(), found("more.py"), found(), found("more.py")] == [EPSILON] * 4
    assert analyses.number == 2


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"files": 1}',
        b"[" * 100_000,
    ],
)
def test_an_entry_that_is_none_does_not_count(analyses: Analyses, text: bytes) -> None:
    found()
    (entry,) = Path(".bnlint_cache").glob("*.json")
    entry.write_bytes(text)
    assert [found(), found()] == [EPSILON] * 2
    assert analyses.number == 2


@pytest.mark.parametrize(
    "facts", [None, 1, ["Facts", 1], ["Nothing"], ["system", "ls"], [], {}, ["tuple", ["Where"]]]
)
def test_facts_that_are_none_do_not_count(analyses: Analyses, facts: object) -> None:
    found()
    (entry,) = Path(".bnlint_cache").glob("*.json")
    seal, text = entry.read_text().split("\n", 1)
    entry.write_text(seal + "\n" + json.dumps({**json.loads(text), "facts": facts}))
    assert found() == EPSILON
    assert analyses.number == 2


def test_what_is_broken_is_said_again(analyses: Analyses) -> None:
    Path("other.py").write_text("import torch\nx = (\n")
    assert [found(), found()] == [[*EPSILON, ("other.py", "BN000", 2)]] * 2
    assert analyses.number == 1


def test_a_fault_of_bnlint_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> object:
        raise ValueError("by design")

    monkeypatch.setattr("bnlint.pipeline.analyse", fail)
    result = CliRunner().invoke(app, ["net.py", "other.py"])
    assert result.exit_code == 2
    assert not Path(".bnlint_cache").exists()


def test_a_file_that_cannot_be_read_is_looked_at_again(
    analyses: Analyses, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "other.py":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert [found(), found()] == [[*EPSILON, ("other.py", "BN000", 1)]] * 2
    assert analyses.number == 2


def test_places_in_notebooks_are_known_again(analyses: Analyses) -> None:
    cells = [{"cell_type": "code", "metadata": {}, "source": text} for text in ("%matplotlib inline\n", NET)]
    Path("a.ipynb").write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    )
    Path("r.ipynb").write_text(
        json.dumps({"nbformat": 4, "metadata": {"kernelspec": {"language": "R"}}, "cells": []})
    )
    first, second = (
        CliRunner().invoke(app, ["a.ipynb", "r.ipynb", "--output-format", "full"]) for _ in range(2)
    )
    assert "a.ipynb:cell 2:9:41: BN405" in first.stdout
    assert "r.ipynb: skipped: its kernel is R" in first.stderr
    assert (first.stdout, first.stderr) == (second.stdout, second.stderr)
    assert analyses.number == 1


def test_where_it_is_kept(analyses: Analyses) -> None:
    found("--no-cache")
    assert not Path(".bnlint_cache").exists()
    found("--cache-dir", "kept")
    assert {".gitignore", "CACHEDIR.TAG"} < set(os.listdir("kept"))
    assert Path("kept/.gitignore").read_text() == "*\n"
    Path("pyproject.toml").write_text("[tool.bnlint]\ncache-dir = 'kept'\n")
    Path("src").mkdir()
    assert found() == EPSILON
    assert not Path(".bnlint_cache").exists()
    assert analyses.number == 2


def test_it_lies_beside_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pyproject.toml").write_text("[tool.bnlint]\n")
    Path("src").mkdir()
    for name in ("a.py", "b.py"):
        Path("src", name).write_text("import torch\n")
    monkeypatch.chdir("src")
    CliRunner().invoke(app, ["."])
    assert Path("../.bnlint_cache").is_dir()
    assert not Path(".bnlint_cache").exists()


def test_where_nothing_can_be_kept_everything_is_said(analyses: Analyses) -> None:
    Path("kept").write_text("a file")
    assert CliRunner().invoke(app, ["net.py", "other.py", "--cache-dir", "kept"]).exit_code == 2
    Path("pyproject.toml").write_text("[tool.bnlint]\ncache-dir = 'kept'\n")
    assert [found(), found()] == [EPSILON] * 2
    assert analyses.number == 2


def test_short_runs_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "WORTH", 1000.0)
    assert found() == EPSILON
    assert not Path(".bnlint_cache").exists()


def test_old_entries_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST", 3)
    for number in range(6):
        Path(f"a{number}.py").write_text("import torch\n")
        CliRunner().invoke(app, ["net.py", f"a{number}.py"])
        for at, entry in enumerate(sorted(Path(".bnlint_cache").glob("*.json"), key=os.path.getmtime)):
            os.utime(entry, (at, at))
    assert len(list(Path(".bnlint_cache").glob("*.json"))) == 3


@pytest.mark.parametrize(
    "rule", sorted(rule for rule in os.listdir(FIXTURES) if not homemade.of_layers(rule))
)
def test_all_facts_come_back_as_they_were(rule: str) -> None:
    analysis = analyse(sorted((FIXTURES / rule).rglob("*.py")))
    assert analysis.facts != Facts()
    again = unpack(json.loads(json.dumps(pack(analysis.facts))))
    assert again == analysis.facts
    assert type(again) is Facts


def test_findings_come_back_as_they_were() -> None:
    finding = Finding("BN000", "unreadable-source", "é", "error", "high", Where("a.py", 1, 2, 3, 4, 5))
    assert unpack(json.loads(json.dumps(pack((finding,))))) == (finding,)


def test_what_json_cannot_say_is_not_kept() -> None:
    with pytest.raises(CannotPack):
        pack(("a", b"bytes"))
