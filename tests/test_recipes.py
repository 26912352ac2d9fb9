"""The recipes of the README are valid for who reads them, and do what is said of them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from recipes import ADDRESS, TAG, recipe, recipes, section

from bnlint import report

BAD = "from torch import nn\n\nbn = nn.BatchNorm2d(8, eps=1.0)\n"
GOOD = BAD.replace(", eps=1.0", "")
EXAMPLE = "git+https://example.org/bnlint@v1"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with a finding, in which the programs of this environment are found first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    for name in ("FORCE_COLOR", "NO_COLOR", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    tmp_path.joinpath("src").mkdir()
    tmp_path.joinpath("src/net.py").write_text(BAD)
    return tmp_path


def run(command: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell, as CI runs it."""
    return subprocess.run(["bash", "-e", "-c", command], capture_output=True, encoding="utf-8", check=False)


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")


def filled(name: str) -> str:
    return recipe(name, "https://example.org/bnlint", "v1")


def validate(schema: str, file: str) -> None:
    """Hold a file to a schema that check-jsonschema brings along."""
    done = run(f"check-jsonschema --builtin-schema {schema} {file}")
    assert done.returncode == 0, done.stdout


def test_each_recipe_is_here() -> None:
    assert set(recipes()) == {"github", "gitlab", "pre-commit", "tox", "nox", "flake8", "pytest", "vscode"}
    assert section().count("```") == 2 * len(recipes()), "each block has a name, or it is not tested"


def test_what_has_to_be_filled_in_is_said() -> None:
    installing = {"github", "gitlab", "pre-commit", "tox", "nox"}
    assert {name for name, text in recipes().items() if ADDRESS in text} == installing
    assert {name for name, text in recipes().items() if TAG in text} == installing
    for blank in (ADDRESS, TAG):
        assert f"`{blank}`" in section()


def test_each_command_that_is_named_is_right() -> None:
    """The whole section, also what stands between the recipes."""
    commands = re.findall(r"\bbnlint (?:--|\.)[^`\n\",]*", section())
    assert len(commands) == 5
    for command in commands:
        done = run(command)
        assert (done.returncode, done.stderr) == (1, ""), command
    write("src/net.py", GOOD)
    for command in commands:
        assert run(command).returncode == 0, command


# CI


def test_github_uploads_what_bnlint_writes() -> None:
    write(".github/workflows/bnlint.yml", filled("github"))
    validate("vendor.github-workflows", ".github/workflows/bnlint.yml")
    workflow = yaml.safe_load(filled("github"))
    install, lint, upload = workflow["jobs"]["bnlint"]["steps"][-3:]
    assert shlex.split(install["run"]) == ["pip", "install", EXAMPLE]
    assert run(lint["run"]).returncode == 1
    (result,) = json.loads(Path(upload["with"]["sarif_file"]).read_text(encoding="utf-8"))["runs"][0][
        "results"
    ]
    assert (result["ruleId"], result["level"]) == ("BN405", "error")
    assert f"hashFiles('{upload['with']['sarif_file']}')" in upload["if"]
    assert "!cancelled()" in upload["if"], "a step after one that failed is passed over"
    assert workflow["permissions"]["security-events"] == "write"


def test_a_wrong_setting_leaves_nothing_to_upload() -> None:
    """The job fails by bnlint's message, not by that of the upload."""
    write("pyproject.toml", '[tool.bnlint]\nselect = ["BN999"]\n')
    lint, upload = yaml.safe_load(filled("github"))["jobs"]["bnlint"]["steps"][-2:]
    assert run(lint["run"]).returncode == 2
    assert not os.path.exists(upload["with"]["sarif_file"])


def test_gitlab_shows_what_bnlint_writes() -> None:
    write(".gitlab-ci.yml", filled("gitlab"))
    validate("vendor.gitlab-ci", ".gitlab-ci.yml")
    job = yaml.safe_load(filled("gitlab"))["bnlint"]
    install, lint = job["script"]
    assert shlex.split(install) == ["pip", "install", EXAMPLE]
    assert run(lint).returncode == 1
    (issue,) = json.loads(Path(job["artifacts"]["reports"]["codequality"]).read_text(encoding="utf-8"))
    assert (issue["check_name"], issue["location"]["path"]) == ("BN405", "src/net.py")
    assert job["artifacts"]["when"] == "always", "a job that failed leaves its report as well"


# Programs that run bnlint: `test_pre_commit.py` has the one that is missing here


def test_tox() -> None:
    """Without installing what stands there: bnlint is taken from this environment."""
    write("tox.ini", filled("tox"))
    done = run("tox run -e bnlint -x testenv:bnlint.deps= -x testenv:bnlint.allowlist_externals=bnlint")
    assert done.returncode == 1
    assert "src/net.py:3:28: BN405" in done.stdout
    asked = run("tox config -e bnlint -k deps skip_install").stdout
    assert f"deps = bnlint @ {EXAMPLE}\nskip_install = True\n" in asked


def test_nox() -> None:
    """Without installing what stands there: bnlint is taken from this environment."""
    write("noxfile.py", filled("nox"))
    done = run("nox --no-venv --no-install")
    assert done.returncode == 1
    assert "src/net.py:3:28: BN405" in done.stdout + done.stderr


def test_flake8_selects_bnlint_as_well() -> None:
    write(".flake8", filled("flake8"))
    done = run("flake8")
    assert done.returncode == 1
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["./src/net.py:3:28:", "BN405"]]
    write(".flake8", filled("flake8").replace("extend-select = BN", ""))
    assert run("flake8").stdout == ""


def test_pytest_lints() -> None:
    write("pyproject.toml", filled("pytest"))
    write("tests/test_net.py", "def test_net():\n    pass\n")
    done = run("python -m pytest -p no:cacheprovider")
    assert done.returncode == 1
    assert "FAILED src/net.py::BN405:3:28" in done.stdout
    assert "1 failed, 2 passed" in done.stdout


# Editors


def test_visual_studio_code_reads_each_line() -> None:
    (task,) = json.loads(filled("vscode"))["tasks"]
    pattern = task["problemMatcher"]["pattern"]
    done = run(f"FORCE_COLOR=1 {task['command']}")
    finding, closing = done.stdout.splitlines()
    found = re.match(pattern["regexp"], finding)
    assert {key: found[group] for key, group in pattern.items() if key not in {"regexp", "message"}} == {
        "file": "src/net.py",
        "line": "3",
        "column": "28",
        "code": "BN405",
        "severity": "error",
    }
    assert found[pattern["message"]].startswith("epsilon-out-of-range: `eps=1` of BatchNorm2d ")
    assert not re.match(pattern["regexp"], closing)


def test_each_format_that_ci_is_told_of_exists() -> None:
    named = set(re.findall(r"--output-format (\w+)", section()))
    assert named == {"sarif", "github", "gitlab", "concise"} <= set(report.formats())
