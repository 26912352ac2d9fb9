"""Settings: what wins over what, and that nothing wrong is taken silently."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bnlint.config import ConfigError, Settings, find, load, nearest
from bnlint.finding import Finding, Where
from bnlint.rule import all_rules
from bnlint.source.discover import EXCLUDE

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY = {one.code for one in all_rules()}
BN2 = {code for code in EVERY if code.startswith("BN2")}
BN4 = {code for code in EVERY if code.startswith("BN4")}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(project: Path, text: str = "", given: Mapping[str, object] | None = None) -> Settings:
    (project / "pyproject.toml").write_text("[tool.bnlint]\n" + text)
    return load([project], given or {})


def finding(code: str, filename: str | Path, name: str = "a-name") -> Finding:
    return Finding(code, name, "message", "warning", "high", Where(str(filename)))


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("", {}, EVERY),
        ("select = ['BN2']", {}, BN2),
        ("select = ['bn2']", {}, BN2),
        ("select = ['tiny-batch']", {}, {"BN301"}),
        ("select = ['BN301', 'BN2']", {}, BN2 | {"BN301"}),
        ("select = []", {}, set()),
        ("select = ['BN2']\nextend-select = ['BN301']", {}, BN2 | {"BN301"}),
        ("ignore = ['BN2']", {}, EVERY - BN2),
        ("ignore = ['ALL']", {}, set()),
        ("ignore = ['ALL']\nextend-select = ['BN301']", {}, {"BN301"}),
        ("select = ['BN2']\nignore = ['BN201']", {}, BN2 - {"BN201"}),
        ("select = ['BN201']\nignore = ['BN2']", {}, {"BN201"}),
        ("select = ['BN201']\nignore = ['batchnorm-on-output']", {}, set()),
        ("select = ['BN2']", {"select": ["BN4"]}, BN4),
        ("ignore = ['BN4']", {"select": ["BN4"]}, BN4),
        ("select = ['BN2']", {"extend-select": ["BN301"]}, BN2 | {"BN301"}),
        ("select = ['BN201', 'BN301']", {"ignore": ["BN2"]}, {"BN301"}),
        ("extend-select = ['BN201']", {"ignore": ["BN2"]}, EVERY - BN2),
        ("", {"select": ["ALL"], "ignore": ["BN2"]}, EVERY - BN2),
        ("", {"select": ["BN000"]}, set()),
    ],
)
def test_which_rules_are_on(project: Path, text: str, given: dict[str, object], expected: set[str]) -> None:
    assert settings(project, text, given).codes == expected


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        ({}, True),
        ({"select": ["BN2"]}, True),
        ({"select": []}, True),
        ({"ignore": ["ALL"]}, True),
        ({"ignore": ["BN"]}, True),
        ({"ignore": ["BN00"]}, True),
        ({"ignore": ["internal-fault"]}, True),
        ({"ignore": ["BN000"]}, False),
        ({"ignore": ["unreadable-source"]}, False),
        ({"per-file-ignores": {"*.py": ["ALL", "BN"]}}, True),
        ({"per-file-ignores": {"*.py": ["BN000"]}}, False),
        ({"per-file-ignores": {"b.py": ["BN000"]}}, True),
    ],
)
def test_bn000_is_off_only_by_name(project: Path, given: dict[str, object], *, reported: bool) -> None:
    one = finding("BN000", project / "a.py", "unreadable-source")
    assert settings(project, "", given).reports(one) is reported


@pytest.mark.parametrize(
    ("pattern", "quiet"),
    [
        ("*.py", {"a.py", "tests/a.py", "tests/deep/b.py", "other/tests/a.py"}),
        ("a.py", {"a.py", "tests/a.py", "other/tests/a.py"}),
        ("tests", {"tests/a.py", "tests/deep/b.py", "other/tests/a.py"}),
        ("tests/*", {"tests/a.py", "tests/deep/b.py"}),
        ("./tests/", {"tests/a.py", "tests/deep/b.py", "other/tests/a.py"}),
        ("tests/**/*.py", {"tests/a.py", "tests/deep/b.py"}),
        ("**/tests/a.py", {"tests/a.py", "other/tests/a.py"}),
        ("nowhere/*", set()),
    ],
)
def test_per_file_ignores(project: Path, pattern: str, quiet: set[str]) -> None:
    files = ("a.py", "tests/a.py", "tests/deep/b.py", "other/tests/a.py")
    found = settings(project, f"[tool.bnlint.per-file-ignores]\n'{pattern}' = ['BN2']\n")
    assert {name for name in files if not found.reports(finding("BN201", project / name))} == quiet
    assert all(found.reports(finding("BN301", project / name)) for name in files)


def test_patterns_of_the_file_are_relative_to_the_file(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    found = settings(project, "extend-exclude = ['gen/*.py', 'vendor']", {"extend-exclude": ["here/x"]})
    assert found.exclude == (*EXCLUDE, f"{project}/gen/*.py", "vendor", f"{project}/sub/here/x")


def test_a_folder_with_a_bracket_is_no_pattern(tmp_path: Path) -> None:
    odd = tmp_path / "a[1]"
    odd.mkdir()
    found = settings(odd, "[tool.bnlint.per-file-ignores]\n'tests/*' = ['BN2']\n")
    assert not found.reports(finding("BN201", odd / "tests" / "a.py"))


def test_exclude_replaces_and_extend_exclude_adds(project: Path) -> None:
    assert settings(project, "exclude = ['a']\nextend-exclude = ['b']").exclude == ("a", "b")
    assert settings(project, "exclude = ['a']", {"exclude": ["c"]}).exclude == ("c",)


def test_the_command_line_goes_before_the_file(project: Path) -> None:
    text = "output-format = 'json'\nfail-on = 'error'"
    assert (settings(project, text).output_format, settings(project, text).fail_on) == ("json", "error")
    given = {"output-format": "concise", "fail-on": "info"}
    assert (settings(project, text, given).output_format, settings(project, text, given).fail_on) == (
        "concise",
        "info",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("selct = ['BN2']", 'unknown key "selct", the nearest is "select"'),
        ("fail_on = 'info'", 'unknown key "fail_on", the nearest is "fail-on"'),
        ("tiny_batch = 8", 'unknown key "tiny_batch", the nearest is "tiny-batch"'),
        ("tiny-bach = 8", 'unknown key "tiny-bach", the nearest is "tiny-batch"'),
        ("BN301 = 8", 'unknown key "BN301", the nearest is "tiny-batch"'),
        ("missing-eval = 8", 'unknown key "missing-eval": this rule has no threshold'),
        ("bn101 = 8", 'unknown key "bn101": this rule has no threshold'),
        ("isolated = true", '"isolated" is an option of the command line only, no key'),
        ("write_baseline = true", '"write_baseline" is an option of the command line only, no key'),
        ("tool = {}", 'unknown key "tool": keys stand here without "tool.bnlint."'),
        ("select = ['BN2999']", 'select: unknown rule "BN2999", the nearest is "BN2'),
        ("ignore = ['tiny-bach']", 'ignore: unknown rule "tiny-bach", the nearest is "tiny-batch"'),
        ("ignore = ['']", 'ignore: unknown rule "", the nearest is "'),
        ("ignore = ['E501']", 'ignore: unknown rule "E501", the nearest is "BN'),
        (
            "per-file-ignores = {'a.py' = ['BN99']}",
            'per-file-ignores."a.py": unknown rule "BN99", the nearest is "BN',
        ),
        (
            "per-file-ignores = {'a.py' = 'BN2'}",
            'per-file-ignores."a.py": expected a list of strings, got "BN2"',
        ),
        (
            "per-file-ignores = ['a.py']",
            'per-file-ignores: expected a table of lists of strings, got ["a.py"]',
        ),
        ("select = 'BN2'", 'select: expected a list of strings, got "BN2"'),
        ("select = [2]", "select: expected a list of strings, got [2]"),
        ("exclude = {a = 'b'}", 'exclude: expected a list of strings, got { "a" = "b" }'),
        ("fail-on = 'warnings'", 'fail-on: unknown value "warnings", the nearest is "warning"'),
        ("fail-on = 1", 'fail-on: expected one of "info", "warning", "error", got 1'),
        ("output-format = 'jsn'", 'output-format: unknown value "jsn", the nearest is "json"'),
        ("exit-zero = 1", "exit-zero: expected true or false, got 1"),
        ("baseline = ''", 'baseline: expected a path, got ""'),
        ("output-file = true", "output-file: expected a path, got true"),
        ('output-file = "a\\u0000"', 'output-file: expected a path, got "a\\u0000"'),
        ("tiny-batch = 1", "tiny-batch: expected a whole number from 2 to 4096, got 1"),
        ("tiny-batch = 4097", "tiny-batch: expected a whole number from 2 to 4096, got 4097"),
        ("tiny-batch = 16.0", "tiny-batch: expected a whole number from 2 to 4096, got 16.0"),
        ("tiny-batch = true", "tiny-batch: expected a whole number from 2 to 4096, got true"),
        ("momentum-convention = true", "momentum-convention: expected a number from 0.2 to 1.0, got true"),
        ("momentum-convention = nan", "momentum-convention: expected a number from 0.2 to 1.0, got nan"),
        ("momentum-convention = '1'", 'momentum-convention: expected a number from 0.2 to 1.0, got "1"'),
    ],
)
def test_a_wrong_setting_names_the_line_the_key_and_what_was_expected(
    project: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(project, "quiet = true\n" + text)
    assert str(caught.value).startswith(f"{project}/pyproject.toml:3: [tool.bnlint] {message}")


def test_a_wrong_setting_is_found_also_where_the_command_line_overrides_it(project: Path) -> None:
    with pytest.raises(ConfigError, match="fail-on"):
        settings(project, "fail-on = 'never'", {"fail-on": "info"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"select = [", ": not valid TOML: Invalid value (at end of document)"),
        (b"quiet = true\nselect = error", ":3:10: not valid TOML: Invalid value"),
        (
            b"quiet = true\r\nselect error",
            ":3:8: not valid TOML: Expected '=' after a key in a key/value pair",
        ),
        (b"quiet = \xff", ": not valid TOML: 'utf-8' codec can't decode byte 0xff"),
        (b"select = " + b"[" * 100_000, ": not valid TOML: nested too deeply"),
    ],
)
def test_a_file_that_is_not_toml(project: Path, text: bytes, message: str) -> None:
    (project / "pyproject.toml").write_bytes(b"[tool.bnlint]\n" + text)
    with pytest.raises(ConfigError) as caught:
        load([project], {})
    assert str(caught.value).startswith(f"{project}/pyproject.toml{message}")


@pytest.mark.parametrize("text", ["[tool]\nbnlint = 3", "[[tool.bnlint]]"])
def test_a_table_that_is_none(project: Path, text: str) -> None:
    (project / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"pyproject\.toml:\d: \[tool\.bnlint\]: expected a table$"):
        load([project], {})


def test_the_nearest_file_with_a_table_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "x.py").touch()
    (tmp_path / "pyproject.toml").write_text("[tool.bnlint]\n")
    assert find([inner / "x.py"]) == tmp_path / "pyproject.toml"
    (inner / "pyproject.toml").write_text("[project]\nname = 'uses-bnlint'\n")
    assert find([inner / "x.py"]) == tmp_path / "pyproject.toml"
    (tmp_path / "a" / "pyproject.toml").write_text("[tool]\nbnlint.select = ['BN2']\n")
    assert find([inner / "x.py", tmp_path]) == tmp_path / "a" / "pyproject.toml"
    assert load([inner / "x.py"], {}).codes == BN2


def test_a_broken_file_that_does_not_name_us_is_none_of_our_business(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    assert load([tmp_path], {}).file is None


def test_isolated_takes_no_file(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.bnlint]\nselect = ['BN2']\n")
    assert load([project], {}, isolated=True).codes == EVERY


def test_a_named_file_counts_and_has_to_have_a_table(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.bnlint]\nselect = ['BN2']\n")
    (project / "other.toml").write_text("[tool.bnlint]\nselect = ['BN301']\n")
    (project / "empty.toml").write_text("[tool]\nblack = {}\n")
    assert load([project], {}, config="other.toml").codes == {"BN301"}
    with pytest.raises(ConfigError, match=r"^empty\.toml: has no table \[tool\.bnlint\]$"):
        load([project], {}, config="empty.toml")
    with pytest.raises(ConfigError, match=r"^gone\.toml: no such file"):
        load([project], {}, config="gone.toml")


@pytest.mark.parametrize(("word", "near"), [("selct", "select"), ("FAIL-ON", "fail-on"), ("zzz", "select")])
def test_there_is_always_a_nearest(word: str, near: str) -> None:
    assert nearest(word, ["select", "fail-on"]) == near


def test_a_file_that_cannot_be_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    (project / "pyproject.toml").touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match=r"pyproject\.toml: cannot be read: Permission denied$"):
        load([project], {})
