"""The checkpoints in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from bnlint.checkpoint import kinds, sharded
from bnlint.checkpoint.errors import CheckpointError

ENDINGS: Final = (".pt", ".pth", ".ckpt", ".safetensors", ".index.json")
UNSURE: Final = (".bin",)
"""Endings of checkpoints, and those that other files have as well: there the content decides."""


def checkpoints_in(folder: str) -> list[str]:
    """The paths of all checkpoints below a folder, sorted; the parts of one are in its index."""
    found = [path for path in _files(folder) if path.endswith(ENDINGS) or _is_one(path)]
    parts = {part for path in found if path.endswith(".index.json") for part in _parts(path)}
    return [path for path in found if path not in parts]


def _files(folder: str) -> Iterator[str]:
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(at, name) for name in sorted(names))


def _is_one(path: str) -> bool:
    if not path.endswith(UNSURE):
        return False
    try:
        return kinds.kind(path) in {"zip", "legacy"}
    except CheckpointError:
        return False


def _parts(index: str) -> set[str]:
    try:
        return set(sharded.weight_map(index).values())
    except CheckpointError:  # it is told when it is read
        return set()
