"""The hook, as pre-commit itself installs it from a git repository of this working tree and runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recipes import recipe

ROOT = Path(__file__).parent.parent
PARTS = ("bnlint", "pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml")
"""What an installation needs of this repository."""

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

BAD = "from torch import nn\n\nbn = nn.BatchNorm2d(8, eps=1.0)\n"
GOOD = BAD.replace(", eps=1.0", "")
BOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
            "source": BAD,
        },
    ],
}


class Repository:
    """A folder under git's control, with an identity and without the settings of who runs the tests."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        folder.mkdir()
        people = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", "T"), ("EMAIL", "t@example.org"))
        }
        plain = {
            key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "PRE_COMMIT"))
        }
        config = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        self.environment = {
            **plain,
            **config,
            **people,
            "PRE_COMMIT_HOME": str(cache),
            "PRE_COMMIT_COLOR": "never",
        }
        self.git("init", "--quiet", "--initial-branch=main")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )

    def git(self, *args: str) -> str:
        done = self.run("git", *args)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def write(self, **files: str) -> None:
        for name, content in files.items():
            path = self.folder / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")

    def pre_commit(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "pre_commit", *args)


@pytest.fixture(scope="module")
def bnlint(tmp_path_factory):
    """This working tree as a repository of its own."""
    folder = tmp_path_factory.mktemp("pre-commit")
    repository = Repository(folder / "bnlint", folder / "cache")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(
                ROOT / part, repository.folder / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / part, repository.folder / part)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "all")
    repository.git("tag", "v0.1")
    return repository


@pytest.fixture
def project(bnlint, tmp_path):
    """A project with the README's settings of pre-commit. The first one installs bnlint, as they ask for it."""
    project = Repository(tmp_path / "project", bnlint.folder.parent / "cache")
    settings = recipe("pre-commit", str(bnlint.folder), "v0.1")
    (project.folder / ".pre-commit-config.yaml").write_text(settings, encoding="utf-8")
    (project.folder / "pyproject.toml").write_text(
        '[tool.bnlint]\nextend-exclude = ["third_party"]\n', encoding="utf-8"
    )
    project.git("add", "--all")
    done = project.pre_commit("install", "--install-hooks")
    assert done.returncode == 0, done.stdout
    return project


def test_the_manifest_is_valid() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-manifest", ROOT / ".pre-commit-hooks.yaml"],
        check=False,
    )
    assert done.returncode == 0


def test_a_commit_is_refused_until_it_is_good(project) -> None:
    project.write(train=BAD)
    project.git("add", "train.py")
    done = project.run("git", "commit", "--message", "bad")
    assert done.returncode == 1
    assert "train.py:3:28: BN405 [error] epsilon-out-of-range:" in done.stdout
    project.write(train=GOOD)
    project.git("add", "train.py")
    done = project.run("git", "commit", "--message", "good")
    assert done.returncode == 0
    assert re.search(r"^bnlint\.+Passed$", done.stdout, re.MULTILINE)


def test_all_files_but_the_excluded_ones_notebooks_too(project) -> None:
    project.write(train=GOOD, third_party__net=BAD)
    project.git("add", "--all")
    done = project.pre_commit("run", "--all-files")
    assert done.returncode == 0, done.stdout
    (project.folder / "train.ipynb").write_text(json.dumps(BOOK), encoding="utf-8")
    project.git("add", "--all")
    done = project.pre_commit("run", "--all-files")
    assert done.returncode == 1
    assert "train.ipynb:cell 1:3:28: BN405" in done.stdout
    assert "third_party" not in done.stdout


def test_files_are_seen_together(project) -> None:
    """One process gets all files: what a model is in one of them proves a finding in another."""
    project.write(
        net="from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1))\n",
        evaluate="""\
import torch
from net import build


def evaluate(loader):
    net, right = build(), 0
    with torch.no_grad():
        for images, labels in loader:
            right += (net(images).argmax(1) == labels).sum().item()
    return right
""",
    )
    project.git("add", "net.py", "evaluate.py")
    done = project.pre_commit("run", "--files", "evaluate.py")
    assert done.returncode == 1
    assert "evaluate.py:9:23: BN101" in done.stdout
