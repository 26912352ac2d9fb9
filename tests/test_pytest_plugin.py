"""`pytest --bnlint`, run by pytest itself on small projects."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bnlint import pipeline

pytest_plugins = ["pytester"]

NET = """\
def net():
    from torch import nn

    return nn.BatchNorm2d(8, eps=1.0), nn.BatchNorm2d(8, momentum=0.9)
"""
TESTS = NET + "\n\ndef test_python():\n    pass\n"


@pytest.fixture
def project(pytester, monkeypatch):
    """A project with findings in a module, in a module of tests, and one without."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest")  # it takes its time
    pytester.makepyfile(net=NET, test_net=TESTS, good="x = 1\n")
    return pytester


def ids(result: pytest.RunResult) -> list[str]:
    """The node ids that `--collect-only -q` shows."""
    return [line for line in result.outlines if "::" in line]


def collected(project: pytest.Pytester, *args: str) -> list[str]:
    return ids(project.runpytest("--collect-only", "-q", *args))


def settings(project: pytest.Pytester, text: str) -> None:
    project.makepyprojecttoml(f"[tool.bnlint]\n{text}\n")


# What is collected


def test_nothing_of_it_without_the_option(project) -> None:
    assert collected(project) == ["test_net.py::test_python"]


def test_pytest_finds_the_plugin_and_loads_no_engine_with_it(project) -> None:
    project.makeconftest(
        "import sys\n"
        "def pytest_sessionfinish():\n"
        "    print('LOADED', sorted(n for n in sys.modules if n.startswith(('bnlint', 'click'))))\n"
    )
    result = project.runpytest_subprocess("-s")
    result.stdout.fnmatch_lines(["*LOADED [[]'bnlint', 'bnlint.plugins', 'bnlint.plugins.pytest']"])
    result.assert_outcomes(passed=1)


def test_each_finding_is_a_test_beside_those_of_python(project) -> None:
    assert collected(project, "--bnlint") == [
        "good.py::bnlint",
        "net.py::BN405:4:34",
        "net.py::BN404:4:67",
        "test_net.py::BN405:4:34",
        "test_net.py::BN404:4:67",
        "test_net.py::test_python",
    ]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["good.py"], ["good.py::bnlint"]),
        (["net.py::BN404:4:67"], ["net.py::BN404:4:67"]),
        (["test_net.py::test_python"], ["test_net.py::test_python"]),
        (["-m", "not bnlint"], ["test_net.py::test_python"]),
        (
            ["-m", "bnlint", "net.py", "test_net.py", "-k", "BN404"],
            ["net.py::BN404:4:67", "test_net.py::BN404:4:67"],
        ),
        (["-k", "epsilon-out-of-range", "net.py"], ["net.py::BN405:4:34"]),
        (
            ["--ignore=net.py", "--deselect=test_net.py::BN405:4:34"],
            ["good.py::bnlint", "test_net.py::BN404:4:67", "test_net.py::test_python"],
        ),
    ],
)
def test_pytest_chooses(project, args, expected) -> None:
    assert collected(project, "--bnlint", "--strict-markers", *args) == expected


def test_folders_that_pytest_or_bnlint_passes_over(project) -> None:
    for folder in ("build", "third_party", "pkg", "data"):
        project.mkdir(folder).joinpath("net.py").write_text(NET)
    project.makepyprojecttoml(
        '[tool.bnlint]\nextend-exclude = ["third_party"]\nselect = ["BN405"]\n'
        '[tool.pytest.ini_options]\nnorecursedirs = ["data"]\naddopts = "--bnlint"\n'
    )
    assert sorted(collected(project, "-m", "bnlint")) == [
        "good.py::bnlint",
        "net.py::BN405:4:34",
        "pkg/net.py::BN405:4:34",
        "test_net.py::BN405:4:34",
    ]


