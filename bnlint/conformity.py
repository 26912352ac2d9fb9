"""`bnlint.conforms`: a home-made BatchNorm is measured, rules judge, and a report says what they found."""

from __future__ import annotations

import os
from inspect import isfunction
from typing import Any

from bnlint import __version__
from bnlint.pipeline import about
from bnlint.report import Report, View
from bnlint.rule import all_rules, judge
from bnlint.source.texts import Sources

ENGINE = "H"
"""The mark of rules about home-made layers."""


class MissingTorchError(ImportError):
    """Torch is not installed, and no layer can be run without it."""


def require_torch() -> None:
    """Raise `MissingTorchError` where there is none."""
    try:
        import torch  # noqa: F401
    except ImportError as problem:
        raise MissingTorchError('conforms needs torch: pip install "bnlint[torch]"') from problem


def report(target: Any) -> Report:
    """Measure a class or a layer, and judge it."""
    if not isinstance(target, type) and (isfunction(target) or not callable(target)):
        raise TypeError(f"conforms takes a class or a layer, not {type(target).__name__}")
    require_torch()
    from bnlint.homemade import measure

    measured = measure(target)
    rules = [rule for rule in all_rules() if ENGINE in rule.engines]
    view = View(lines=Sources().lines, about=about, base=os.getcwd(), version=__version__)
    return Report(
        tuple(judge(measured.facts, rules)), measured.skipped, int(measured.ran), view, noun="layer"
    )
