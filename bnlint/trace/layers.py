"""The BatchNorm layers of a live model, and layers as facts."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parameter import UninitializedBuffer, is_lazy

from bnlint.facts import UNKNOWN, Kind, Layer, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.finding import Where

DIMENSIONS: Final = {"BatchNorm1d": (2, 3), "BatchNorm2d": (4,), "BatchNorm3d": (5,)}
"""How many dimensions the layers of torch take."""
SCRIPTED: Final = (*DIMENSIONS, "SyncBatchNorm")
"""Those that TorchScript keeps the names of."""
GIVEN: Final = {
    "conv": ("in_channels", "out_channels", "groups"),
    "linear": ("in_features", "out_features"),
    "dropout": ("p",),
    "batchnorm": ("num_features", "eps", "momentum", "affine", "track_running_stats"),
}
"""Attributes of layers that are arguments of theirs; those of a BatchNorm in the order of its parameters."""


def is_batchnorm(module: object) -> bool:
    """Is this a BatchNorm of torch's, or one derived from it? Frozen ones with buffers alone are not."""
    if isinstance(module, _BatchNorm):
        return not isinstance(module, _InstanceNorm)
    return is_scripted(module) and getattr(module, "original_name", "") in SCRIPTED


def is_scripted(module: object) -> bool:
    """Is this compiled by TorchScript, so that nothing of what happens inside can be seen?"""
    return isinstance(module, torch.jit.ScriptModule)


def is_unbuilt(model: nn.Module) -> bool:
    """Are there tensors whose shape only the first batch decides (Lazy layers)?"""
    return any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers()))


def _unmade(like: Tensor) -> Tensor:
    made: Tensor = UninitializedBuffer(device=like.device, dtype=like.dtype)  # type: ignore[call-arg]
    return made


def copied(model: nn.Module) -> nn.Module:
    """A copy of a model with tensors that are not made yet: torch copies parameters of that kind alone.

    Raises whatever its parts raise, and `ValueError` where a copy would run the original.
    """
    if any("forward" in vars(module) for module in model.modules()):
        raise ValueError("a forward of its own would run the original")
    unmade = [buffer for buffer in model.buffers() if is_lazy(buffer)]
    memo: dict[int, Any] = {id(one): _unmade(one) for one in unmade}
    return copy.deepcopy(model, memo)


def batchnorms(model: nn.Module) -> dict[str, nn.Module]:
    """Every BatchNorm of a model by its path; one that stands in several places by its first one."""
    return {path: module for path, module in model.named_modules() if is_batchnorm(module)}


def takes_dimensions(module: nn.Module) -> tuple[int, ...]:
    """How many dimensions the input of a BatchNorm may have; empty where it takes any number."""
    names = (cls.__name__ for cls in type(module).__mro__)
    return next((DIMENSIONS[name] for name in names if name in DIMENSIONS), ())


def class_name(module: nn.Module) -> str:
    """The class of a layer as torch calls it."""
    return str(getattr(module, "original_name", None) or type(module).__name__)


def tensors(module: nn.Module, *names: str) -> Iterator[Tensor]:
    """Those of these attributes of a module that are tensors."""
    for name in names:
        value = getattr(module, name, None)
        if isinstance(value, Tensor):
            yield value


def layer(module: nn.Module, kind: Kind, where: Where) -> Layer:
    """A layer as a fact: its class, and the settings that it has as attributes."""
    settings = {name: Setting(_value(module, name), where) for name in GIVEN.get(kind, ())}
    if kind in {"conv", "linear"}:
        settings["bias"] = Setting(isinstance(getattr(module, "bias", None), Tensor), where)
    if kind == "batchnorm":
        settings["affine"] = Setting(any(True for _ in tensors(module, "weight", "bias")), where)
        settings["track_running_stats"] = Setting(any(True for _ in tensors(module, "running_mean")), where)
    return Layer(class_name(module), kind, where, settings)


def _value(module: nn.Module, name: str) -> Any:
    return getattr(module, name, UNKNOWN)
