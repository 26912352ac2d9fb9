"""Which things hang on a model, and how each of them is kept."""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType, SimpleNamespace
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bnlint.trace.containers import Undo, keep_deque, keep_dict, keep_list, keep_set, keep_slots, slots
from bnlint.trace.generators import is_generator, keep_generator
from bnlint.trace.tensors import Storages, gradient, keep_tensor

DEPTH: Final = 4
"""How deep containers and plain objects are followed: an attribute of a module, and three levels in it."""

LARGE: Final = 10_000
"""A container of more items holds data: their order is kept; what they hold is not, modules apart."""

Kept = tuple[list[Undo], Collection[Any]]
"""The steps that put a thing back, and what hangs on it."""


@contextmanager
def unseen() -> Iterator[None]:
    """What is done to tensors inside is seen by no function mode and by no graph."""
    with torch._C.DisableTorchFunction(), torch.inference_mode(mode=False), torch.no_grad():  # noqa: SLF001  # no public way
        yield


class Keeper:
    """What was kept; `steps` put it back and are to be called from the last to the first.

    Containers and plain objects are followed `DEPTH` deep; modules and tensors that hang on them are kept
    whole.
    """

    def __init__(self) -> None:
        self.steps: list[Undo] = []
        self._seen: dict[int, object] = {}
        self._storages = Storages()
        self._ways: dict[type, Callable[[Any], Kept] | None] = {}

    def holds(self, thing: object) -> bool:
        """Is it kept already?"""
        return id(thing) in self._seen

    def keep(self, root: object) -> None:
        """Keep a thing and what hangs on it. What is kept already stays as it was kept first."""
        queue = deque([(root, 0)])
        while queue:
            thing, depth = queue.popleft()
            cls = type(thing)
            whole = issubclass(cls, (nn.Module, Tensor))
            way = self._way(cls)
            if way is None or id(thing) in self._seen or (depth > DEPTH and not whole):
                continue
            self._seen[id(thing)] = thing
            steps, parts = way(thing)
            self.steps += steps
            if len(parts) > LARGE:
                parts = [part for part in parts if issubclass(type(part), (nn.Module, nn.Parameter))]
            below = 1 if issubclass(cls, nn.Module) else depth + 1
            queue.extend((part, below) for part in parts if self._way(type(part)) is not None)

    def _way(self, cls: type) -> Callable[[Any], Kept] | None:
        """How things of a class are kept, if at all."""
        if cls not in self._ways:
            of_tensors = partial(_tensor, self._storages)
            self._ways[cls] = of_tensors if issubclass(cls, Tensor) else _way(cls)
        return self._ways[cls]


def _tensor(storages: Storages, tensor: Tensor) -> Kept:
    steps, parts = _attributes(tensor)
    return keep_tensor(tensor, storages) + steps, (gradient(tensor), *parts)


def _way(cls: type) -> Callable[[Any], Kept] | None:
    if is_generator(cls):
        return lambda generator: ([keep_generator(generator)], ())
    numpy = sys.modules.get("numpy")
    if numpy is not None and cls is numpy.ndarray:  # the numbers of a subclass may be those of a file
        return _array
    ways = (way for bases, way in WAYS if issubclass(cls, bases))
    return next(ways, _object if _plain(cls) else None)


def _plain(cls: type) -> bool:
    """Do its instances hold what a model remembers? Data sets and the insides of libraries do not."""
    if issubclass(cls, (Dataset, DataLoader, type)):
        return False
    if cls in {UserDict, UserList, SimpleNamespace, argparse.Namespace}:
        return True
    module = str(cls.__module__)
    if module.partition(".")[0] == "torch":
        return module.startswith(("torch.amp", "torch.cuda.amp", "torch.nn", "torch.optim"))
    return module.partition(".")[0] not in sys.stdlib_module_names | {"bnlint", "numpy"}


def _module(module: nn.Module) -> Kept:
    cls, held = type(module), vars(module)  # a lazy module changes its class

    def undo() -> None:
        if type(module) is not cls:
            object.__setattr__(module, "__class__", cls)

    return [keep_dict(held), undo], held.values()


def _script(module: torch.jit.ScriptModule) -> Kept:
    """A scripted module holds what it has outside of Python: its mode and its tensors are reached by name."""
    mode, attributes = getattr(module, "training", None), set(vars(module))
    own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    tensors = dict(own)

    def undo() -> None:
        if mode is not None and module.training != mode:
            module.training = mode
        for name, tensor in tensors.items():
            if getattr(module, name) is not tensor:
                setattr(module, name, tensor)
        for name in vars(module).keys() - attributes:  # torch keeps methods there that were called
            del vars(module)[name]

    return [undo], (*tensors.values(), *module.children())


def _object(thing: object) -> Kept:
    held = slots(thing)
    steps, parts = _attributes(thing)
    return [*steps, keep_slots(thing, held)], (*parts, *held.values())


def _attributes(thing: object) -> Kept:
    """What the class of a container or a tensor lets be written on it."""
    if type(thing) in {dict, OrderedDict, defaultdict}:
        return [], ()
    held = getattr(thing, "__dict__", None)
    return ([keep_dict(held)], held.values()) if isinstance(held, dict) else ([], ())


def _dict(thing: dict[Any, Any]) -> Kept:
    steps, parts = _attributes(thing)
    return [keep_dict(thing), *steps], (*dict.values(thing), *parts)


def _array(array: Any) -> Kept:
    before = array.copy()

    def undo() -> None:
        if array.flags.writeable:
            array[...] = before

    return [undo], ()


def _function(function: FunctionType) -> Kept:
    """A function may remember in what it closes over, as hooks do."""
    held = [(cell, cell.cell_contents) for cell in function.__closure__ or () if cell != CellType()]

    def undo() -> None:
        for cell, content in held:
            cell.cell_contents = content

    return [undo], [content for _, content in held]


WAYS: Final[tuple[tuple[Any, Callable[[Any], Kept]], ...]] = (
    (torch.jit.ScriptModule, _script),
    (nn.Module, _module),
    (dict, _dict),
    (list, lambda thing: ([keep_list(thing)], tuple(thing))),
    (deque, lambda thing: ([keep_deque(thing)], tuple(thing))),
    (set, lambda thing: ([keep_set(thing)], ())),
    (tuple, lambda thing: ([], thing)),
    (MethodType, lambda method: ([], (method.__self__,))),
    (partial, lambda part: ([], (part.func, part.args, part.keywords))),
    (FunctionType, _function),
)
"""How things of each class are kept; the first that fits counts."""