def test_paths_restrict_what_is_linted(project) -> None:
    package = project.mkpydir("pkg")
    package.joinpath("net.py").write_text(NET)
    expected = ["pkg/__init__.py::bnlint", "pkg/net.py::BN405:4:34", "pkg/net.py::BN404:4:67"]
    assert collected(project, "--bnlint", "pkg") == expected
    assert collected(project, "--bnlint", "--pyargs", "pkg") == expected


def test_a_module_and_its_caller_are_seen_together(project) -> None:
    """The finding stands where the model is called, and the other file says what the model is."""
    project.makepyfile(
        model="from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))\n",
        main="""\
import torch
from model import build


def evaluate(loader):
    net, right = build(), 0
    with torch.no_grad():
        for images, labels in loader:
            right += (net(images).argmax(1) == labels).sum().item()
    return right
""",
    )
    assert collected(project, "--bnlint", "-k", "main or model") == [
        "main.py::BN101:9:23",
        "model.py::BN203:5:26",
    ]


def test_the_project_is_linted_once(project, monkeypatch) -> None:
    calls = []
    run = pipeline.run
    monkeypatch.setattr(pipeline, "run", lambda *args: calls.append(args) or run(*args))
    project.runpytest_inprocess("--bnlint", ".")
    assert [paths for paths, _ in calls] == [[os.path.join(project.path, ".")]]


def test_nothing_is_linted_where_nothing_is_collected(project, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "run", lambda *_: pytest.fail("linted"))
    assert project.runpytest_inprocess("--bnlint", "--fixtures").ret == 0


# What is said


def test_a_finding_fails_with_its_report_and_no_traceback(project) -> None:
    result = project.runpytest("--bnlint", "--strict-markers", "net.py", "good.py")
    result.assert_outcomes(failed=2, passed=1)
    assert result.ret == 1
    text = "\n".join(line.rstrip() for line in result.outlines)
    assert (
        """\
net.py:4:34: BN405 [error] epsilon-out-of-range:
  `eps=1` of BatchNorm2d is as large as the variances that it protects; leave it at 1e-5.
  4 |     return nn.BatchNorm2d(8, eps=1.0), nn.BatchNorm2d(8, momentum=0.9)
    |                                  ^^^
  help: bnlint rule BN405
____"""
        in text
    )
    assert "_ BN405:4:34 epsilon-out-of-range _" in text
    assert "Traceback" not in text
    assert "FAILED net.py::BN405:4:34 - Failed: net.py:4:34: BN405 [error] epsilon-out-of-range:" in text


def test_paths_are_those_of_the_folder_that_pytest_was_started_in(project, monkeypatch) -> None:
    monkeypatch.chdir(project.mkdir("elsewhere"))
    result = project.runpytest("--bnlint", "../net.py")
    result.stdout.fnmatch_lines([f"{project.path}/net.py:4:34: BN405 [[]error] *"])


@pytest.mark.parametrize("text", ['fail-on = "error"', "exit-zero = true"])
def test_what_does_not_fail_is_a_warning(project, text) -> None:
    settings(project, text + '\nselect = ["BN404"]')
    result = project.runpytest("--bnlint", "net.py")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "net.py::BN404:4:67",
            "*net.py:4: FindingWarning: BN404:4:67 momentum-convention: `momentum=0.9` of *",
        ]
    )


def test_warnings_can_be_errors_and_ours_excepted(project) -> None:
    settings(project, 'fail-on = "error"\nselect = ["BN404"]')
    project.runpytest("--bnlint", "-Werror", "net.py").assert_outcomes(failed=1)
    ours = "ignore::bnlint.plugins.pytest.FindingWarning"
    project.runpytest("--bnlint", "-Werror", "-W", ours, "net.py").assert_outcomes(passed=1)


def test_comments_and_settings_count(project) -> None:
    settings(project, 'ignore = ["BN404"]')
    project.makepyfile(net=NET.rstrip() + "  # noqa: BN405\n")
    assert collected(project, "--bnlint", "net.py") == ["net.py::bnlint"]


