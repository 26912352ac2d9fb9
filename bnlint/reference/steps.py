"""The steps of Algorithms 1 and 2 of Ioffe and Szegedy (https://arxiv.org/abs/1502.03167).

`x` is a batch of shape (N, C), (N, C, L), (N, C, H, W) or (N, C, D, H, W): N samples of C channels. The m
values of one channel are all of its values in the batch, over samples and positions: m = N, N·L, N·H·W,
N·D·H·W (section 3.2 of the paper says why). What is known of each channel, such as its mean, has the shape
(C,). Means are in units of x, variances in units of x squared, and what is normalised has no unit.
"""

from __future__ import annotations

import torch
from torch import Tensor


def values_per_channel(x: Tensor) -> int:
    """m, the number of values that each channel has in the batch: N, N·L, N·H·W or N·D·H·W."""
    return x.numel() // x.shape[1] if x.numel() else 0


def over_batch_and_positions(x: Tensor) -> list[int]:
    """All dimensions but the second one, which counts the channels: [0], [0, 2], [0, 2, 3], …."""
    return [dim for dim in range(x.dim()) if dim != 1]


def each_channel(values: Tensor, x: Tensor) -> Tensor:
    """Values of the channels, of shape (C,), as (1, C, 1, …, 1): so they meet the channels of x."""
    return values.reshape(1, -1, *[1] * (x.dim() - 2))


def mini_batch_mean(x: Tensor) -> Tensor:
    """The mean of each channel over the batch, of shape (C,).

    Algorithm 1, first line: mu_B = 1/m · sum of x_i.
    """
    return x.mean(dim=over_batch_and_positions(x))


def mini_batch_variance(x: Tensor, mean: Tensor) -> Tensor:
    """The variance of each channel over the batch, of shape (C,): the biased one, which divides by m.

    Algorithm 1, second line: sigma²_B = 1/m · sum of (x_i - mu_B)².
    """
    squared = (x - each_channel(mean, x)) ** 2
    return squared.mean(dim=over_batch_and_positions(x))


def normalize(x: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """Give each channel of x the mean 0 and the variance 1, or a little less: eps stands below the root.

    Algorithm 1, third line: x̂_i = (x_i - mu_B) / sqrt(sigma²_B + eps). The shape is that of x.
    """
    return (x - each_channel(mean, x)) / torch.sqrt(each_channel(variance, x) + eps)


def scale_and_shift(x_hat: Tensor, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    """What was normalised, with the deviation and the mean that each channel has learned.

    Algorithm 1, fourth line: y_i = gamma · x̂_i + beta. Both have the shape (C,); None stands for 1 and 0.
    """
    y = x_hat
    if gamma is not None:
        y = each_channel(gamma, y) * y
    if beta is not None:
        y = y + each_channel(beta, y)
    return y


def unbiased(variance: Tensor, m: int) -> Tensor:
    """What a biased variance of m values says of the data that the values were drawn from.

    Algorithm 2, line 10: Var[x] = m / (m - 1) · E[sigma²_B]. Twice as large at m = 2, infinite at m = 1.
    """
    return variance * (m / (m - 1))


def moving_average(average: Tensor, value: Tensor, momentum: float) -> Tensor:
    """An average that follows the newest value by the share `momentum`, from 0 (not at all) to 1.

    Algorithm 2 averages over many batches; section 3.1 allows moving averages instead. `momentum` is the
    share of the new value, as in torch: 0.1 here is what TensorFlow and Keras call 0.9.
    """
    return (1 - momentum) * average + momentum * value
