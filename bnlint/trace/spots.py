"""Where running code of the user's is: found by walking up from a function of torch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

import torch

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from torch import nn

TORCH: Final = os.path.dirname(torch.__file__) + os.sep
OURS: Final = os.path.dirname(__file__) + os.sep
CONTAINERS: Final = os.path.join(TORCH, "nn", "modules", "container.py")


class Spot(NamedTuple):
    """A place in running code: what is executed, and which of its instructions; `row` is its line.

    `contained` says that a container of torch's (Sequential) was between this code and what it runs.
    """

    code: CodeType
    instruction: int
    row: int
    contained: bool = False


def spot_of(frame: FrameType | None, layer: nn.Module | None = None) -> Spot | None:
    """The innermost code of the user's that is running; the forward of `layer` itself does not count."""
    own = getattr(type(layer).forward, "__code__", None) if layer is not None else None
    contained = False
    while frame is not None:
        code = frame.f_code
        name = code.co_filename
        if name == CONTAINERS:
            contained = True
        elif code is not own and not name.startswith((TORCH, OURS)):
            return Spot(code, frame.f_lasti, frame.f_lineno or 1, contained)
        frame = frame.f_back
    return None
