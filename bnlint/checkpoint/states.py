"""State dicts are found wherever they lie in what a file holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bnlint.checkpoint.pickled import Made
from bnlint.checkpoint.tensors import Tensor, of_torch

FEWEST: Final = 2
"""Entries from which on a mapping of tensors is a state."""


@dataclass(frozen=True, slots=True)
class State:
    """A state dict: where it lies ("ema.model", empty where it is all), and its tensors by their names."""

    path: str
    tensors: Mapping[str, Tensor]


def states_in(root: object) -> tuple[State, ...]:
    """All state dicts below a value, the outermost first; those of optimisers are none of a model's."""
    found, seen = [], {id(root)}
    todo = deque([("", root)])
    while todo:
        path, value = todo.popleft()
        tensors = dict(_tensors(value))
        if len(tensors) >= FEWEST:
            found.append(State(path, tensors))
        for name, below in _below(value):
            if id(below) not in seen and isinstance(below, (Mapping, list, tuple, Made)):
                seen.add(id(below))
                todo.append((f"{path}.{name}" if path else name, below))
    return tuple(found)


def tensor(value: object) -> Tensor | None:
    """A tensor of a file or of a program; None for what is none."""
    return value if isinstance(value, Tensor) else of_torch(value) if hasattr(value, "dtype") else None


def _tensors(value: object) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a mapping holds by name, or a module with those below it."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if isinstance(name, str) and (held := tensor(one)) is not None:
                yield name, held
    elif _is_module(value):
        yield from _of_module(value)


def _below(value: object) -> Iterator[tuple[str, object]]:
    """What a value holds, but for an optimiser's."""
    if isinstance(value, Mapping):
        if "param_groups" in value:
            return
        for key, below in value.items():
            name = str(key) if isinstance(key, (str, int)) else "?"
            if not name.startswith("optim") and name != "opt":
                yield name, below
    elif isinstance(value, (list, tuple)):
        yield from ((str(index), below) for index, below in enumerate(value))
    elif isinstance(value, Made) and not _is_module(value):
        yield from _below(value.entries)
        yield from _below(value.items)
        yield from _below(value.args)
        yield from _below(value.state)


def _is_module(value: object) -> bool:
    """Is it an nn.Module that was pickled as a whole?"""
    parts = value.state if isinstance(value, Made) else None
    return isinstance(parts, dict) and {"_parameters", "_buffers", "_modules"} <= parts.keys()


def _of_module(root: object) -> Iterator[tuple[str, Tensor]]:
    """What `state_dict()` of a pickled module would hold."""
    todo, seen = [("", root)], {id(root)}
    while todo:
        prefix, module = todo.pop()
        if not (isinstance(module, Made) and isinstance(module.state, dict)):
            continue
        hidden = module.state.get("_non_persistent_buffers_set")
        for kind in ("_parameters", "_buffers"):
            for name, one in _named(module.state.get(kind)):
                if isinstance(one, Tensor) and not (isinstance(hidden, list) and name in hidden):
                    yield prefix + name, one
        for name, below in reversed(_named(module.state.get("_modules"))):
            if id(below) not in seen:
                seen.add(id(below))
                todo.append((f"{prefix}{name}.", below))


def _named(entries: object) -> list[tuple[str, object]]:
    given = entries.items() if isinstance(entries, dict) else ()
    return [(name, value) for name, value in given if isinstance(name, str)]
