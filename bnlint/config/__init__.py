"""`[tool.bnlint]`, `--config`, the command line and the arguments of `bnlint.lint` -> frozen settings.

`keys` is the one table of what can be set; validation, the JSON schema and `bnlint config` come from it.
"""

from __future__ import annotations

from bnlint.config.errors import ConfigError, nearest
from bnlint.config.files import TABLE, find
from bnlint.config.keys import KEYS
from bnlint.config.merge import here, load
from bnlint.config.selectors import FAULT, FAULT_NAMES, INTERNAL, UNREADABLE, UNUSED, selector
from bnlint.config.settings import Settings

__all__ = [
    "FAULT",
    "FAULT_NAMES",
    "INTERNAL",
    "KEYS",
    "TABLE",
    "UNREADABLE",
    "UNUSED",
    "ConfigError",
    "Settings",
    "find",
    "here",
    "load",
    "nearest",
    "selector",
]
