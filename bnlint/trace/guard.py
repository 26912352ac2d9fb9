"""A model, its loader and the process are the same after bnlint ran the model as before."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bnlint.trace.containers import put_back
from bnlint.trace.generators import keep_loader
from bnlint.trace.keeper import Keeper, unseen
from bnlint.trace.process import keep_process


class Guard:
    """What is kept, and how more is added while the model runs."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def adopt(self, module: nn.Module) -> None:
        """Keep a module that is not registered in the model, and all below it, as it is now.

        Cheap where it is kept already: this may be called at each forward of the module.
        """
        if not self._keeper.holds(module):
            with unseen():
                self._keeper.keep(module)


@contextmanager
def unmarked(model: nn.Module, loader: object = None) -> Iterator[Guard]:
    """Put everything back afterwards, whatever the block does and whatever it raises.

    Kept are, of the model and of all modules below it, registered or held in attributes: the own `training`
    flag, attributes, parameters, buffers and hooks, the same objects with the same contents, and the values
    and versions of all tensors, so that a graph that was built before can still run backward; of the process:
    random numbers, the modes of torch, process-wide hooks and the filters of warnings; of the loader and its
    samplers: attributes and random generators. Inside the block inference mode is off.

    The copies cost the memory of the parameters and buffers once more, on their devices, while the block
    runs. Hooks that bnlint itself sets belong inside the block, which takes them away. Raises `RuntimeError`
    where something could not be put back, unless the block raised.
    """
    with warnings.catch_warnings():
        steps = keep_process()
        keeper = Keeper()
        with unseen():
            keeper.keep(model)
        steps += keep_loader(loader)
        raised = True
        try:
            with _no_inference():
                yield Guard(keeper)
            raised = False
        finally:
            with unseen():
                problems = put_back(keeper.steps)
            problems += put_back(steps)
            for problem in problems:
                if not isinstance(problem, Exception):  # an impatient user: all is put back by now
                    raise problem
            if problems and not raised:
                raise RuntimeError("bnlint could not put everything back as it was") from problems[0]


@contextmanager
def _no_inference() -> Iterator[None]:
    """Inference mode is off, and grad mode is as it is; both are the same afterwards."""
    grad = torch.is_grad_enabled()
    with torch.inference_mode(mode=False):
        torch.set_grad_enabled(grad)
        yield
