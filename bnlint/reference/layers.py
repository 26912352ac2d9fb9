"""Batch normalisation as layers: Algorithm 1 of the paper in train mode, line 11 of Algorithm 2 in eval mode.

Ioffe and Szegedy, https://arxiv.org/abs/1502.03167; arguments, attributes and errors as in
https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bnlint.reference.steps import (
    mini_batch_mean,
    mini_batch_variance,
    moving_average,
    normalize,
    scale_and_shift,
    unbiased,
    values_per_channel,
)

NARROW = (torch.float16, torch.bfloat16)
"""Types of inputs that go together with parameters and statistics in float32."""


class BatchNorm(nn.Module):
    """Batch normalisation, whatever the number of dimensions: what the three layers have in common.

    Args:
        num_features: C, the number of channels (the paper: dimensions k of the input).
        eps: added to the variance below the root, in units of the input squared. Positive.
        momentum: the share of the newest batch in the running statistics, or None: then they are the plain
            averages over all batches since the last `reset_running_stats()`.
        affine: whether there is a scale and a shift to be learned.
        track_running_stats: whether there are running statistics. Without them the batch's own statistics
            normalise in eval mode, too.
        device: where parameters and buffers are.
        dtype: the type of parameters and running statistics.
        bias: whether there is a shift beside the scale.

    Attributes:
        weight: gamma, a parameter of shape (C,), 1 at the beginning; None without `affine`.
        bias: beta, a parameter of shape (C,), 0 at the beginning; None without `affine` or `bias`.
        running_mean: a buffer of shape (C,) in units of the input, 0 at the beginning.
        running_var: a buffer of shape (C,) in units of the input squared, 1 at the beginning: the average of
            the batches' unbiased variances.
        num_batches_tracked: a buffer, the number of batches since the last `reset_running_stats()`.

    """

    _version = 2
    """The version of the state: from 2 on it holds `num_batches_tracked`."""
    dims: ClassVar[tuple[int, ...]] = ()
    """How many dimensions an input may have."""

    def __init__(  # noqa: PLR0913, PLR0917  torch's signature
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,  # noqa: FBT001, FBT002
        track_running_stats: bool = True,  # noqa: FBT001, FBT002
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats

        def channels() -> Tensor:
            return torch.empty(num_features, device=device, dtype=dtype)

        def count() -> Tensor:
            return torch.tensor(0, device=device, dtype=torch.long)

        self.weight: nn.Parameter | None
        self.bias: nn.Parameter | None
        self.register_parameter("weight", nn.Parameter(channels()) if affine else None)
        self.register_parameter("bias", nn.Parameter(channels()) if affine and bias else None)
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        self.register_buffer("running_mean", channels() if track_running_stats else None)
        self.register_buffer("running_var", channels() if track_running_stats else None)
        self.register_buffer("num_batches_tracked", count() if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1, none seen."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget everything: gamma 1 and beta 0 as well."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's name for it
        """Normalise a batch; the output has its shape and its type.

        In train mode (Algorithm 1) the batch's own mean and variance normalise it, gradients flow through
        both, and the running statistics move. In eval mode (Algorithm 2, line 11) the running statistics
        normalise, and nothing moves.

        It computes in double precision, so that a difference from it is the rounding of the other side.

        Raises:
            ValueError: for another number of dimensions; for one value per channel where the batch's own
                statistics are to normalise: the variance of one value is 0, and its output is beta
                whatever it was; for an `eps` that is not positive there, or negative anywhere.
            RuntimeError: for another number of channels than `num_features`, or a type other than that of
                the parameters.
            NotImplementedError: for integers and complex numbers.

        """
        self._check_dims(input)
        tracks = self.training and self.track_running_stats
        if tracks and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)

        own = self.training or (self.running_mean is None and self.running_var is None)
        self._check_input(input, own=own)
        x = _precise(input)
        if own:
            mean = mini_batch_mean(x)
            variance = mini_batch_variance(x, mean)
            if tracks and values_per_channel(x):
                self._update_running_stats(mean, variance, values_per_channel(x))
        else:
            mean, variance = self._running_stats()

        x_hat = normalize(x, mean, variance, self.eps)
        return scale_and_shift(x_hat, self.weight, self.bias).to(input.dtype)

    @torch.no_grad()
    def _update_running_stats(self, mean: Tensor, variance: Tensor, m: int) -> None:
        """Move the running statistics towards those of a batch; no gradient is to know of it."""
        if self.running_mean is None or self.running_var is None:
            return
        momentum = self._share_of_this_batch()
        self.running_mean.copy_(moving_average(_precise(self.running_mean), mean, momentum))
        self.running_var.copy_(moving_average(_precise(self.running_var), unbiased(variance, m), momentum))

    def _share_of_this_batch(self) -> float:
        """How much the newest of n batches counts: `momentum`, or 1/n for the average over all n."""
        if self.momentum is not None:
            return self.momentum
        return 0.0 if self.num_batches_tracked is None else 1.0 / float(self.num_batches_tracked)

    def _running_stats(self) -> tuple[Tensor, Tensor]:
        """The statistics that take the place of the batch's in eval mode."""
        if self.running_mean is None or self.running_var is None:
            raise RuntimeError("running_mean and running_var must both be defined in evaluation mode")
        return _precise(self.running_mean), _precise(self.running_var)

    def _check_dims(self, x: Tensor) -> None:
        if x.dim() not in self.dims:
            wanted = " or ".join(f"{dims}D" for dims in self.dims)
            raise ValueError(f"expected {wanted} input (got {x.dim()}D input)")

    def _check_input(self, x: Tensor, *, own: bool) -> None:
        """Refuse what cannot be normalised; `own` says that the batch's own statistics are to do it."""
        if own and values_per_channel(x) == 1:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size {x.shape}"
            )
        if not x.is_floating_point():
            raise NotImplementedError(f'"batch_norm" not implemented for {x.dtype}')
        if (own and self.eps <= 0) or self.eps < 0:
            wanted = "positive during training" if own else "non-negative"
            raise ValueError(f"batch_norm eps must be {wanted}, but got {self.eps}")
        for name in ("running_mean", "running_var", "weight", "bias"):
            self._check_channels(name, getattr(self, name), x)

    @staticmethod
    def _check_channels(name: str, values: Tensor | None, x: Tensor) -> None:
        """Refuse an input whose channels or whose type are not those of a parameter or a statistic."""
        if values is None:
            return
        if values.numel() != x.shape[1]:
            raise RuntimeError(f"{name} should contain {x.shape[1]} elements not {values.numel()}")
        if values.dtype != x.dtype and not (x.dtype in NARROW and values.dtype == torch.float32):
            raise RuntimeError(f"mixed dtype: the input is {x.dtype}, and {name} is {values.dtype}")

    def extra_repr(self) -> str:
        """What stands between the brackets when the layer is printed, as torch writes it."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        """Load a state; one of before version 2, which had no `num_batches_tracked`, leaves it as it is."""
        key = f"{prefix}num_batches_tracked"
        old = (local_metadata.get("version") or 1) < 2
        if old and self.track_running_stats and key not in state_dict:
            count = self.num_batches_tracked
            known = count is not None and not count.is_meta
            state_dict[key] = count if known else torch.tensor(0, dtype=torch.long)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def _precise(values: Tensor) -> Tensor:
    """The values in double precision, where the device has it."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


class BatchNorm1d(BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L), as `torch.nn.BatchNorm1d`."""

    dims = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalisation of (N, C, H, W), as `torch.nn.BatchNorm2d`."""

    dims = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalisation of (N, C, D, H, W), as `torch.nn.BatchNorm3d`."""

    dims = (5,)
