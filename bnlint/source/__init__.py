"""The source engine: text becomes facts. `analyse` is its only door."""

from bnlint.source.engine import Analysis, analyse

__all__ = ["Analysis", "analyse"]
