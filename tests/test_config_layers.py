"""Settings from several places: `--config`, paths and patterns by where they were written, thresholds."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from bnlint.config import FAULT_NAMES, KEYS, ConfigError, Settings, load
from bnlint.finding import Finding, Where
from bnlint.rule import all_rules

EVERY = frozenset(one.code for one in all_rules())
COMBINED = {"select", "ignore", "extend-select", "extend-exclude"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings; the current one is below it."""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    (tmp_path / "pyproject.toml").write_text(
        "[tool.bnlint]\nfail-on = 'error'\ntiny-batch = 8\nbaseline = 'base.json'\noutput-file = 'out/report.txt'\n"
        "extend-exclude = ['gen/*.py']\n[tool.bnlint.per-file-ignores]\n'tests/*' = ['BN2']\n"
    )
    return tmp_path


def test_each_key_that_is_no_threshold_has_a_field_with_its_default() -> None:
    defaults = {one.name: getattr(Settings(EVERY), one.name) for one in fields(Settings)}
    for key in KEYS.values():
        if key.rule:
            assert key.default == next(one.threshold.default for one in all_rules() if one.code == key.rule)
        elif key.name == "per-file-ignores":
            assert (key.default, defaults[key.field]) == ({}, ())
        elif key.name not in COMBINED:
            value = defaults[key.field]
            assert key.default == (list(value) if isinstance(value, tuple) else value)


def test_each_rule_with_a_threshold_has_a_key() -> None:
    limited = {one.name for one in all_rules() if one.threshold is not None}
    assert limited == {key.name for key in KEYS.values() if key.rule}
    assert "tiny-batch" in limited


def test_the_defaults_are_those_of_no_settings_at_all(tmp_path: Path) -> None:
    """What the table of keys calls a default changes nothing where it is written down."""
    written = {key.name: key.default for key in KEYS.values() if key.default is not None}
    spelled_out, bare = load([tmp_path], written, isolated=True), load([tmp_path], {}, isolated=True)
    for one in fields(Settings):
        if one.name != "thresholds":
            assert getattr(spelled_out, one.name) == getattr(bare, one.name)
    assert bare == Settings(EVERY)


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.name)
def test_each_key_can_be_an_argument(key: object, tmp_path: Path) -> None:
    value = key.default if key.example is None else key.example
    written = load([tmp_path], {key.name: value}, isolated=True)
    assert load([tmp_path], {key.name: value, "quiet": None}, isolated=True) == written
    if isinstance(value, list):
        assert load([tmp_path], {key.name: tuple(value)}, isolated=True) == written
    if isinstance(value, str) and key.default is None:
        assert load([tmp_path], {key.name: Path(value)}, isolated=True) == written


def test_paths_are_relative_to_where_they_were_written(project: Path) -> None:
    from_file = load(["."], {})
    assert from_file.baseline == project / "base.json"
    assert from_file.output_file == project / "out" / "report.txt"
    assert from_file.exclude[-1] == f"{project}/gen/*.py"
    inline = load(["."], {}, config=['baseline = "x.json"', 'extend-exclude = ["./here/*.py", "../up/*"]'])
    assert inline.baseline == project / "sub" / "x.json"
    assert inline.exclude[-2:] == (f"{project}/sub/here/*.py", f"{project}/up/*")
    given = load(["."], {"output-file": "o.txt", "baseline": Path("/abs/b.json")})
    assert (given.output_file, given.baseline) == (Path("o.txt"), Path("/abs/b.json"))


def test_what_is_given_inline_stands_between_the_file_and_the_command_line(project: Path) -> None:
    assert load(["."], {}).fail_on == "error"
    assert load(["."], {}, config='fail-on = "info"').fail_on == "info"
    assert load(["."], {"fail-on": "warning"}, config='fail-on = "info"').fail_on == "warning"
    assert load(["."], {}, config=['fail-on="info"', 'fail-on="warning"']).fail_on == "warning"
    assert load(["."], {}, config=["tiny-batch = 4"]).thresholds == {"BN301": 4}
    isolated = load(["."], {}, config=["quiet = true"], isolated=True)
    assert (isolated.quiet, isolated.fail_on, isolated.file) == (True, "warning", None)
    assert load(["."], {}, config=["quiet = true", project / "pyproject.toml"]).fail_on == "error"