def test_wrong_settings_end_pytest_with_one_line(project) -> None:
    settings(project, 'select = ["BN999"]')
    result = project.runpytest("--bnlint")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = filter(None, result.errlines)
    assert line.startswith(f"ERROR: bnlint: {project.path}/pyproject.toml")
    assert 'unknown rule "BN999"' in line
    assert project.runpytest().ret == 0, "settings are read only where they are asked for"


def test_a_baseline_that_is_none_ends_pytest_with_one_line(project) -> None:
    settings(project, 'baseline = "known.json"')
    project.path.joinpath("known.json").write_text("[")
    result = project.runpytest("--bnlint")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = filter(None, result.errlines)
    assert line.startswith(f"ERROR: bnlint: {project.path}/known.json:1:2: not valid JSON")


def test_a_file_that_cannot_be_read_is_a_finding(project) -> None:
    project.makepyfile(broken="def f(:\n")
    result = project.runpytest("--bnlint", "-k", "broken")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["broken.py:1:7: BN000 [[]error] unreadable-source:"])


def test_the_failed_ones_can_be_run_again(project) -> None:
    project.runpytest("--bnlint")
    result = project.runpytest("--bnlint", "--last-failed")
    result.assert_outcomes(failed=4)


def test_the_marker_is_registered(project) -> None:
    project.runpytest("--markers").stdout.fnmatch_lines(["@pytest.mark.bnlint: what bnlint says of a file"])


def test_a_junit_report_holds_the_findings(project) -> None:
    project.runpytest("--bnlint", "net.py", "--junit-xml=report.xml")
    report = project.path.joinpath("report.xml").read_text(encoding="utf-8")
    assert 'classname="net" name="BN405:4:34"' in report
    assert "as large as the variances that it protects" in report


# Notebooks


def notebook(project: pytest.Pytester, *cells: str, language: str = "python") -> None:
    book = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "k", "display_name": "k", "language": language}},
        "cells": [
            {
                "cell_type": "code",
                "id": f"c{number}",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": cell,
            }
            for number, cell in enumerate(cells)
        ],
    }
    project.path.joinpath("train.ipynb").write_text(json.dumps(book), encoding="utf-8")


def test_findings_in_notebooks_are_named_by_their_cell(project) -> None:
    notebook(project, "from torch import nn\n", "x = 1\n", "y = 2\nbn = nn.BatchNorm2d(8, eps=1.0)\n")
    assert collected(project, "--bnlint", "train.ipynb") == ["train.ipynb::BN405:cell 3:2:28"]
    result = project.runpytest("--bnlint", "train.ipynb::BN405:cell 3:2:28")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["train.ipynb:cell 3:2:28: BN405 [[]error] *", "  2 | bn = nn.BatchNorm2d(8, eps=1.0)"]
    )


def test_what_does_not_fail_in_a_notebook_is_a_warning(project) -> None:
    settings(project, 'fail-on = "error"')
    notebook(project, "from torch import nn\n", "bn = nn.BatchNorm2d(8, momentum=0.9)\n")
    result = project.runpytest("--bnlint", "train.ipynb")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*train.ipynb:1: FindingWarning: BN404:cell 2:1:33 momentum-convention: *"])


def test_notebooks_without_findings_pass_and_those_of_other_languages_are_skipped(project) -> None:
    notebook(project, "x = 1\n")
    project.runpytest("--bnlint", "train.ipynb").assert_outcomes(passed=1)
    notebook(project, "x <- 1\n", language="R")
    result = project.runpytest("--bnlint", "train.ipynb", "-rs")
    result.assert_outcomes(skipped=1)


def test_without_pytest_bnlint_still_lints() -> None:
    """The plugin is the only part that needs pytest."""
    program = "import sys; sys.modules['pytest'] = None; import bnlint; print(bnlint.lint([]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "All clear: 0 files checked.\n")
