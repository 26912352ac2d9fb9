"""What a checkpoint holds, whatever wrote it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bnlint.checkpoint import archive, kinds, legacy, safe, sharded
from bnlint.checkpoint.foreign import Harm, harm
from bnlint.checkpoint.pickled import Read
from bnlint.checkpoint.states import State, states_in
from bnlint.checkpoint.tensors import Tensor

PART: Final = re.compile(r"-\d{5}-of-\d{5}\.\w+$")
"""How the name of a file ends that is one of several."""
NAMED: Final = 3
"""Names of foreign objects that are told."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The state dicts of a checkpoint, and a line for each thing in it that could not be looked at.

    `filename` is where it lies, absolute, and `path` as it was given; `held` is how findings call it
    ("`best.pt`"). `whole` is false for one file of several: what is not in it may be in another one.
    """

    filename: str
    path: str
    held: str
    states: tuple[State, ...]
    skipped: tuple[str, ...] = ()
    whole: bool = True


def read(path: str | os.PathLike[str]) -> Contents:
    """Inspect a file; nothing in it is executed, and tensors are not read. Raises `CheckpointError`."""
    path = os.fspath(path)
    name = os.path.basename(path)
    states, skipped = _states(path)
    return Contents(os.path.abspath(path), path, f"`{name}`", states, skipped, whole=not PART.search(name))


def contents_of(state: Mapping[str, object] | str | os.PathLike[str]) -> Contents:
    """What a state dict of a program, or a file, holds. Raises `CheckpointError`; `TypeError` for neither."""
    if isinstance(state, Mapping):
        return Contents("<state_dict>", "state dict", "the state dict", states_in(state))
    if isinstance(state, (str, os.PathLike)):
        return read(state)
    raise TypeError(f"a state dict or a path was expected, not {type(state).__name__}")


def _states(path: str) -> tuple[tuple[State, ...], tuple[str, ...]]:
    match kinds.kind(path):
        case "safetensors":
            return states_in(safe.read(path)), ()
        case "index":
            return _joined(path)
        case "zip":
            found = archive.read(path)
        case "legacy":
            found = legacy.read(path)
    return states_in(found.value), tuple(_told(path, found))


def _joined(path: str) -> tuple[tuple[State, ...], tuple[str, ...]]:
    """The one state that the parts of a sharded checkpoint make up."""
    tensors: dict[str, Tensor] = {}
    skipped: list[str] = []
    for part in sorted(set(sharded.weight_map(path).values())):
        states, told = _states(part)
        skipped += told
        for state in states:
            tensors.update(state.tensors)
    return states_in(tensors), tuple(skipped)


def _told(path: str, found: Read) -> list[str]:
    """A line for each name that is dangerous, and one for all classes of somebody's own."""
    names: dict[Harm, list[str]] = {"none": [], "unknown": [], "danger": []}
    for name in found.called:
        names[harm(name)].append(name)
    lines = [
        f"{path}: `{name}` is called when this file is unpickled: do not load it" for name in names["danger"]
    ]
    if unknown := names["unknown"]:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        shown = ", ".join(f"`{name}`" for name in unknown[:NAMED])
        lines.append(f"{path}: {shown}{more} would be imported and called when this file is unpickled")
    return lines
