"""Files of live models: what `bnlint.check` says of them.

A file defines `model()` and `loader()`, and `STAGE = "eval"` where the model is not about to train.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import bnlint
from bnlint.rule import all_rules

RULES = {rule.code.lower() for rule in all_rules() if not set("SH") & set(rule.engines)}


def of_models(folder: str) -> bool:
    """Do the fixtures in this folder hold models that are to be run, and not code to be linted?"""
    return folder.partition("_")[0] in RULES


def findings(path: Path) -> list:
    """What is wrong with the model of a file."""
    name = f"live_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stage = getattr(module, "STAGE", "train")
    return list(bnlint.check(module.model(), module.loader(), stage=stage))
