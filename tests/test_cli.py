"""The command line, on real files: what is printed, and the exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import bnlint
import bnlint.source
from bnlint import rule
from bnlint.cli import app
from bnlint.config import ConfigError
from bnlint.report import FindingsError
from bnlint.rule import all_rules

BAD = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(8, eps=1.0)

    def forward(self, x):
        return self.bn(x).relu()
"""
GOOD = BAD.replace(", eps=1.0", "")
EVERY = all_rules()
PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test runs in an empty folder, without colours that the surroundings ask for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


def write(**files: str | bytes) -> None:
    """Files by their names, with `__` for `/`."""
    for name, content in files.items():
        path = Path(f"{name.replace('__', '/')}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def run(*args: str) -> Result:
    return CliRunner().invoke(app, args, prog_name="bnlint")


def lint(*args: str) -> tuple[list[tuple[str, str, int, int, str]], int]:
    """File, code, row, column and message of each finding, and the exit status; only eps is looked at."""
    result = run("lint", "--select", "BN405", "--output-format", "json", *args)
    found = [
        (
            os.path.relpath(one["filename"]),
            one["code"],
            one["location"]["row"],
            one["location"]["column"],
            one["message"],
        )
        for one in json.loads(result.stdout)
    ]
    return found, result.exit_code


def places(*args: str) -> tuple[list[tuple[str, str]], int]:
    found, status = lint(*args)
    return [(name, code) for name, code, *_ in found], status


def script(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Bnlint as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bnlint", *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


# Exit statuses


def test_findings_exit_1_and_none_exit_0() -> None:
    write(bad=BAD, good=GOOD)
    assert places(".") == ([("bad.py", "BN405")], 1)
    assert places("good.py") == ([], 0)


def test_a_process_exits_as_the_command_does() -> None:
    write(bad=BAD, good=GOOD)
    assert [script("bad.py").returncode, script("good.py").returncode, script("gone.py").returncode] == [
        1,
        0,
        2,
    ]


@pytest.mark.parametrize(("level", "status"), [("info", 1), ("warning", 1), ("error", 0)])
def test_fail_on(level: str, status: int) -> None:
    """`momentum=0.9` is a warning."""
    write(a=BAD.replace("eps=1.0", "momentum=0.9"))
    result = run("a.py", "--select", "BN404", "--fail-on", level)
    assert "BN404 [warning]" in result.stdout
    assert result.exit_code == status


def test_exit_zero_is_about_findings_only() -> None:
    write(bad=BAD)
    assert places("bad.py", "--exit-zero") == ([("bad.py", "BN405")], 0)
    assert places("bad.py", "gone.py", "--exit-zero") == ([("bad.py", "BN405")], 2)


def test_lint_is_the_default_command() -> None:
    write(bad=BAD)
    explicit = run("lint", "--select", "BN405", "bad.py")
    assert explicit.exit_code == 1
    for args in (["--select", "BN405", "bad.py"], ["bad.py", "--select=BN405"]):
        assert run(*args).stdout == explicit.stdout


def test_lint_without_a_path_takes_the_current_folder() -> None:
    write(a__bad=BAD)
    assert places() == ([("a/bad.py", "BN405")], 1)


def test_no_arguments_show_the_help() -> None:
    result = run()
    assert result.exit_code == 0
    assert result.stdout == run("--help").stdout
    assert "Usage: bnlint" in result.stdout


def test_version() -> None:
    assert run("--version").stdout.startswith(f"bnlint {bnlint.__version__} (Python ")


# Bad input


SOURCES: dict[str, tuple[bytes, int, int, str]] = {
    "syntax": (b"x = 1\ny = (\n", 2, 5, f"not valid {PYTHON}: '(' was never closed"),
    "latin": (b"x = 1\ny = '\xe9'\n", 2, 6, "not UTF-8: byte 0xe9 cannot be decoded"),
    "nul": (b"x = 1\n\0\n", 2, 1, "contains a NUL byte"),
    "deep": (b"x = 1\ny = " + b"-" * 20_000 + b"1\n", 2, 1, "nested too deeply to be parsed"),
    "cookie": (b"# coding: nope\nimport torch\n", 1, 1, "unknown encoding: nope"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_unreadable_source_is_one_finding_with_a_position(name: str) -> None:
    data, row, column, message = SOURCES[name]
    # That of a file which has nothing to do with BatchNorm is reported just the same.
    write(**{name: data}, bad=BAD)
    found, status = lint(".")
    assert (f"{name}.py", "BN000", row, column, message) in found
    assert [code for file, code, *_ in found if file == "bad.py"] == ["BN405"]
    assert len(found) == 2
    assert status == 1


def test_source_that_parses_but_is_deeply_nested_never_loses_the_others() -> None:
    chain = "x" + ".a()" * 300 + "\n" + "y = " + "+".join("1" * 900) + "\n"
    write(deep="import torch.nn as nn\nb = nn.BatchNorm2d\n" + chain, bad=BAD)
    found, status = lint(".")
    assert [code for file, code, *_ in found if file == "bad.py"] == ["BN405"]
    assert {code for file, code, *_ in found if file == "deep.py"} <= {"BN000"}
    assert status == 1


def test_an_empty_file_is_fine() -> None:
    write(empty="", blank="\n\n", comment="# nothing", bom=b"\xef\xbb\xbf")
    assert places(".") == ([], 0)


def test_a_coding_cookie_and_a_bom_are_honoured() -> None:
    text = "# coding: latin-1\nname = 'é'\n" + BAD
    write(latin=text.encode("latin-1"), bom=b"\xef\xbb\xbf" + BAD.encode())
    assert places(".") == ([("bom.py", "BN405"), ("latin.py", "BN405")], 1)
    assert "self.bn" in run("--select", "BN405", "latin.py").stdout


def test_a_broken_link_in_a_folder_is_a_finding() -> None:
    write(bad=BAD)
    Path("link.py").symlink_to("nowhere.py")
    found, status = lint(".")
    assert found[1] == ("link.py", "BN000", 1, 1, "broken link to nowhere.py")
    assert status == 1


def test_a_file_that_cannot_be_read_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator may read everything, so the system is asked to refuse."""
    write(bad=BAD, secret=GOOD)
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "secret.py":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    found, status = lint(".")
    assert [one[:2] for one in found] == [("bad.py", "BN405"), ("secret.py", "BN000")]
    assert found[1][4] == "cannot be read: Permission denied"
    assert status == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("gone.py", "bnlint: gone.py: no such file or folder\n"),
        ("link.py", "bnlint: link.py: is a broken link\n"),
        ("bda.py", 'bnlint: bda.py: no such file or folder, the nearest is "bad.py"\n'),
        ("check", 'bnlint: check: no such file or folder (did you mean "bnlint lint"?)\n'),
        ("lnt", 'bnlint: lnt: no such file or folder (did you mean "bnlint lint"?)\n'),
    ],
)
def test_a_wrong_path_is_one_line_and_loses_nothing(path: str, line: str) -> None:
    write(bad=BAD)
    Path("link.py").symlink_to("nowhere")
    result = run("lint", path, "bad.py")
    assert result.stderr == line
    assert "bad.py:7:" in result.stdout
    assert result.exit_code == 2


def test_a_folder_without_python_says_so() -> None:
    result = run(".")
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "",
        "bnlint: no Python files or notebooks found\n",
    )


def test_nothing_of_the_linted_code_runs() -> None:
    write(
        evil="import pathlib\npathlib.Path('ran').touch()\nimport nn\n" + BAD,
        nn="raise SystemExit('imported')\n",
    )
    write(conftest="raise SystemExit('imported')", sitecustomize="raise SystemExit('imported')")
    assert places(".")[1] == 1
    assert not Path("ran").exists()


def test_modules_of_the_project_do_not_stand_in_for_python_s_own() -> None:
    """`python -m` puts the current folder first on the path."""
    trap = "import pathlib\npathlib.Path('ran').touch()\n"
    write(bad=BAD, json=trap, ast=trap, click=trap, tokenize=trap, dataclasses=trap, bnlint__rules=trap)
    result = script("bad.py", "--output-format", "json", "--select", "BN405")
    assert [one["code"] for one in json.loads(result.stdout)] == ["BN405"]
    assert not Path("ran").exists()


def test_bn000_is_reported_whatever_is_selected_and_can_be_turned_off_by_name() -> None:
    write(broken="x = (")
    assert places("--select", "BN3")[0] == [("broken.py", "BN000")]
    assert places("--ignore", "ALL")[0] == [("broken.py", "BN000")]
    assert places("--ignore", "BN000") == ([], 0)
    assert places("--ignore", "unreadable-source") == ([], 0)


# Faults of bnlint itself


def broken_check(_facts: object) -> list[rule.Claim]:
    raise ZeroDivisionError("by design")


def test_a_rule_that_fails_is_named_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = rule.Rule("BN999", "faulty", "error", "S", "Fails.", broken_check)
    monkeypatch.setattr(rule, "all_rules", lambda: (faulty, *EVERY))
    write(bad=BAD)
    result = run("--select", "BN405,BN999", "--output-format", "json", "bad.py")
    fault, other = sorted(json.loads(result.stdout), key=lambda one: str(one["code"]))
    assert (fault["name"], os.path.relpath(fault["filename"])) == ("internal-fault", "bad.py")
    assert "in the rule BN999 faulty: ZeroDivisionError: by design (bnlint/rule.py:" in fault["message"]
    assert other["code"] == "BN405"
    assert result.exit_code == 2
    assert "internal fault" in result.stderr


@pytest.mark.parametrize("problem", [ValueError("by design"), RecursionError("too deep")])
def test_an_engine_that_fails_on_one_file_names_it_and_lints_the_others(
    monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    write(bad=BAD, evil=BAD, other=BAD)
    analyse = bnlint.source.analyse

    def fail(files: tuple[Path, ...], *more: object) -> object:
        if any(file.name == "evil.py" for file in files):
            raise problem
        return analyse(files, *more)

    monkeypatch.setattr("bnlint.pipeline.analyse", fail)
    found, status = lint(".")
    assert [one[:2] for one in found] == [("bad.py", "BN405"), ("evil.py", "BN000"), ("other.py", "BN405")]
    assert (
        f"bnlint failed on this file: {type(problem).__name__}: {problem} (bnlint/pipeline.py:" in found[1][4]
    )
    assert status == 2
    assert lint(".", "--exit-zero")[1] == 2
    assert lint(".", "--ignore", "BN000")[1] == 2


def test_an_engine_that_fails_to_join_files_lints_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    write(a=BAD, b=BAD)
    analyse = bnlint.source.analyse

    def fail(files: tuple[Path, ...], *more: object) -> object:
        if len(files) > 1:
            raise KeyError("by design")
        return analyse(files, *more)

    monkeypatch.setattr("bnlint.pipeline.analyse", fail)
    found, status = lint(".")
    assert [one[:2] for one in found] == [("a.py", "BN000"), ("a.py", "BN405"), ("b.py", "BN405")]
    assert status == 2


# Settings and selections


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--select", "BN2999"], 'Error: setting select: unknown rule "BN2999", the nearest is "BN2'),
        (
            ["--ignore", "tiny-bach"],
            'Error: setting ignore: unknown rule "tiny-bach", the nearest is "tiny-batch"',
        ),
        (["--fail-on", "warn"], 'Error: setting fail-on: unknown value "warn", the nearest is "warning"'),
        (
            ["--output-format", "jsn"],
            'Error: setting output-format: unknown value "jsn", the nearest is "json"',
        ),
        (["--per-file-ignores", "BN2"], 'Error: --per-file-ignores: expected PATTERN:RULES, got "BN2"'),
        (["--config", "gone.toml"], "Error: gone.toml: no such file"),
        (
            ["--config", "pyproject.tml"],
            'Error: pyproject.tml: no such file, the nearest is "pyproject.toml"',
        ),
        (
            ["--output-format", "text"],
            'Error: setting output-format: unknown value "text", it is one of "concise", "full"',
        ),
        (["--slect", "BN2"], "Error: No such option"),
        (["--select", ""], "Error: --select: names no rule"),
        (["--verbose", "--quiet"], "Error: --verbose and --quiet: one of them"),
        (
            ["--output-file", "no/such/folder.txt"],
            "Error: no/such/folder.txt: cannot be written: No such file or directory",
        ),
    ],
)
def test_wrong_use_is_one_clear_line(args: list[str], message: str) -> None:
    write(bad=BAD)
    Path("pyproject.toml").touch()
    result = run("bad.py", *args)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_wrong_setting_in_a_file_exits_2() -> None:
    write(bad=BAD)
    Path("pyproject.toml").write_text("[tool.bnlint]\nselct = []\n")
    result = run("bad.py")
    assert result.exit_code == 2
    assert 'pyproject.toml:2: [tool.bnlint] unknown key "selct", the nearest is "select"' in result.stderr
    assert not result.stdout
    assert run("bad.py", "--isolated").exit_code == 1


def test_settings_of_the_file_count() -> None:
    write(src__bad=BAD, tests__bad=BAD, gen__bad=BAD)
    Path("pyproject.toml").write_text(
        "[tool.bnlint]\nextend-exclude = ['gen']\noutput-format = 'concise'\nselect = ['BN405']\n"
        "[tool.bnlint.per-file-ignores]\n'tests/*' = ['BN405']\n"
    )
    assert re.fullmatch(
        r"src/bad.py:7:\d+: BN405 \[error\] [^\n]*\nFound 1 error in 3? ?.*\n", run(".").stdout
    )


def test_selections_on_the_command_line() -> None:
    write(bad=BAD, tests__bad=BAD)
    assert places("--per-file-ignores", "tests/*:BN301,BN405")[0] == [("bad.py", "BN405")]
    assert places("--per-file-ignores", "tests/*:BN4", "--per-file-ignores", "bad.py:BN405")[0] == []
    assert places("--per-file-ignores", "!tests/*:BN405")[0] == [("tests/bad.py", "BN405")]
    assert places("--exclude", "tests")[0] == [("bad.py", "BN405")]
    assert places("--extend-exclude", "tests,nothing")[0] == [("bad.py", "BN405")]
    assert places("--ignore", "BN4", "--extend-select", "BN405")[0] == [
        ("bad.py", "BN405"),
        ("tests/bad.py", "BN405"),
    ]
    assert places("--ignore", "BN405")[0] == []


@pytest.mark.parametrize(
    "comment", ["noqa", "noqa: E501, BN405", "bnlint: ignore[epsilon-out-of-range] on purpose"]
)
def test_comments_silence(comment: str) -> None:
    write(bad=BAD.replace("eps=1.0)", f"eps=1.0)  # {comment}"))
    assert places(".") == ([], 0)


def test_a_wrong_comment_is_a_note_on_stderr() -> None:
    write(bad=BAD.replace("eps=1.0)", "eps=1.0)  # bnlint: ignore[epsilon]"))
    result = run("bad.py")
    assert result.exit_code == 1
    assert 'bad.py:7: unknown rule "epsilon", the nearest is "epsilon-out-of-range"' in result.stderr
    assert run("bad.py", "--quiet").stderr == ""


def test_files_that_imports_lead_to_are_not_reported() -> None:
    write(a="from bad import Net\n\nnet = Net()\n", bad=BAD)
    assert places("a.py") == ([], 0)


# Output


def test_json_is_valid_and_alone_on_stdout() -> None:
    write(bad=BAD, good=GOOD, broken="x = (")
    for args in (["bad.py"], ["good.py"], ["."], ["bad.py", "gone.py"], ["bad.py", "--verbose"]):
        findings = json.loads(run("--output-format", "json", *args).stdout)
        assert all(os.path.isabs(one["filename"]) for one in findings)
    assert json.loads(run("--output-format", "json", "good.py", "--statistics").stdout) == []


def test_the_summary_is_for_people() -> None:
    write(bad=BAD, good=GOOD)
    assert run("good.py").stdout == "All clear: 1 file checked.\n"
    assert run(".", "--select", "BN405").stdout.endswith("Found 1 error in 2 files.\n")
    assert run("good.py", "--quiet").stdout == ""


def test_statistics() -> None:
    write(a=BAD, b=BAD)
    text = run(".", "--select", "BN405", "--statistics").stdout
    assert text == "2  BN405  [error]  epsilon-out-of-range\nFound 2 errors in 2 files.\n"


def test_verbose_says_what_was_used() -> None:
    write(bad=BAD)
    Path("pyproject.toml").write_text("[tool.bnlint]\n")
    lines = run("bad.py", "--verbose").stderr.splitlines()
    assert lines == [f"bnlint: settings: {Path.cwd() / 'pyproject.toml'}", "bnlint: checked 1 file"]


def test_output_file_is_replaced_at_once_and_keeps_its_colours_to_itself() -> None:
    write(bad=BAD)
    Path("out.json").write_text("old")
    result = run("bad.py", "--output-format", "json", "--output-file", "out.json")
    assert (result.stdout, result.exit_code) == ("", 1)
    assert json.loads(Path("out.json").read_text())[0]["code"] == "BN405"
    run("bad.py", "--output-file", "out.txt")
    assert "\x1b" not in Path("out.txt").read_text()
    assert sorted(path.name for path in Path().iterdir()) == ["bad.py", "out.json", "out.txt"]


def test_output_file_that_cannot_be_written_keeps_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    write(bad=BAD)
    Path("out.txt").write_text("old")

    def refuse(_source: str, _target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    result = run("bad.py", "--output-file", "out.txt")
    assert result.exit_code == 2
    assert Path("out.txt").read_text() == "old"
    assert sorted(path.name for path in Path().iterdir()) == ["bad.py", "out.txt"]


def test_output_file_may_be_a_device() -> None:
    write(bad=BAD)
    assert run("bad.py", "--output-file", os.devnull).exit_code == 1
    assert not os.path.isfile(os.devnull)


@pytest.mark.parametrize(
    ("args", "environment", "colours"),
    [
        ([], {}, False),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--color"], {"NO_COLOR": "1"}, True),
        (["--no-color"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours(
    args: list[str], environment: dict[str, str], *, colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bad=BAD)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = run("bad.py", *args).stdout
    assert ("\x1b[" in text) is colours
    assert click.unstyle(text) == run("bad.py", "--no-color").stdout


def test_a_closed_pipe_is_no_fault() -> None:
    write(**{f"bad{number}": BAD for number in range(200)})
    with subprocess.Popen(
        [sys.executable, "-m", "bnlint", "."], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_a_terminal_that_knows_few_letters_gets_a_report() -> None:
    write(
        bad=BAD.replace("from", 'name = "日本"\nfrom').replace("self.bn =", 'self.name = "日本"; self.bn =')
    )
    result = script("bad.py", PYTHONIOENCODING="latin-1")
    assert (result.returncode, result.stderr) == (1, "")
    assert "\\u65e5" in result.stdout


def test_a_file_name_that_is_not_utf8_is_reported() -> None:
    name = os.fsdecode(b"caf\xe9.py")
    Path(name).write_text(BAD)
    assert script(".").returncode == 1
    assert json.loads(script(".", "--output-format", "json").stdout)[0]["filename"].endswith(name)


# The other commands


def test_rules_lists_every_rule() -> None:
    shown = run("rules").stdout
    listed = json.loads(run("rules", "--output-format", "json").stdout)
    assert [one["code"] for one in listed] == [one.code for one in all_rules()]
    assert set(listed[0]) == {"code", "name", "severity", "engines", "summary"}
    for one in all_rules():
        assert re.search(rf"^{one.code}  {one.name} +{one.severity} +{one.engines} ", shown, re.MULTILINE)


@pytest.mark.parametrize("name", ["BN301", "bn301", "tiny-batch", "Tiny-Batch"])
def test_rule_explains(name: str) -> None:
    shown = run("rule", name)
    assert shown.exit_code == 0
    assert shown.stdout.startswith("BN301 tiny-batch [warning]\n\n")
    for heading in rule.HEADINGS:
        assert f"\n{heading}\n" in shown.stdout


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.code)
def test_rule_fits_into_the_terminal(one: rule.Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    wide = run("rule", one.code).stdout
    assert wide.partition("\n\n")[2].startswith(one.doc.strip())
    monkeypatch.setenv("COLUMNS", "60")
    narrow = run("rule", one.code).stdout
    before = [text.partition("\nNumbers\n")[0] for text in (wide, narrow)]  # cells of tables are wrapped
    assert "".join(before[0].split()) == "".join(before[1].split())
    prose = [line for line in narrow.splitlines() if not line.startswith("    ") and "http" not in line]
    assert max(map(len, prose)) <= 60


def test_rule_explains_bn000() -> None:
    assert "unreadable-source" in run("rule", "BN000").stdout


@pytest.mark.parametrize(("name", "near"), [("BN309", "BN301"), ("tiny-bach", "tiny-batch")])
def test_an_unknown_rule_names_the_nearest(name: str, near: str) -> None:
    result = run("rule", name)
    assert result.exit_code == 2
    assert f'unknown rule "{name}", the nearest is "{near}"' in result.stderr


# The Python interface


def test_bnlint_lint_gives_a_report() -> None:
    write(bad=BAD, good=GOOD)
    found = bnlint.lint(["bad.py", "good.py", "lost.py"], select=["BN405"])
    assert [one.code for one in found] == ["BN405"]
    assert found.skipped == ("lost.py: no such file or folder",)
    assert "Found 1 error in 2 files." in str(found)
    assert not bnlint.lint("good.py", extend_exclude=["x"], isolated=True).findings
    with pytest.raises(ConfigError, match='unknown key "selct", the nearest is "select"'):
        bnlint.lint("bad.py", selct=["BN4"])


def test_a_wrong_path_does_not_pass_for_a_clean_one() -> None:
    write(good=GOOD)
    bnlint.lint("good.py").raise_for_findings()
    with pytest.raises(FindingsError, match="skipped: goo: no such file or folder"):
        bnlint.lint("goo").raise_for_findings()


def test_a_report_shows_the_file_as_it_is_now() -> None:
    write(bad=BAD)
    assert "(8, eps=1.0)" in str(bnlint.lint("bad.py", select=["BN405"]))
    write(bad=BAD.replace("8", "16"))
    assert "(16, eps=1.0)" in str(bnlint.lint("bad.py", select=["BN405"]))
