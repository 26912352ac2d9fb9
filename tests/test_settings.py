"""`bnlint config`: what is in force, where it comes from, and that it can be pasted."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import tables
from click.testing import CliRunner, Result
from hypothesis import given

from bnlint.cli import app
from bnlint.cli.toml import table
from bnlint.config import KEYS, Settings, load
from bnlint.config.errors import spelled
from bnlint.config.files import Document
from bnlint.config.in_force import shortest
from bnlint.config.keys import COMMAND_LINE
from bnlint.config.layer import Layer
from bnlint.config.merge import merge
from bnlint.config.schema import schema
from bnlint.rule import all_rules
from bnlint.source.discover import EXCLUDE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EVERY = sorted(one.code for one in all_rules())
LIMITS = {key.rule: key.default for key in KEYS.values() if key.rule}


def run(*args: str, **env: str) -> Result:
    return CliRunner(env={"COLUMNS": "90", **env}).invoke(app, ["config", *args])


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.bnlint]\n"
        "ignore = ['Tiny_Batch']\n"
        "extend-exclude = ['third_party', 'gen/*.py']\n"
        "fail-on = 'error'\n"
        "baseline = 'known/base.json'\n"
        "[tool.bnlint.per-file-ignores]\n"
        "'tests/*' = ['bn2', 'BN301']\n"
    )
    return tmp_path


def lines(*args: str) -> dict[str, str]:
    """What stands in each line, by its first word; the blanks before comments do not count."""
    shown = run(*args).stdout.splitlines()
    return {line.split(" = ")[0]: " ".join(line.split()) for line in shown}


def test_each_setting_comes_with_its_value_and_its_place(project: Path) -> None:
    shown = lines("sub")
    assert f"# {project}/pyproject.toml" in shown
    assert f"# {len(EVERY) - 1} rules are on, all but BN301" in shown
    assert shown["select"] == 'select = ["ALL"] # default'
    assert shown["ignore"] == 'ignore = ["tiny-batch"] # pyproject.toml:2'
    assert shown["exclude"] == "exclude = [ # default"
    assert shown["extend-exclude"] == 'extend-exclude = ["third_party", "gen/*.py"] # pyproject.toml:3'
    assert shown["fail-on"] == 'fail-on = "error" # pyproject.toml:4'
    assert shown["baseline"] == 'baseline = "known/base.json" # pyproject.toml:5'
    assert shown["quiet"] == "quiet = false # default"
    assert shown["tiny-batch"] == "tiny-batch = 16 # default"
    assert shown['"tests/*"'] == '"tests/*" = ["BN2", "BN301"] # pyproject.toml:7'
    assert "# output-file is not set" in shown


def test_what_is_given_inline_is_named_as_it_was_given() -> None:
    shown = lines("--config", "tiny-batch = 4", "--config", 'fail-on="info"')
    assert shown["tiny-batch"] == 'tiny-batch = 4 # --config "tiny-batch = 4"'
    assert shown["fail-on"] == 'fail-on = "info" # --config \'fail-on="info"\''


def test_rules_from_several_places_are_shown_as_what_they_come_to() -> None:
    shown = lines("--config", 'extend-select = ["BN301"]', "--config", 'ignore = ["BN2", "unused-noqa"]')
    off = [code for code in EVERY if code.startswith("BN2")]
    assert f"# {len(EVERY) - len(off)} rules are on, all but {' '.join(off)}" in shown
    sources = 'pyproject.toml:2, --config \'ignore = ["BN2", "unused-noqa"]\', --config \'extend-select = ["BN301"]\''
    assert shown["select"] == 'select = ["ALL"] # --config \'extend-select = ["BN301"]\''
    assert shown["ignore"] == f'ignore = ["BN2", "unused-noqa"] # {sources}'
    assert shown["extend-select"] == "extend-select = [] # default"


@pytest.mark.parametrize(
    ("args", "head"),
    [
        (["--isolated"], f"# no file with [tool.bnlint]\n# all {len(EVERY)} rules are on\n[tool.bnlint]\n"),
        (
            ["--isolated", "--config", "select=['BN301']"],
            f"# no file with [tool.bnlint]\n# 1 of {len(EVERY)} rules are on: BN301\n[tool.bnlint]\n",
        ),
    ],
)
def test_without_a_file(args: list[str], head: str) -> None:
    result = run(*args)
    assert result.exit_code == 0
    assert result.stdout.startswith(head)


def test_the_defaults_are_shown_as_they_are() -> None:
    shown = tomllib.loads(run("--isolated").stdout)["tool"]["bnlint"]
    unset = {name for name, key in KEYS.items() if key.default is None} | {"per-file-ignores"}
    assert shown == {name: key.default for name, key in KEYS.items() if name not in unset}
    assert shown["exclude"] == list(EXCLUDE)


def settled(found: Settings) -> Settings:
    """Settings without what makes no difference: a threshold that is set to its default, a relative path."""
    return replace(
        found,
        output_file=found.output_file and found.output_file.absolute(),
        thresholds={**LIMITS, **found.thresholds},
    )


@given(tables.VALID, tables.VALID, tables.VALID)
def test_what_is_shown_gives_the_same_settings_where_it_is_pasted(
    written: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    text = "[tool.bnlint]\n" + "".join(f"{key} = {spelled(value)}\n" for key, value in written.items())
    file = Path("pyproject.toml").absolute()
    inline = [Layer(values, "", '--config "\n"') for values in (first, second)]
    found = [Layer(Document(file, text).table, document=Document(file, text)), *inline]
    shown = Document(file, click.unstyle(table(found, 100)))
    assert settled(merge([Layer(shown.table, document=shown)])) == settled(merge(found))


@given(tables.st.sets(tables.st.sampled_from(EVERY)))
def test_rules_are_named_in_few_words(codes: set[str]) -> None:
    selected, ignored = shortest(codes, ())
    assert load([], {"select": selected, "ignore": ignored}, isolated=True).codes == codes
    assert len(selected) + len(ignored) <= min(len(codes), 1 + len(EVERY) - len(codes))


def test_json_says_the_same(project: Path) -> None:
    shown = json.loads(run("--output-format", "json", "--config", "quiet=true").stdout)
    toml = tomllib.loads(run("--config", "quiet=true").stdout)["tool"]["bnlint"]
    assert (shown["file"], shown["rules"]) == (
        f"{project}/pyproject.toml",
        [one for one in EVERY if one != "BN301"],
    )
    entries = shown["settings"]
    assert set(entries) == set(KEYS)
    assert entries["per-file-ignores"] == {
        "tests/*": {"value": ["BN2", "BN301"], "origins": ["pyproject.toml:7"]}
    }
    assert entries["quiet"] == {"value": True, "origins": ['--config "quiet=true"']}
    assert entries["output-file"] == {"value": None, "origins": ["default"]}
    assert {key: entries[key]["value"] for key in toml if key != "per-file-ignores"} == {
        key: value for key, value in toml.items() if key != "per-file-ignores"
    }


def test_the_schema_is_printed() -> None:
    assert json.loads(run("--schema").stdout) == schema()


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.name)
def test_each_key_is_explained(key: Any) -> None:
    text = run("--explain", key.name).stdout
    assert text.startswith(f"{key.name}\n{key.meaning}\nIt is {key.kind.wanted}.\n")
    if key.default is not None and key.name != "exclude":
        assert " ".join(f"{key.name} = {spelled(key.default)} # default".split()) in " ".join(text.split())


def test_a_threshold_is_explained_by_its_rule() -> None:
    assert run("--explain", "tiny-batch").stdout == (
        "tiny-batch\n"
        "BN301: samples per batch from which on the statistics are good enough.\n"
        "It is a whole number from 2 to 4096.\n"
        "\n"
        "tiny-batch = 16                       # default\n"
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--explain", "tiny-bach"],
            'Error: --explain: unknown key "tiny-bach", the nearest is "tiny-batch"',
        ),
        (
            ["--explain", "isolated"],
            'Error: --explain: "isolated" is an option of the command line only, no key',
        ),
        (
            ["--config", "selct=[]"],
            'Error: --config "selct=[]": unknown key "selct", the nearest is "select"',
        ),
        (["--config", "gone.toml"], "Error: gone.toml: no such file"),
    ],
)
def test_wrong_use_exits_2(args: list[str], message: str) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_wrong_file_exits_2(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.bnlint]\nselct = []\n")
    assert f"Error: {project}/pyproject.toml:2: [tool.bnlint] unknown key" in run().stderr


def test_colours_and_width_change_nothing_but_the_looks() -> None:
    plain, coloured = run("--no-color").stdout, run("--color").stdout
    assert "\x1b" not in plain
    assert "\x1b[1mfail-on\x1b[0m" in coloured
    assert "\x1b[1mquiet\x1b[0m" not in coloured
    assert click.unstyle(coloured) == plain
    narrow = run(COLUMNS="60").stdout
    assert narrow != plain
    assert tomllib.loads(narrow) == tomllib.loads(plain)
    assert len(narrow.splitlines()) > len(plain.splitlines()) > len(run(COLUMNS="200").stdout.splitlines())


def test_each_option_of_lint_is_a_setting_or_known_to_be_none() -> None:
    command = app.get_command(click.Context(app), "lint")
    options = {
        max(one.opts, key=len).removeprefix("--") for one in command.params if isinstance(one, click.Option)
    }
    assert options <= {*KEYS, *COMMAND_LINE}
    assert {name for name, key in KEYS.items() if not key.rule} <= options


def test_a_path_that_does_not_exist_is_wrong_use(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    for word, hint in (
        ("scr", ', the nearest is "src"'),
        ("tiny-batch", "; --explain KEY is about one setting"),
    ):
        result = CliRunner().invoke(app, ["config", word])
        assert result.exit_code == 2
        assert f"{word}: no such file or folder{hint}" in result.stderr
