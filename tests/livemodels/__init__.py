"""Live models with labels: what `bnlint.check` has to find in them, and what it may say.

`sick_*.py` hold models with planted bugs, `healthy_*.py` look-alikes without one. The labels were written
from the catalogue of rules before there was an engine to agree with.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from livemodels.case import Case


@cache
def all_cases() -> dict[str, Case]:
    """Every case by its name, `file/function`."""
    found: dict[str, Case] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name.startswith(("sick_", "healthy_")):
            module = importlib.import_module(f"{__name__}.{info.name}")
            found |= {f"{info.name}/{case.name}": case for case in module.CASES}
    return found
