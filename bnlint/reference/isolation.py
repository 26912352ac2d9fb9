"""What the process shares with code that is tried or shown, and gets back as it was."""

from __future__ import annotations

import random
import sys
import warnings
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def _on_cpu() -> AbstractContextManager[object]:
    """Layers are built on the CPU. To say so costs time at each call of torch, and is seldom needed."""
    return nullcontext() if torch.zeros(0).device.type == "cpu" else torch.device("cpu")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Random numbers, grad mode and the default type are the same afterwards, and warnings are not shown."""
    numpy = sys.modules.get("numpy")
    legacy = numpy.random.get_state() if numpy is not None else None
    numbers, generator = random.getstate(), torch.get_rng_state()
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        with warnings.catch_warnings(), torch.inference_mode(mode=False), _on_cpu():
            warnings.simplefilter("ignore")
            torch.set_grad_enabled(True)
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.set_rng_state(generator)
        random.setstate(numbers)
        if numpy is not None:
            numpy.random.set_state(legacy)
