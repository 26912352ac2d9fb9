"""What the engine asks of files beside those that it was given: the answers decide what it finds."""

from __future__ import annotations

import hashlib
import os
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Answer = str | bool
"""The digest of a file that was read (behind it, how much of it), or whether there is a file."""


def digest(data: bytes) -> str:
    """What a content is known by."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class Disk:
    """Reads files and remembers what was asked; `contents` are given in place of what is there."""

    def __init__(self, contents: Mapping[str, bytes] = MappingProxyType({})) -> None:
        self.contents = contents
        self.asked: dict[str, Answer] = {}

    def is_file(self, path: str) -> bool:
        """Is there a file?"""
        found = path in self.contents or os.path.isfile(path)
        self.asked.setdefault(path, found)
        return found

    def read(self, path: str) -> bytes:
        """The bytes of a file. Raises `OSError`."""
        data = self.contents.get(path)
        if data is None:
            with open(path, "rb") as file:
                data = file.read()
        self.asked[path] = digest(data)
        return data

    def read_start(self, path: str, most: int) -> bytes:
        """The first bytes of a file, so many at most. Raises `OSError`."""
        data = self.contents.get(path)
        if data is None:
            with open(path, "rb") as file:
                data = file.read(most)
        self.asked[path] = f"{digest(data[:most])}/{most}"
        return data[:most]

    def again(self, path: str, answer: Answer) -> Answer:
        """What the answer to an earlier question is now. Raises `OSError`."""
        if isinstance(answer, bool):
            return self.is_file(path)
        _, _, most = answer.partition("/")
        if most:
            self.read_start(path, int(most))
        else:
            self.read(path)
        return self.asked[path]


def still_says(asked: Mapping[str, Answer]) -> bool:
    """Would the disk answer the same again?"""
    disk = Disk()
    for path, answer in asked.items():
        try:
            if disk.again(path, answer) != answer:
                return False
        except (OSError, ValueError):
            return False
    return True
