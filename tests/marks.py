"""A fingerprint of everything that a run of a model could leave a mark on, written without the guard's code."""

from __future__ import annotations

import functools
import hashlib
import random
import types
import warnings
from collections import deque

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as modules

ATOMS = (int, float, str, bytes, bool, complex, type(None), type, torch.dtype, torch.device, torch.Size)


class Fingerprint:
    """What hangs on `roots` and what the process shares: a description for each path to a thing."""

    def __init__(self, *roots: object) -> None:
        self.marks: dict[str, object] = {}
        self.alive: list[object] = []
        self.seen: set[int] = set()
        for number, root in enumerate(roots):
            self.walk(root, f"{number}", 0)
        self.process()

    def differences(self, other: Fingerprint) -> list[str]:
        return sorted(
            path
            for path in self.marks.keys() | other.marks.keys()
            if self.marks.get(path, "missing") != other.marks.get(path, "missing")
        )

    def walk(self, thing: object, path: str, depth: int) -> None:
        self.alive.append(thing)  # so that no other thing gets its id
        self.marks[path] = thing if isinstance(thing, (int, float, str, bytes)) else id(thing)
        compiler = type(thing).__module__.startswith("torch._dynamo")
        if isinstance(thing, ATOMS) or id(thing) in self.seen or depth > 6 or compiler:
            return
        self.seen.add(id(thing))
        self.marks[f"{path}:class"] = type(thing)
        for name, part in self.parts(thing, path):
            self.walk(part, f"{path}.{name}", 0 if isinstance(part, nn.Module) else depth + 1)

    def parts(self, thing, path):
        if isinstance(thing, torch.Tensor) and thing.is_nested:
            self.marks[f"{path}:values"] = [part.tolist() for part in thing.unbind()]
            return []
        if isinstance(thing, torch.Tensor):
            self.tensor(thing, path)
            return [*vars(thing).items(), ("grad", thing.grad if thing.is_leaf else None)]
        if isinstance(thing, torch.jit.ScriptModule):
            self.marks[f"{path}:training"] = thing.training
            self.marks[f"{path}:attributes"] = set(vars(thing))
            tensors = (*thing.named_parameters(recurse=False), *thing.named_buffers(recurse=False))
            return [*tensors, *thing.named_children()]
        if isinstance(thing, torch.Generator):
            self.marks[f"{path}:state"] = digest(thing.get_state().numpy())
        if isinstance(thing, random.Random):
            self.marks[f"{path}:state"] = thing.getstate()
        if isinstance(thing, np.random.Generator):
            self.marks[f"{path}:state"] = str(thing.bit_generator.state)
        if isinstance(thing, np.random.RandomState):
            self.marks[f"{path}:state"] = digest(thing.get_state()[1])
        if isinstance(thing, functools.partial):
            return [("func", thing.func), ("args", thing.args), ("keywords", thing.keywords)]
        if isinstance(thing, np.ndarray):
            self.marks[f"{path}:values"] = digest(thing)
        if isinstance(thing, (set, frozenset)):
            self.marks[f"{path}:items"] = frozenset(thing)
        if isinstance(thing, dict):
            self.marks[f"{path}:keys"] = list(thing)
            return [(f"[{key!r}]", value) for key, value in thing.items()]
        if isinstance(thing, (list, tuple, deque)):
            self.marks[f"{path}:length"] = len(thing)
            return [(f"[{number}]", value) for number, value in enumerate(thing)]
        if isinstance(thing, types.FunctionType):
            return [(f"cell{n}", cell.cell_contents) for n, cell in enumerate(thing.__closure__ or ())]
        if isinstance(thing, types.MethodType):
            return [("self", thing.__self__)]
        slots = [(name, getattr(thing, name, "empty")) for name in getattr(type(thing), "__slots__", ())]
        held = (
            []
            if isinstance(thing, (types.ModuleType, types.BuiltinFunctionType))
            else getattr(thing, "__dict__", {})
        )
        if isinstance(thing, nn.Module):
            self.marks[f"{path}:attributes"] = list(held)
            held = {name: value for name, value in held.items() if name != "_modules"} | {
                "_modules": held["_modules"]
            }
        return [*dict(held).items(), *slots]

    def tensor(self, tensor: torch.Tensor, path: str) -> None:
        lazy = isinstance(tensor, nn.parameter.UninitializedTensorMixin)
        self.marks[f"{path}:flags"] = (
            tensor.requires_grad,
            tensor.is_leaf,
            lazy,
            tensor.layout,
            tensor.dtype,
        )
        self.marks[f"{path}:hooks"] = str(tensor._backward_hooks), str(tensor._post_accumulate_grad_hooks)
        if lazy or type(tensor).__name__ == "Wrapped":  # its attributes say the rest
            return
        if not tensor.is_inference():
            self.marks[f"{path}:version"] = tensor._version
        if tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            shape = tensor.size(), tensor.stride(), tensor.storage_offset()
            self.marks[f"{path}:place"] = storage._cdata, storage.nbytes(), *shape
        empty = tensor.layout is torch.strided and tensor.untyped_storage().nbytes() < tensor.nbytes
        if tensor.device.type != "meta" and not empty:
            self.marks[f"{path}:values"] = digest(plain(tensor))

    def process(self) -> None:
        mark = self.marks
        legacy = np.random.get_state()  # noqa: NPY002  # the state that all share
        mark["random"] = (
            random.getstate(),
            digest(legacy[1]),
            legacy[2:],
            digest(torch.get_rng_state().numpy()),
        )
        if torch.cuda.is_available():
            mark["random cuda"] = [digest(state.numpy()) for state in torch.cuda.get_rng_state_all()]
        mark["grad"] = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()
        for device in ("cpu", "cuda"):
            mark[f"autocast {device}"] = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        mark["autocast cache"] = torch.is_autocast_cache_enabled()
        mark["defaults"] = (
            torch.get_default_dtype(),
            torch.get_default_device(),
            len(torch.overrides._get_current_function_mode_stack()),
        )
        deterministic = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        cudnn = torch.backends.cudnn
        mark["kernels"] = (
            *deterministic,
            cudnn.benchmark,
            cudnn.deterministic,
            cudnn.enabled,
            cudnn.allow_tf32,
        )
        mark["threads"] = torch.get_num_threads(), torch.get_float32_matmul_precision()
        mark["filters"] = id(warnings.filters), list(warnings.filters)
        for name, hooks in vars(modules).items():
            if name.startswith("_global_"):
                mark[name] = id(hooks), list(hooks.items()) if isinstance(hooks, dict) else hooks


def plain(tensor: torch.Tensor) -> np.ndarray:
    """The bytes of a tensor."""
    tensor = tensor.data
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    return (
        tensor.clone().cpu().reshape(-1).view(torch.uint8).numpy()
    )  # the storage of what numpy shares is no more resizable


def digest(array: np.ndarray) -> str:
    return hashlib.blake2b(array.tobytes() + str(array.shape).encode(), digest_size=12).hexdigest()
