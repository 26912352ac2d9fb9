"""Files of home-made layers: their classes, imported as Python does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from bnlint.rule import all_rules

RULES = {rule.code.lower() for rule in all_rules() if "H" in rule.engines}


def of_layers(folder: str) -> bool:
    """Do the fixtures in this folder hold layers that are to be run, and not code to be linted?"""
    return folder.partition("_")[0] in RULES


def layers(path: Path) -> list[type]:
    """The classes of a file that normalise, by their names."""
    name = f"homemade_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and "Norm" in one.__name__
        and one.__module__ == name
        and not one.__name__.startswith("_")
    ]


def findings(path: Path) -> list:
    """What the layers of a file do otherwise than the reference."""
    import bnlint

    return [finding for layer in layers(path) for finding in bnlint.conforms(layer).findings]
