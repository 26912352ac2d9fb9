"""flake8 with bnlint in it: the real program, on real files."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flake8.api.legacy import get_style_guide
from flake8.main.cli import main
from hypothesis import given
from hypothesis import strategies as st

import bnlint
from bnlint import pipeline
from bnlint.finding import SEVERITIES
from bnlint.plugins.flake8 import encoded
from bnlint.source.read import decode

FIXTURES = Path(__file__).parent.parent / "fixtures"
SHOWN = SEVERITIES[1:]
"""What the default of `fail-on` lets through."""

NET = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(8, eps=1.0)

    def forward(self, x):
        return self.bn(x).relu()
"""
EPSILON = "epsilon-out-of-range: `eps=1` of BatchNorm2d is as large as the variances that it protects; leave it at 1e-5."
LINE = f"net.py:7:41: BN405 {EPSILON}"


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(**files: str) -> None:
    for name, content in files.items():
        Path(f"{name}.py").write_text(content, encoding="utf-8")


def settings(text: str) -> None:
    Path("pyproject.toml").write_text(f"[tool.bnlint]\n{text}\n", encoding="utf-8")


def flake8(*args: str, stdin: str | None = None) -> tuple[list[str], int]:
    """What flake8 prints, and its exit status; only bnlint is selected unless something else is."""
    chosen = () if any("select" in arg for arg in args) else ("--select=BN",)
    done = subprocess.run(
        [sys.executable, "-m", "flake8", "--isolated", *chosen, *args],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert not done.stderr
    return done.stdout.splitlines(), done.returncode


def test_findings_are_lines_of_flake8() -> None:
    write(net=NET, good=NET.replace(", eps=1.0", ""))
    assert flake8("net.py", "good.py") == ([LINE], 1)
    assert flake8("good.py") == ([], 0)
    assert flake8() == ([f"./{LINE}"], 1)


def test_flake8_names_bnlint_among_its_plugins() -> None:
    lines, status = flake8("--version")
    assert f"bnlint: {bnlint.__version__}" in lines[0]
    assert status == 0


def test_it_is_on_where_nothing_is_selected() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flake8", "--isolated", "-"],
        input=NET,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"stdin:7:41: BN405 {EPSILON}\n"


@pytest.mark.parametrize(
    ("args", "codes"),
    [
        (["--select=BN4"], ["BN404", "BN405"]),
        (["--select=BN404"], ["BN404"]),
        (["--select=BN", "--extend-ignore=BN404"], ["BN405"]),
        (["--select=E"], []),
        (["--select=E", "--extend-select=BN405"], ["BN405"]),
        (["--select=BN", "--per-file-ignores=net.py:BN405"], ["BN404"]),
    ],
)
def test_flake8_selects(args, codes) -> None:
    write(net=NET.replace("eps=1.0", "eps=1.0, momentum=0.9"))
    assert sorted(line.split()[1] for line in flake8(*args, "net.py")[0]) == codes


@pytest.mark.parametrize(
    ("comment", "silent"),
    [
        ("# noqa: BN405", True),
        ("# noqa:E501,BN405", True),
        ("# noqa", True),
        ("# bnlint: ignore[epsilon-out-of-range] it is meant", True),
        ("# noqa: BN404", False),
        ("# noqa: E501", False),
        ("# bnlint: ignore[BN404]", False),
    ],
)
def test_comments_silence(comment, silent) -> None:
    write(net=NET.replace("eps=1.0)", f"eps=1.0)  {comment}"))
    assert flake8("net.py") == (([], 0) if silent else ([LINE], 1))


@pytest.mark.parametrize("name", ["stdin", "net.py", "models/net.py"])
def test_standard_input_is_what_is_looked_at(name) -> None:
    write(net="x = 1\n")
    lines, _ = flake8("--stdin-display-name", name, "-", stdin=NET)
    assert lines == [f"{name}:7:41: BN405 {EPSILON}"]
    assert flake8("--stdin-display-name", name, "-", stdin="x = 1\n") == ([], 0)


def test_imports_are_followed_and_each_file_speaks_for_itself() -> None:
    """What is wrong in `net.py` is said once, though `evaluate.py` imports it."""
    write(
        net=NET,
        evaluate="""\
import torch
from net import Net

def test(loader):
    model = Net()
    correct = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += (model(images).argmax(1) == labels).sum().item()
    return correct
""",
    )
    lines, _ = flake8("--jobs=2", ".")
    assert [line.split(" ")[:2] for line in lines] == [
        ["./evaluate.py:9:25:", "BN101"],
        ["./net.py:7:41:", "BN405"],
    ]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_it_shows_what_bnlint_finds(jobs, monkeypatch, tmp_path) -> None:
    """In the same paths: among the fixtures are folders in which files are joined.

    A copy of them is linted: a run that takes its time keeps what it found beside its files.
    """
    folders = ["bn101_missing_eval", "bn203_bias_before_batchnorm", "bn405_epsilon_out_of_range"]
    for folder in folders:
        shutil.copytree(FIXTURES / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    expected = {
        (one.where.filename, one.where.row, one.where.column, one.code, f"{one.name}: {one.message}")
        for one in bnlint.lint(folders)
        if one.severity in SHOWN
    }
    lines, _ = flake8("--jobs", jobs, "--format=%(path)s|%(row)d|%(col)d|%(code)s|%(text)s", *folders)
    found = [line.split("|", 4) for line in lines]
    assert {
        (os.path.abspath(path), int(row), int(column), code, text) for path, row, column, code, text in found
    } == expected
    assert len(found) == len(expected) > 10


def test_columns_count_characters_in_any_encoding() -> None:
    source = NET.replace("self.bn =", "self.ü = 'é'; self.bn =").replace("from", "# coding: latin-1\nfrom", 1)
    Path("net.py").write_bytes(source.encode("latin-1"))
    column = source.splitlines()[7].index("1.0") + 1
    assert flake8("net.py")[0] == [f"net.py:8:{column}: BN405 {EPSILON}"]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ('ignore = ["BN405"]', ["BN404"]),
        ('select = ["momentum-convention"]', ["BN404"]),
        ('fail-on = "error"', ["BN405"]),
        ('fail-on = "info"', ["BN203", "BN404", "BN405"]),
        ('per-file-ignores = { "net.py" = ["BN4"] }', []),
        ('extend-exclude = ["net.py"]', []),
        ('exclude = ["data/*"]', ["BN404", "BN405"]),
        ("exit-zero = true", ["BN404", "BN405"]),
    ],
)
def test_the_settings_of_the_project_count(text, codes) -> None:
    settings(text)
    layers = "nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, eps=1.0, momentum=0.9), nn.ReLU(), nn.Conv2d(8, 1, 1))"
    write(net=f"from torch import nn\n\nlayers = {layers}\n")
    assert sorted(line.split()[1] for line in flake8(".")[0]) == codes


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_wrong_settings_end_flake8_with_a_message(project, jobs) -> None:
    settings('select = ["BN999"]')
    write(net=NET, other=NET)
    lines, status = flake8("--jobs", jobs, "net.py", "other.py")
    assert lines[0] == "There was a critical error during execution of Flake8:"
    assert lines[1].startswith(f"bnlint: {project}/pyproject.toml")
    assert 'unknown rule "BN999"' in lines[1]
    assert (len(lines), status) == (2, 1)


