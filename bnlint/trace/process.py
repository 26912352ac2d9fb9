"""What the whole process shares and a forward can change: random numbers, modes of torch, global hooks."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch.backends import cudnn
from torch.nn.modules import module as modules

from bnlint.trace.containers import Undo, keep_dict

Read = Callable[[], Any]
Write = Callable[..., object]


def _autocast(device: str) -> tuple[Read, Write]:
    """Whether autocast is on for a device type, and to which type it casts."""
    if hasattr(torch, "get_autocast_dtype"):
        return partial(_read_autocast, device), partial(_write_autocast, device)
    enabled, kind = ("autocast_cpu", "autocast_cpu") if device == "cpu" else ("autocast", "autocast_gpu")
    names = f"is_{enabled}_enabled", f"get_{kind}_dtype", f"set_{enabled}_enabled", f"set_{kind}_dtype"
    old = [getattr(torch, name) for name in names]  # torch before 2.4
    return lambda: (old[0](), old[1]()), lambda state: (old[2](state[0]), old[3](state[1]))


def _read_autocast(device: str) -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)


def _write_autocast(device: str, state: tuple[bool, torch.dtype]) -> None:
    torch.set_autocast_enabled(device, state[0])
    torch.set_autocast_dtype(device, state[1])


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(state: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(state[0], warn_only=state[1])


def _of_cudnn() -> tuple[bool, ...]:
    return cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32


def _set_cudnn(state: tuple[bool, ...]) -> None:
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = state


def _default_device() -> torch.device | None:
    """The device that `torch.set_default_device` has set, if any."""
    threads = getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None)  # nothing public tells unset from "cpu"
    context = getattr(threads, "device_context", None)
    return None if context is None else context.device


SETTINGS: Final[tuple[tuple[Read, Write], ...]] = (
    (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    _autocast("cpu"),
    _autocast("cuda"),
    (torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    (torch.get_default_dtype, torch.set_default_dtype),
    (_default_device, torch.set_default_device),
    (_deterministic, _set_deterministic),
    (_of_cudnn, _set_cudnn),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_num_threads, torch.set_num_threads),
)
"""How each setting is read and written. It is written only where it has changed."""


def keep_process() -> list[Undo]:
    """Steps that give the process its settings, random numbers and process-wide module hooks back."""
    steps = [_setting(read, write) for read, write in SETTINGS]
    steps += _random_numbers()
    for name, value in vars(modules).items():
        if name.startswith("_global_"):
            steps.append(partial(setattr, modules, name, value))
            if isinstance(value, dict):
                steps.append(keep_dict(value))
    steps.append(torch.clear_autocast_cache)
    return steps


def _setting(read: Read, write: Write) -> Undo:
    before = read()

    def undo() -> None:
        if read() != before:
            write(before)

    return undo


def _random_numbers() -> list[Undo]:
    """The generators that everybody draws from; one that does not exist yet is not woken up."""
    states: list[tuple[Write, Any]] = [
        (random.setstate, random.getstate()),
        (torch.set_rng_state, torch.get_rng_state()),
    ]
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        states.append((numpy.random.set_state, numpy.random.get_state()))
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    if torch.backends.mps.is_available():
        states.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))
    return [partial(write, state) for write, state in states]
