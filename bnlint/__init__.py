"""bnlint finds the ways a PyTorch project can misuse Batch Normalization."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself is not imported: `import bnlint` stays instant
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from bnlint.report import Report

__all__ = ["__version__", "check_state_dict", "conforms", "lint"]
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


def check_state_dict(model: object, state: Mapping[str, object] | str | PathLike[str]) -> Report:
    """Look at BatchNorm in a state dict or a checkpoint file, and compare it with a model; None is no model.

    `state` is what `state_dict()` gives, also deep in other dicts, or the path of a file of `torch.save` or
    safetensors, or of the index of a checkpoint in several files. Nothing of a file is executed, and of its
    tensors only BatchNorm's are read. The model is neither run nor changed. Findings are those of BN401,
    BN402, BN406 and BN407.

    Raises `bnlint.checkpoint.CheckpointError`, a `ValueError`, for a file that cannot be read, and
    `TypeError` for what is neither.
    """
    from bnlint.checkpoints import report

    return report(model, state)
