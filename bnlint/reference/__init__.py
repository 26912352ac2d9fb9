"""BatchNorm from the paper, step by step, to be read beside it and to be compared with.

Ioffe and Szegedy, Batch Normalization, https://arxiv.org/abs/1502.03167, sections 3 and 3.1. `steps` holds
the lines of Algorithms 1 and 2, each as a function of the name that it has there; `layers` makes
`BatchNorm1d`, `BatchNorm2d` and `BatchNorm3d` of them, which can stand in for those of `torch.nn`: the same
arguments, the same attributes, the same keys in `state_dict()`, the same errors. Nothing is fused and
nothing is fast.
"""

from __future__ import annotations

from bnlint.reference.layers import BatchNorm1d, BatchNorm2d, BatchNorm3d

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]
