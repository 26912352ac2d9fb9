"""What a check must leave as it was: everything of a model, and of the process, that can be compared."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import CellType, FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
)
SETTINGS = ("momentum", "eps", "affine", "track_running_stats", "num_features", "p")


def contents(cell: CellType) -> Any:
    """What a closure holds, None where nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def within(owner: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Modules and tensors that can be reached from a module, also through lists, dicts and closures."""
    if id(owner) in seen or isinstance(owner, type):
        return
    seen.add(id(owner))
    match owner:
        case nn.Module():
            yield path, owner
            parts = {**owner._parameters, **owner._buffers, **owner._modules, **vars(owner)}
        case torch.Tensor():
            yield path, owner
            return
        case dict():
            parts = owner
        case list() | tuple():
            parts = dict(enumerate(owner))
        case FunctionType(__closure__=tuple() as cells):
            parts = dict(enumerate(map(contents, cells)))
        case _:
            return
    for name, part in list(parts.items()):
        yield from within(part, f"{path}.{name}" if path else str(name), seen)


def held(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The modules and tensors of a model; modules first by the names that torch gives them."""
    seen: set[int] = set()
    for path, module in model.named_modules():
        yield from within(module, path, seen)


def of_tensor(tensor: torch.Tensor) -> tuple[Any, ...]:
    """A tensor by its identity and its value."""
    if isinstance(tensor, nn.parameter.UninitializedTensorMixin):
        return type(tensor).__name__, id(tensor)
    gradient = tensor.grad.clone() if tensor.is_leaf and tensor.grad is not None else None
    return id(tensor), tensor.requires_grad, tensor.dtype, tensor.detach().clone(), gradient


def of_module(module: nn.Module) -> tuple[Any, ...]:
    """The mode, the settings and the hooks of a module, and the names of its attributes.

    Those of a scripted part are left out: its first forward adds some, whoever makes it.
    """
    hooks = tuple(tuple(getattr(module, name, None) or ()) for name in HOOKS)
    settings = tuple(vars(module).get(name) for name in SETTINGS)
    names = () if isinstance(module, torch.jit.ScriptModule) else tuple(vars(module))
    return module.training, type(module), settings, hooks, names


def fingerprint(model: nn.Module) -> dict[str, Any]:
    """Everything by its name."""
    marks = {
        path: of_tensor(one) if isinstance(one, torch.Tensor) else of_module(one) for path, one in held(model)
    }
    hooks = [name for name in vars(torch_module) if name.startswith("_global_") and name.endswith("_hooks")]
    return marks | {
        "random numbers of torch": torch.get_rng_state(),
        "random numbers of Python": random.getstate(),
        "gradient mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "function modes": torch._C._len_torch_function_stack(),
        "default type": torch.get_default_dtype(),
        "hooks of all modules": {name: len(getattr(torch_module, name)) for name in hooks},
    }


def same(one: Any, other: Any) -> bool:
    """Are two marks the same, tensors by value and NaN like NaN?"""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if one.shape != other.shape or not one.is_floating_point():
            return torch.equal(one, other)
        return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what is not as it was."""
    return [
        name
        for name in before | after
        if name not in before or name not in after or not same(before[name], after[name])
    ]