def test_a_syntax_error_is_said_by_flake8_alone() -> None:
    write(net=NET + "def f(:\n")
    lines, _ = flake8("--select=E9,BN", "net.py")
    assert [line.split()[1] for line in lines] == ["E999"]


def test_a_broken_import_is_no_business_of_who_imports_it() -> None:
    write(broken="def f(:\n", net=NET.replace("from torch", "import broken\nfrom torch"))
    lines, _ = flake8("net.py")
    assert [line.split()[:2] for line in lines] == [["net.py:8:41:", "BN405"]]


def test_notebooks_are_left_to_bnlint() -> None:
    """A notebook is JSON, much of which is a Python expression: flake8 gives its rows, not those of cells."""
    Path("net.ipynb").write_text('{"cells": [], "metadata": {}}\n', encoding="utf-8")
    assert flake8("net.ipynb") == ([], 0)


def test_a_baseline_hides_what_it_knows_and_a_wrong_one_ends_flake8(project) -> None:
    settings('baseline = "known.json"')
    write(net=NET)
    done = subprocess.run(
        [sys.executable, "-m", "bnlint", "--write-baseline", "--select=BN405", "."],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert flake8("net.py") == ([], 0)
    write(
        net=NET.replace(
            "        self.bn", "        self.last = nn.BatchNorm2d(8, momentum=0.9)\n        self.bn"
        )
    )
    assert [line.split()[1] for line in flake8("net.py")[0]] == ["BN404"]
    project.joinpath("known.json").write_text("[")
    lines, status = flake8("net.py")
    assert lines[1].startswith(f"bnlint: {project}/known.json:1:2: not valid JSON")
    assert status == 1


def test_a_fault_of_bnlint_is_a_finding_and_flake8_goes_on(monkeypatch, capsys) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of\nours")

    monkeypatch.setattr(pipeline, "run", fail)
    write(net=NET, other="import os\n")
    assert main(["--isolated", "--jobs=1", "net.py", "other.py"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["net.py:1:1:", "BN000", "internal-fault:"],
        ["other.py:1:1:", "BN000", "internal-fault:"],
        ["other.py:1:1:", "F401", "'os'"],
    ]
    assert "RuntimeError: of" in lines[0]


@pytest.fixture
def runs(project, monkeypatch):
    """How often the engine runs, in whichever process."""
    log = project / "runs.log"
    run = pipeline.run

    def logged(paths, *args):
        with log.open("a") as stream:
            stream.write(f"{' '.join(paths)}\n")
        return run(paths, *args)

    monkeypatch.setattr(pipeline, "run", logged)
    return lambda: log.read_text().splitlines() if log.exists() else []


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="each process begins anew")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_project_is_linted_once_for_all_processes(jobs, runs, capsys) -> None:
    write(**{f"net_{number}": NET for number in range(20)})
    assert main(["--isolated", "--select=BN", "--jobs", jobs, "."]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 20
    assert runs() == ["."]


def test_nothing_is_linted_where_nothing_of_it_is_selected(runs) -> None:
    write(net=NET)
    assert main(["--isolated", "--select=E,F", "net.py"]) == 0
    assert runs() == []


def test_python_programs_name_their_paths_later(capsys) -> None:
    write(net=NET, good="x = 1\n")
    guide = get_style_guide(select=["BN"])
    assert [guide.check_files(paths).total_errors for paths in (["good.py"], ["net.py"], ["."])] == [0, 1, 1]
    assert capsys.readouterr().out == f"{LINE}\n./{LINE}\n"


def test_loading_the_plugin_loads_no_engine() -> None:
    program = "import sys, bnlint.plugins.flake8; print(sorted(n for n in sys.modules if n.startswith(('bnlint', 'click'))))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['bnlint', 'bnlint.plugins', 'bnlint.plugins.flake8']\n"


cookies = st.sampled_from(
    ["", "# coding: latin-1\n", "# -*- coding: utf-8 -*-\n", "\n# vim: fileencoding=cp1252\n"]
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeff"))


@given(cookies, texts)
def test_encoded_text_that_declares_its_encoding_is_read_as_it_was(cookie, text) -> None:
    """Where the declared encoding cannot hold the text, flake8 has not read the file by it either."""
    source = cookie + text
    data = encoded(source.splitlines(keepends=True))
    try:
        source.encode(
            {"": "utf-8", "# -*- coding: utf-8 -*-\n": "utf-8", "# coding: latin-1\n": "latin-1"}.get(
                cookie, "cp1252"
            )
        )
    except UnicodeEncodeError:
        assert data == source.encode()
    else:
        assert "\n".join(decode(data)) == source
