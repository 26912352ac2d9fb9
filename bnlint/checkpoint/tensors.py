"""A tensor of a file: its shape and type are known, its numbers are read when they are asked for."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from bnlint.checkpoint.errors import CheckpointError

LARGEST: Final = 1 << 20
"""Elements of a tensor whose numbers are read: BatchNorm has one for each channel."""

FORMATS: Final = {
    "float64": "d",
    "float32": "f",
    "float16": "e",
    "int64": "q",
    "int32": "i",
    "int16": "h",
    "int8": "b",
    "uint8": "B",
    "bool": "?",
}
"""How `struct` calls the types of torch; bfloat16 is the upper half of a float32."""

SIZES: Final = {
    **{dtype: struct.calcsize(f"<{letter}") for dtype, letter in FORMATS.items()},
    "bfloat16": 2,
    "complex32": 4,
    "complex64": 8,
    "complex128": 16,
}
"""Bytes of an element."""

Read = Callable[[int, int], bytes]
"""Gives bytes of a storage: from where on, and how many."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: `shape`, `dtype` as torch names it ("float32"), and where its numbers come from.

    `fetch` gives them as floats; None where they cannot be read (quantised, sparse, without data).
    """

    shape: tuple[int, ...]
    dtype: str = ""
    fetch: Callable[[], tuple[float, ...] | None] = lambda: None

    def numbers(self) -> tuple[float, ...]:
        """Its numbers, nothing where they are unknown. Raises `CheckpointError` where the file lacks them."""
        if len(self.shape) > 1 or math.prod(self.shape) > LARGEST:
            return ()
        try:
            return self.fetch() or ()
        except OSError as problem:
            raise CheckpointError(str(problem)) from problem


def stored(dtype: str, view: tuple[int, tuple[int, ...], tuple[int, ...]], read: Read, order: str) -> Tensor:
    """A tensor that is a view (offset, shape, strides; in elements) of a storage that `read` reads.

    `order` is "<" where bytes are little-endian, ">" where they are not.
    """
    offset, shape, strides = view
    size = SIZES.get(dtype, 0)

    def fetch() -> tuple[float, ...] | None:
        step = strides[0] if strides else 1
        number = shape[0] if shape else 1
        span = (number - 1) * step + 1
        if not size or min(number, step, offset + 1) < 1 or span > LARGEST:
            return None
        return decoded(read(offset * size, span * size), dtype, order)[::step]

    return Tensor(shape, dtype, fetch)


def decoded(data: bytes, dtype: str, order: str = "<") -> tuple[float, ...]:
    """Bytes as numbers; nothing for a type that holds no real numbers."""
    if dtype == "bfloat16":
        return _bfloats(data, order)
    if dtype not in FORMATS:
        return ()
    numbers = struct.unpack(f"{order}{len(data) // SIZES[dtype]}{FORMATS[dtype]}", data)
    return tuple(map(float, numbers))


def _bfloats(data: bytes, order: str) -> tuple[float, ...]:
    halves = struct.unpack(f"{order}{len(data) // 2}H", data)
    wide = struct.pack(f"<{len(halves)}I", *(half << 16 for half in halves))
    return struct.unpack(f"<{len(halves)}f", wide)


def of_torch(value: Any) -> Tensor | None:
    """A tensor of a program; None for what is none. Arrays count as well."""
    try:
        shape, dtype = tuple(map(int, value.shape)), str(value.dtype).removeprefix("torch.")
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None  # a lazy layer's tensor has no shape yet

    def fetch() -> tuple[float, ...] | None:
        try:
            flat = value.detach() if hasattr(value, "detach") else value
            return tuple(map(float, _flat(flat.tolist())))
        except (NotImplementedError, RuntimeError, TypeError, ValueError):
            return None  # on the meta device there is no data

    return Tensor(shape, dtype, fetch)


def _flat(numbers: Any) -> Iterator[Any]:
    if isinstance(numbers, list):
        for part in numbers:
            yield from _flat(part)
    else:
        yield numbers
