"""The README shows what is: each command in it is known, and its made parts are what would be made now."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bnlint.cli import COMMANDS, app
from bnlint.config import KEYS, load
from bnlint.report import formats
from bnlint.rule import all_rules
from bnlint.suppress import parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

sys.path.insert(0, str(Path(__file__).parent))
import readme

TEXT = readme.README.read_text(encoding="utf-8")


def test_the_made_parts_are_up_to_date() -> None:
    assert readme.generate(TEXT) == TEXT, "run python tests/readme.py"


def test_the_example_shows_a_finding_and_its_path() -> None:
    assert "BN101 [error] missing-eval" in readme.output()
    assert re.search(r"^  1\. \S+:\d+: ", readme.output(), re.MULTILINE)


def test_the_commands_of_ci_are_those_of_the_readme() -> None:
    """`.ci/run` reads them from here by these patterns."""
    assert re.findall(r"^\$ (pip install .*bnlint fixtures/)$", TEXT, re.MULTILINE) == [
        "pip install . && bnlint fixtures/"
    ]
    assert len(re.findall(r"^\$ pip install .*pytest$", TEXT, re.MULTILINE)) == 1


DEMOS = re.findall(r"^\$ bnlint (demo.*?)(?:  +#.*)?$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("command", DEMOS)
def test_each_demonstration_can_be_asked_for(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the quickest in place of all: what they show is looked at elsewhere."""
    for package in ("torch", "matplotlib", "sklearn"):
        pytest.importorskip(package)
    from bnlint.reference import basics, laboratory

    shown = laboratory.perform(basics.demonstrate)
    monkeypatch.setattr(laboratory, "perform", lambda _demonstrate, _seed: shown)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0
    assert shown.picture.title in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == set(re.findall(r"\w+\.(?:png|html)", command))


def test_demonstrations_are_asked_for_in_all_ways() -> None:
    assert {"demo", "demo basics", "demo benefits"} <= set(DEMOS)
    assert {"--plot", "--html", "--seed"} <= set(" ".join(DEMOS).split())


def test_each_option_that_is_named_exists() -> None:
    commands = [app.get_command(click.Context(app), name) for name in COMMANDS]
    options = {
        name
        for command in (app, *commands)
        for param in command.params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    assert set(re.findall(r"`(--[a-z-]+)", TEXT)) <= options | {"--help", "--version"}
    for line in re.findall(r"^\$ bnlint (.*)$", TEXT, re.MULTILINE):
        assert set(re.findall(r"(?<!\S)--[a-z-]+", line)) <= options


def test_the_settings_are_valid_and_complete(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(\[tool\.bnlint\].*?)```", TEXT, re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(block)
    assert load([tmp_path], {}).file is not None
    assert set(tomllib.loads(block)["tool"]["bnlint"]) == set(KEYS)


def test_the_comments_are_right() -> None:
    comments = re.findall(r"  (# (?:noqa|bnlint:).*)$", TEXT, re.MULTILINE)
    assert len(comments) >= 3
    for comment in comments:
        (directive,) = parse(comment)
        assert not directive.faults


@pytest.mark.parametrize("one", all_rules(), ids=lambda one: one.code)
def test_each_rule_that_is_named_exists(one: object) -> None:
    known = {rule.code for rule in all_rules()} | {"BN000"}
    assert one in all_rules()
    assert set(re.findall(r"\bBN\d{3}\b", TEXT)) <= known


def test_each_format_is_described() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| [A-Za-z][^|]*\|$", TEXT, re.MULTILINE)
    assert sorted(rows) == sorted(formats())
