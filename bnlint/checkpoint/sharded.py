"""A checkpoint in several files: an index names the file in which each tensor is."""

from __future__ import annotations

import json
import os
from typing import Final

from bnlint.checkpoint.errors import CheckpointError

LONGEST: Final = 100_000_000
"""Bytes of an index that is read."""


def weight_map(path: str) -> dict[str, str]:
    """The path of the file of each tensor. Raises `CheckpointError`."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.loads(file.read(LONGEST))["weight_map"]
        named = {str(name): str(part) for name, part in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as problem:
        raise CheckpointError(
            f"{path}: JSON, but no index of a checkpoint: it has no `weight_map` from tensors to files"
        ) from problem
    folder = os.path.dirname(path)
    parts = {part: os.path.join(folder, part) for part in set(named.values())}
    for part, where in sorted(parts.items()):
        if os.path.isabs(part) or ".." in part.split("/"):
            raise CheckpointError(f"{path}: names {part}, which does not lie beside it")
        if not os.path.isfile(where):
            raise CheckpointError(f"{path}: its part {part} is missing; copy or download it as well")
    return {name: parts[part] for name, part in named.items()}
