"""The directions of the imports, which keep a new rule at one file and its fixtures."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "bnlint"
MODULES = sorted(PACKAGE.rglob("*.py"))

ALLOWED = {
    "__init__": {
        "bnlint.checking",
        "bnlint.checkpoints",
        "bnlint.conformity",
        "bnlint.pipeline",
        "bnlint.report",
    },
    "__main__": {"bnlint.cli"},
    "picture": set(),
    "finding": {"bnlint.picture"},
    "facts": {"bnlint.finding"},
    "demonstration": {"bnlint.picture", "bnlint.reference"},
    "rule": {
        "bnlint.demonstration",
        "bnlint.facts",
        "bnlint.finding",
        "bnlint.picture",
        "bnlint.reference",
        "bnlint.rules",
    },
    "rules": {
        "bnlint.demonstration",
        "bnlint.facts",
        "bnlint.finding",
        "bnlint.picture",
        "bnlint.reference",
        "bnlint.rule",
    },
    "source": {"bnlint.facts", "bnlint.finding", "bnlint.source", "bnlint.writing"},
    "fingerprint": {"bnlint.finding"},
    "baseline": {
        "bnlint.baseline",
        "bnlint.config",
        "bnlint.finding",
        "bnlint.fingerprint",
        "bnlint.writing",
    },
    "writing": set(),
    "versions": set(),
    "progress": set(),
    "homemade": {"bnlint.facts", "bnlint.finding", "bnlint.homemade", "bnlint.reference"},
    "reference": {"bnlint.demonstration", "bnlint.reference"},
    "pictures": {"bnlint.demonstration", "bnlint.picture", "bnlint.pictures"},
    "report": {
        "bnlint.finding",
        "bnlint.fingerprint",
        "bnlint.picture",
        "bnlint.pictures",
        "bnlint.report",
        "bnlint.versions",
        "bnlint.writing",
    },
    "checkpoint": {"bnlint.checkpoint", "bnlint.facts", "bnlint.finding"},
    "trace": {"bnlint.facts", "bnlint.finding", "bnlint.trace"},
    "config": {"bnlint.config", "bnlint.finding", "bnlint.report", "bnlint.rule", "bnlint.source"},
    "plugins": {"bnlint.config", "bnlint.finding", "bnlint.pipeline", "bnlint.plugins", "bnlint.report"},
    "suppress": {"bnlint.finding", "bnlint.config", "bnlint.source"},
}
"""What each room may know of the others. A room that is not named here may need all."""

OUTSIDE = {
    "__init__": {"torch"},  # for types only
    "cli": {"click"},
    "checking": {"torch"},
    "conformity": {"torch"},
    "homemade": {"torch"},
    "config": {"tomli", "tomllib"},
    "plugins": {"flake8", "pytest"},
    "pictures": {"matplotlib"},
    "reference": {"sklearn", "torch"},
    "report": {"rich"},
    "trace": {"numpy", "torch"},
    "source": {"pathspec", "tomli", "yaml"},
}
"""Who may use what is neither ours nor Python's own: each of them lives in one room."""


def room(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> set[str]:
    """Every module that a module imports, wherever in it, also for types only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative import"
            found |= {_module(node.module or "", alias.name) for alias in node.names}
    return found


def _module(parent: str, name: str) -> str:
    """`from bnlint import rule` imports a module, `from bnlint.rule import Rule` a name of one."""
    below = PACKAGE.parent.joinpath(*parent.split("."), name)
    return f"{parent}.{name}" if below.is_dir() or below.with_suffix(".py").exists() else parent


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_imports_run_one_way(module: Path) -> None:
    allowed = ALLOWED.get(room(module))
    ours = {".".join(name.split(".")[:2]) for name in imports(module) if name.split(".")[0] == "bnlint"}
    assert allowed is None or ours - {"bnlint"} <= allowed


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_each_foreign_package_lives_in_its_room(module: Path) -> None:
    foreign = {name.split(".")[0] for name in imports(module)} - set(sys.stdlib_module_names) - {"bnlint"}
    assert foreign <= OUTSIDE.get(room(module), set())


def test_a_rule_knows_no_other_rule() -> None:
    for module in (PACKAGE / "rules").glob("bn*.py"):
        assert not any(name.startswith("bnlint.rules") for name in imports(module)), module


def test_there_is_no_attic() -> None:
    attics = {"utils", "helpers", "common", "core", "manager", "misc"}
    assert not {path.stem for path in PACKAGE.rglob("*")} & attics
