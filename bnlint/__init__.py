"""bnlint finds the ways a PyTorch project can misuse Batch Normalization."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself is not imported: `import bnlint` stays instant
if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from bnlint.report import Report

__all__ = ["__version__", "conforms", "lint"]
__version__ = "0.1.0"


def lint(paths: str | PathLike[str] | Sequence[str | PathLike[str]], **settings: object) -> Report:
    """Lint files and folders, as `bnlint lint` does; nothing of them is imported or run.

    `settings` are the keys of `[tool.bnlint]`, with `_` for `-`, and `config=FILE` or
    `isolated=True`. Raises `bnlint.config.ConfigError` where one is wrong. Paths that do not exist
    are in the report's `skipped`.
    """
    from bnlint.pipeline import report

    return report(paths, **settings)


def conforms(layer: object) -> Report:
    """Compare a home-made BatchNorm with the definition: a class, or a layer (of which copies are tried).

    The code of the layer is run, on small inputs and in this process, which is as it was afterwards: random
    numbers, grad mode and default type. How the class is built, and on which inputs it runs (2-D to 5-D), is
    found by trying. Findings are those of BN501 to BN508. What could not be built or run is in the report's
    `skipped`; then `checked` is 0.

    Raises `ImportError` where torch is not installed, and `TypeError` for what cannot be a layer.
    """
    from bnlint.conformity import report

    return report(layer)
