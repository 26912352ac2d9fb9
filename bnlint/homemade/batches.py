"""The inputs with which layers are tried."""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS = 5
"""As many as nothing else in an input: what fits by accident does not run."""

SHAPES = {2: (8,), 3: (6, 4), 4: (6, 2, 3), 5: (6, 2, 1, 2)}
"""Samples and positions, by the number of dimensions."""


def batch(dims: int, seed: int, channels: int) -> Tensor:
    """A batch whose channels differ in their means and deviations: where one is small, eps is seen."""
    generator = torch.Generator().manual_seed(1000 * dims + seed)
    samples, *positions = SHAPES[dims]
    x = torch.randn(samples, channels, *positions, generator=generator, dtype=torch.float64)
    scale = torch.tensor([1.0, 0.03, 4.0, 0.2, 1.5], dtype=torch.float64).repeat(channels)[:channels]
    shape = (1, channels, *[1] * len(positions))
    offset = 1 + torch.rand(channels, generator=generator, dtype=torch.float64)
    return (x + offset.reshape(shape)) * scale.reshape(shape)


def spread(channels: int, seed: int, low: float, high: float) -> Tensor:
    """A value for each channel, none like another."""
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(channels, generator=generator, dtype=torch.float64)
