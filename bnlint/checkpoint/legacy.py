"""Files of torch.save before 1.6: pickles one behind the other, and behind them the storages."""

from __future__ import annotations

from typing import IO, Final

from bnlint.checkpoint import pickled
from bnlint.checkpoint.errors import CheckpointError
from bnlint.checkpoint.pickled import DamagedError, Read
from bnlint.checkpoint.tensors import SIZES

MAGIC: Final = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number with which each of these files begins, as it is pickled."""
BEFORE: Final = 12
"""Bytes that may stand before it: the version of the pickle, and how long it is."""
COUNT: Final = 8
"""Bytes before a storage that say how many elements it has."""


def is_one(start: bytes) -> bool:
    """Does a file start like one?"""
    return start.startswith(b"\x80") and MAGIC in start[: BEFORE + len(MAGIC)]


def read(path: str) -> Read:
    """What such a file holds. Raises `CheckpointError`. Its storages are passed over, not read."""
    storages = _Storages(path)
    try:
        with open(path, "rb") as file:
            pickled.read(file, _nothing)  # the magic number
            pickled.read(file, _nothing)  # the version of the format
            order = _order(pickled.read(file, _nothing).value)
            found = pickled.read(file, storages.fetch, order)
            keys = pickled.read(file, _nothing).value
            storages.find(file, keys if isinstance(keys, list) else [], found, order)
    except DamagedError as problem:
        raise CheckpointError(
            f"{path}: cut off or damaged at byte {problem.position} ({problem}); copy or download it again"
        ) from problem
    return found


def _nothing(_key: str, _start: int, _size: int) -> bytes:
    return b""


def _order(system: object) -> str:
    return ">" if isinstance(system, dict) and system.get("little_endian") is False else "<"


class _Storages:
    """Where each storage begins and ends."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.places: dict[str, tuple[int, int]] = {}

    def find(self, file: IO[bytes], keys: list[object], found: Read, order: str) -> None:
        """Go from one to the next, from where the file stands."""
        types = {storage.key: storage.dtype for storage in found.storages}
        end = file.seek(0, 1)
        size = file.seek(0, 2)
        for key in keys:
            element = SIZES.get(types.get(str(key), ""), 0)
            file.seek(end)
            count = int.from_bytes(file.read(COUNT), "little" if order == "<" else "big")
            begin, end = end + COUNT, end + COUNT + count * element
            if not element or end > size:
                raise CheckpointError(self._cut_off(size))
            self.places[str(key)] = begin, end

    def fetch(self, key: str, start: int, size: int) -> bytes:
        """Bytes of a storage. Raises `CheckpointError` where the file does not have them."""
        begin, end = self.places.get(key, (0, 0))
        if begin + start + size > end:
            raise CheckpointError(f"{self.path}: damaged: a tensor does not fit into the storage {key}")
        with open(self.path, "rb") as file:
            file.seek(begin + start)
            return file.read(size)

    def _cut_off(self, size: int) -> str:
        return f"{self.path}: cut off at byte {size}, in the middle of its tensors; copy or download it again"