def test_a_file_may_have_an_equals_sign_in_its_name() -> None:
    Path("a=b.toml").write_text("[tool.bnlint]\nquiet = true\n")
    assert load(["."], {}, config="a=b.toml").file == Path("a=b.toml")


def test_patterns_add_up_over_the_layers(project: Path) -> None:
    found = load(["."], {}, config='per-file-ignores = {"../tests/*" = ["BN301"], "x/" = ["BN4"]}')
    assert found.per_file_ignores == ((f"{project}/tests/*", ("BN2", "BN301")), ("x", ("BN4",)))


def test_two_spellings_of_a_pattern_are_one() -> None:
    found = load(["."], {}, config='per-file-ignores = {"x" = ["BN2"], "./x/" = ["BN4"]}', isolated=True)
    assert found.per_file_ignores == (("x", ("BN2", "BN4")),)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("tiny-bach = 4", '--config "tiny-bach = 4": unknown key "tiny-bach", the nearest is "tiny-batch"'),
        (
            'select = ["BN999"]',
            '--config \'select = ["BN999"]\': select: unknown rule "BN999", the nearest is ',
        ),
        (
            "fail-on = error",
            '--config "fail-on = error": not valid TOML: Invalid value (at line 1, column 11) (did you mean fail-on = "error"?)',
        ),
        ("select=BN2, BN3", '(did you mean select = ["BN2", "BN3"]?)'),
        ("select=[BN2]", '(did you mean select = ["BN2"]?)'),
        ("quiet=True", "(did you mean quiet = true?)"),
        ("gone.toml", "gone.toml: no such file"),
        (".", ".: cannot be read: Is a directory"),
        (
            ["../pyproject.toml", "b.toml"],
            "--config b.toml: ../pyproject.toml was taken already, and there can be one file only",
        ),
    ],
)
def test_a_wrong_config_is_named(config: str | list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(["."], {}, config=config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "config", ["quiet = yes", "tiny-batch = x", "per-file-ignores = x", "nothing = x", "="]
)
def test_nothing_is_guessed_where_it_would_be_no_help(config: str) -> None:
    with pytest.raises(ConfigError, match=r"^--config \".*\": not valid TOML: ") as caught:
        load(["."], {}, config=config)
    assert "did you mean" not in str(caught.value)


def test_a_named_file_and_isolated_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"^--config x\.toml: --isolated takes no settings from files$"):
        load(["."], {}, config="x.toml", isolated=True)


def test_a_value_that_no_toml_could_hold() -> None:
    with pytest.raises(ConfigError, match=r"^setting select: expected a list of strings, got \{'BN2'\}$"):
        load(["."], {"select": {"BN2"}})
    with pytest.raises(ConfigError, match=r"^setting baseline: expected a path, got b'x'$"):
        load(["."], {"baseline": b"x"})


@pytest.mark.parametrize(
    ("given", "on", "off"),
    [
        ({}, ["BN301", "tiny-batch", "BN2", "ALL", "BN000", "unused-noqa"], []),
        ({"ignore": ["BN301"]}, ["BN405", "BN2"], ["BN301", "tiny-batch", "BN3", "BN", "ALL"]),
        ({"select": ["BN2"]}, ["BN2", "BN201"], ["BN301", "ALL"]),
        ({"per-file-ignores": {"a.py": ["BN201"]}}, ["BN202"], ["BN201", "BN2", "ALL"]),
        ({"per-file-ignores": {"b.py": ["BN201"]}}, ["BN201", "ALL"], []),
        ({"ignore": ["unused-noqa"]}, ["ALL", "internal-fault"], ["BN000", "unused-noqa"]),
        ({"ignore": ["ALL"]}, ["BN000", *FAULT_NAMES], ["BN301"]),
    ],
)
def test_what_is_active_in_a_file(given: dict[str, object], on: list[str], off: list[str]) -> None:
    found = load([], given, isolated=True)
    assert [word for word in (*on, *off) if found.active(word, "/x/a.py")] == on


@pytest.mark.parametrize("one", all_rules(), ids=lambda one: one.code)
def test_a_rule_is_active_where_its_findings_are_reported(one: object) -> None:
    found = load([], {"select": ["BN2"], "per-file-ignores": {"a.py": ["BN201"]}}, isolated=True)
    for filename in ("/x/a.py", "/x/b.py"):
        finding = Finding(one.code, one.name, "message", "warning", "high", Where(filename))
        assert found.active(one.code, filename) is found.active(one.name, filename) is found.reports(finding)
