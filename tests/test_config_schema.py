"""The JSON schema says what `load` does, also where validate-pyproject and editors use it."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tables
from hypothesis import given
from jsonschema import Draft7Validator

from bnlint.config import KEYS, ConfigError, load
from bnlint.config.schema import get_schema, schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHECK = Draft7Validator(schema())
GROUP = "validate_pyproject.tool_schema"


def accepted(table: dict[str, Any]) -> bool:
    try:
        load([], table, isolated=True)
    except ConfigError:
        return False
    return True


def test_the_schema_is_one_and_its_parts_agree() -> None:
    Draft7Validator.check_schema(schema())
    properties = schema()["properties"]
    assert list(properties) == list(KEYS)
    for name, about in properties.items():
        assert about["description"].endswith(".")
        assert ("default" in about) == (KEYS[name].default is not None)
        samples = [*about.get("examples", ()), *([about["default"]] if "default" in about else ())]
        assert samples
        for sample in samples:
            assert CHECK.is_valid({name: sample})
            assert accepted({name: sample})
    assert accepted(schema()["examples"][0])


@given(tables.VALID)
def test_what_is_valid_is_valid_for_both(table: dict[str, Any]) -> None:
    assert accepted(table)
    assert CHECK.is_valid(table)


@given(tables.ANY)
def test_the_schema_accepts_what_load_accepts(table: dict[str, Any]) -> None:
    assert CHECK.is_valid(table) is accepted(table)


@pytest.mark.parametrize(
    ("key", "value", "for_schema", "for_load"),
    [
        ("tiny-batch", 16.0, True, False),
        ("tiny-batch", True, False, False),
        ("momentum-convention", 1, True, True),
        ("momentum-convention", float("nan"), True, False),
        ("select", ["stuc\N{KELVIN SIGN}-in-eval"], False, True),
    ],
)
def test_what_a_schema_cannot_say(key: str, value: object, *, for_schema: bool, for_load: bool) -> None:
    """The exceptions that the schema's documentation names."""
    assert (CHECK.is_valid({key: value}), accepted({key: value})) == (for_schema, for_load)


def test_the_example_of_the_readme_fits() -> None:
    (block,) = re.findall(r"```toml\n(\[tool\.bnlint\].*?)```", README, re.DOTALL)
    table = tomllib.loads(block)["tool"]["bnlint"]
    CHECK.validate(table)
    assert not CHECK.is_valid({**table, "selct": []})


def test_editors_get_every_selector_by_its_word() -> None:
    offered = schema()["properties"]["select"]["items"]["anyOf"][0]["enum"]
    assert {"ALL", "BN301", "tiny-batch", "BN000", "unreadable-source"} <= set(offered)
    assert all(accepted({"select": [word]}) for word in offered)


def test_only_our_own_tool_has_a_schema() -> None:
    assert get_schema("bnlint") == schema()
    with pytest.raises(ValueError, match='"ruff"'):
        get_schema("ruff")


def test_the_entry_point_leads_to_the_schema() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["entry-points"][GROUP]["bnlint"].partition(":")
    assert getattr(importlib.import_module(module), name) is get_schema


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("select = ['BN2', 'tiny_batch']\nper-file-ignores = {'tests/*' = ['bn3']}", ""),
        ("selct = []", "`tool.bnlint` must not contain {'selct'} properties"),
        ("tiny-batch = 1", "`tool.bnlint.tiny-batch` must be bigger than or equal to 2"),
        (
            "per-file-ignores = {'a.py' = ['BX']}",
            "`tool.bnlint.per-file-ignores.a.py[0]` cannot be validated",
        ),
    ],
)
def test_validate_pyproject_finds_it(table: str, complaint: str, tmp_path: Path) -> None:
    """The metadata of an installation is written beside: that of a checkout may be older than it."""
    info = tmp_path / "bnlint-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bnlint\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nbnlint = bnlint.config.schema:get_schema\n")
    file = tmp_path / "pyproject.toml"
    file.write_text(f"[tool.bnlint]\n{table}\n")
    done = subprocess.run(
        [sys.executable, "-m", "validate_pyproject", str(file)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is (not complaint)
    assert complaint in done.stdout + done.stderr


def test_the_schema_is_plain_json() -> None:
    assert json.loads(json.dumps(schema())) == schema()
