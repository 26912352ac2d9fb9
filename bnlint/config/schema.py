"""The JSON schema of `[tool.bnlint]`: editors complete and check by it, and so does validate-pyproject.

It accepts what `load` accepts, but for what JSON and regular expressions cannot say: `16.0` is a whole
number in JSON, `nan` is within all limits, and a letter outside ASCII may become one inside it when
the case of a selector is made one.
"""

from __future__ import annotations

from typing import Any

from bnlint.config.files import TABLE
from bnlint.config.keys import KEYS, Key

DRAFT = "http://json-schema.org/draft-07/schema#"


def schema() -> dict[str, Any]:
    """The schema of the table."""
    return {
        "$schema": DRAFT,
        "$id": "urn:bnlint:settings",  # and no references: those inside an URN lead nowhere for some
        "title": f"Settings of bnlint, {TABLE} in pyproject.toml",
        "description": "bnlint finds the ways a PyTorch project can misuse Batch Normalization.",
        "type": "object",
        "properties": {key.name: _property(key) for key in KEYS.values()},
        "additionalProperties": False,
        "examples": [{key.name: key.example for key in KEYS.values() if key.example is not None}],
    }


def get_schema(tool_name: str) -> dict[str, Any]:
    """Settings of bnlint, for validate-pyproject, which finds this by its entry point."""
    if tool_name != "bnlint":
        raise ValueError(f'bnlint has no schema of "{tool_name}"')
    return schema()


def _property(key: Key) -> dict[str, Any]:
    """One setting."""
    found = {"description": key.meaning, **key.kind.schema()}
    if key.default is not None:
        found["default"] = key.default
    if key.example is not None:
        found["examples"] = [key.example]
    return found
