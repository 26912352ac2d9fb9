"""Files of safetensors: a table of tensors in JSON, and behind it their bytes."""

from __future__ import annotations

import json
import os
from typing import Any, Final

from bnlint.checkpoint.errors import CheckpointError
from bnlint.checkpoint.tensors import Tensor, stored

LENGTH: Final = 8
"""Bytes that say how long the table is."""
LONGEST: Final = 100_000_000
"""Bytes of the longest table that the format allows."""
TYPES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
"""What torch calls the types."""


def is_one(start: bytes, size: int) -> bool:
    """Does a file of `size` bytes that starts so look like one?"""
    length = int.from_bytes(start[:LENGTH], "little")
    return start[LENGTH : LENGTH + 1] == b"{" and 0 < length <= LONGEST and bool(size)


def read(path: str) -> dict[str, Tensor]:
    """Its tensors by name. Raises `CheckpointError`."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(LENGTH), "little")
        if length > min(LONGEST, size - LENGTH):
            raise CheckpointError(f"{path}: cut off at byte {size}, in its table; copy or download it again")
        text = file.read(length)
    try:
        table = json.loads(text)
        entries = [(name, _entry(entry)) for name, entry in table.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise CheckpointError(f"{path}: damaged: the table of its tensors makes no sense") from problem
    if any(end > size - LENGTH - length for _, (_, _, _, end) in entries):
        raise CheckpointError(f"{path}: cut off at byte {size}, in its tensors; copy or download it again")
    return {name: _tensor(path, LENGTH + length, entry) for name, entry in entries}


Entry = tuple[str, tuple[int, ...], int, int]
"""Type, shape, and where the bytes begin and end behind the table."""


def _entry(entry: Any) -> Entry:
    shape = tuple(map(int, entry["shape"]))
    begin, end = map(int, entry["data_offsets"])
    if begin < 0 or end < begin or any(size < 0 for size in shape):
        raise ValueError("negative sizes")
    return TYPES.get(entry["dtype"], entry["dtype"]), shape, begin, end


def _tensor(path: str, base: int, entry: Entry) -> Tensor:
    dtype, shape, begin, end = entry

    def part(start: int, size: int) -> bytes:
        if start + size > end - begin:
            raise CheckpointError(f"{path}: damaged: a tensor is larger than its bytes")
        with open(path, "rb") as file:
            file.seek(base + begin + start)
            return file.read(size)

    return stored(dtype, (0, shape, (1,)), part, "<")
