"""bnlint finds the ways a PyTorch project can misuse Batch Normalization."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself is not imported: `import bnlint` stays instant
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from os import PathLike
    from typing import Any, Literal

    from torch import nn

    from bnlint.report import Report

__all__ = ["__version__", "check", "check_state_dict", "conforms", "lint"]
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


def check(  # noqa: PLR0913
    model: nn.Module,
    loader: Iterable[Any],
    *,
    stage: Literal["train", "eval"] = "train",
    forward: Callable[[nn.Module, Any], Any] | None = None,
    max_batches: int = 8,
    state_dict: Mapping[str, Any] | str | PathLike[str] | None = None,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    progress: bool | Callable[[float, str], None] | None = None,
) -> Report:
    """Run a live model on a few batches, and say what is wrong with its BatchNorm.

    `stage` is what the caller is about to do: "train" or "eval"; under `torch.no_grad()` it is taken to be
    the latter. A batch reaches the model as people expect: a tensor, or the first of `(inputs, targets)`, by
    position, a dict by the names of `forward`'s parameters, anything else through `forward(model, batch)`.
    `state_dict`, a mapping or a file, is compared with what the model needs. `select` and `ignore` are codes,
    their beginnings, or names. `progress` is called with the share that is done and what is being done; by
    default there is a bar for checks of more than a second where somebody is looking.

    The model, the loader and the process are afterwards as they were, also where something is raised: modes,
    parameters, buffers, gradients, hooks, random numbers. Only an iterator cannot be put back.

    Raises `ImportError` where torch is not installed, `TypeError` for what is no model, no loader, or cannot
    be called on a batch, `bnlint.config.ConfigError` for settings that are wrong, and whatever the model
    raises; but what BatchNorm raises because of the shape of a batch is a finding.
    """
    import sys

    from bnlint.checking import report

    return report(
        model,
        loader,
        stage=stage,
        forward=forward,
        max_batches=max_batches,
        state_dict=state_dict,
        select=select,
        ignore=ignore,
        progress=progress,
        frame=sys._getframe(1),  # noqa: SLF001  the public way to it reads the source
    )


def check_state_dict(model: object, state: Mapping[str, object] | str | PathLike[str]) -> Report:
    """Look at BatchNorm in a state dict or a checkpoint file, and compare it with a model; None is no model.

    `state` is what `state_dict()` gives, also deep in other dicts, or the path of a file of `torch.save` or
    safetensors, or of the index of a checkpoint in several files. Nothing of a file is executed, and of its
    tensors only BatchNorm's are read. The model is neither run nor changed. Findings are those of BN401,
    BN402, BN406 and BN407.

    Raises `bnlint.checkpoint.CheckpointError`, a `ValueError`, for a file that cannot be read, and
    `TypeError` for what is neither.
    """
    import sys

    from bnlint.checkpoints import report

    return report(model, state, sys._getframe(1))  # noqa: SLF001
