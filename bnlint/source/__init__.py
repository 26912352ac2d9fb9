"""The source engine: text becomes facts. `analyse` is its only door, and opening it loads the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnlint.source.engine import Analysis, Progress, analyse, silent

__all__ = ["Analysis", "Progress", "analyse", "silent"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bnlint.source import engine

    return getattr(engine, name)
