"""bnlint finds the ways a PyTorch project can misuse Batch Normalization."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself is not imported: `import bnlint` stays instant
if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from bnlint.report import Report

__all__ = ["__version__", "lint"]
__version__ = "0.1.0"


def lint(paths: str | PathLike[str] | Sequence[str | PathLike[str]], **settings: object) -> Report:
    """Lint files and folders, as `bnlint lint` does; nothing of them is imported or run.

    `settings` are the keys of `[tool.bnlint]`, with `_` for `-`, and `config=FILE` or
    `isolated=True`. Raises `bnlint.config.ConfigError` where one is wrong. Paths that do not exist
    are in the report's `skipped`.
    """
    from bnlint.pipeline import report

    return report(paths, **settings)
