"""What a run brings into memory: never torch or libcst, and for `--version` hardly more than click."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "libcst", "numpy", "asyncio"}
PROBE = """
import sys
sys.argv = ["bnlint", *sys.argv[1:]]
from bnlint.cli import app
try:
    app(prog_name="bnlint")
except SystemExit:
    pass
print(*sys.modules, sep="\\n", file=sys.stderr)
"""
SOURCE = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(8, eps=1.0)

    def forward(self, x):
        return self.bn(x)
"""


def modules(code: str, *args: str, cwd: Path) -> set[str]:
    """The modules in memory when a process ends, in which `torch` and `libcst` could be imported."""
    command = [sys.executable, "-c", code, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["lint", "--help"],
        ["rules"],
        ["rule", "BN301"],
        ["conforms", "--help"],
        ["model", "--help"],
        ["rule", "BN101"],
        ["net.py"],
        ["lint", "."],
    ],
)
def test_no_run_imports_torch_or_libcst(args: list[str], tmp_path: Path) -> None:
    """Traps by these names stand first on the path: the test means something where neither is installed."""
    (tmp_path / "net.py").write_text(SOURCE)
    for name in ("torch", "libcst"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('{name} was imported')\n")
    loaded = modules(PROBE, *args, cwd=tmp_path)
    assert "bnlint.cli" in loaded
    assert not loaded & HEAVY


def test_the_probe_sees_what_is_imported(tmp_path: Path) -> None:
    assert "asyncio" in modules("import asyncio\n" + PROBE, "--version", cwd=tmp_path)


def test_version_brings_little_more_than_click(tmp_path: Path) -> None:
    click = modules("import sys, click\nprint(*sys.modules, sep='\\n', file=sys.stderr)", cwd=tmp_path)
    more = modules(PROBE, "--version", cwd=tmp_path) - click
    assert {name for name in more if name.startswith("bnlint")} == {
        "bnlint",
        "bnlint.cli",
        "bnlint.versions",
    }
    assert len(more) <= 6


def test_importing_the_package_is_instant(tmp_path: Path) -> None:
    show = "import sys\nbefore = set(sys.modules)\nimport bnlint\n"
    loaded = modules(show + "print(*set(sys.modules) - before, file=sys.stderr)", cwd=tmp_path)
    assert loaded <= {"bnlint", "__future__"}


def test_what_needs_torch_says_so_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('there is none')\n")
    (tmp_path / "mine.py").write_text("import torch\n")
    command = [sys.executable, "-m", "bnlint", "conforms", "mine:Norm"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'Error: conforms needs torch: pip install "bnlint[torch]"\n'
