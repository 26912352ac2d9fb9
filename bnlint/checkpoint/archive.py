"""Zip files of torch.save: a pickle, and a record for each storage, which is read where it is asked for."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO, Final

from bnlint.checkpoint import pickled
from bnlint.checkpoint.errors import CheckpointError
from bnlint.checkpoint.pickled import DamagedError, Read

LOCAL_HEADER: Final = 30
"""Bytes before the name of a record; the last four are the lengths of the two texts that follow."""
BROKEN: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, struct.error)
"""What Python's zipfile raises for files that are damaged, encrypted, or packed in a way it does not know."""


def read(path: str) -> Read:
    """What a zip file of torch holds. Raises `CheckpointError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {info.filename: info for info in archive.infolist()}
            root = _root(path, names)
            order = ">" if _text(archive, names, f"{root}byteorder") == b"big" else "<"
            records = _Records(path, root, names)
            with archive.open(f"{root}data.pkl") as stream:
                return pickled.read(stream, records.fetch, order)
    except DamagedError as problem:
        raise CheckpointError(
            f"{path}: damaged: its `data.pkl` makes no sense from byte {problem.position} on ({problem}); "
            f"copy or download it again"
        ) from problem
    except CheckpointError:
        raise
    except BROKEN as problem:
        raise CheckpointError(_broken(path, problem)) from problem


def _broken(path: str, problem: Exception) -> str:
    """A zip file keeps its table of contents at its end."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
    if "not a zip file" in str(problem):
        return (
            f"{path}: cut off: a zip file without its end, which is missing after byte {size}; "
            f"copy or download it again"
        )
    why = str(problem) or type(problem).__name__
    return f"{path}: a damaged zip file ({why}); copy or download it again"


def _root(path: str, names: dict[str, zipfile.ZipInfo]) -> str:
    """The folder in which `data.pkl` lies, with the slash."""
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("data.pkl")]
    roots = [root for root in roots if root.count("/") <= 1 and (not root or root.endswith("/"))]
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        raise CheckpointError(
            f"{path}: a TorchScript program, not a state dict: load it with `torch.jit.load`, and save its "
            f"`state_dict()`"
        )
    if len(roots) != 1:
        what = "an archive of numpy" if any(name.endswith(".npy") for name in names) else "a zip archive"
        raise CheckpointError(f"{path}: {what}, not a checkpoint of torch: it has no `data.pkl`")
    return roots[0]


def _text(archive: zipfile.ZipFile, names: dict[str, zipfile.ZipInfo], name: str) -> bytes:
    return archive.read(name).strip() if name in names and names[name].file_size < 100 else b""


class _Records:
    """Gives bytes of storages: each time the file is opened, and nothing else of it is read."""

    def __init__(self, path: str, root: str, names: dict[str, zipfile.ZipInfo]) -> None:
        self.path = path
        self.root = root
        self.names = names

    def fetch(self, key: str, start: int, size: int) -> bytes:
        """Bytes of a storage. Raises `CheckpointError` where the file does not have them."""
        info = self.names.get(f"{self.root}data/{key}")
        if info is None:
            raise CheckpointError(f"{self.path}: damaged: the record `data/{key}` is missing")
        if start + size > info.file_size:
            raise CheckpointError(
                f"{self.path}: damaged: a tensor ends at byte {start + size} of the record `data/{key}`, "
                f"which has {info.file_size}"
            )
        if info.compress_type != zipfile.ZIP_STORED:
            return self._unpacked(info, start, size)
        with open(self.path, "rb") as file:
            return _at(file, info.header_offset, start, size)

    def _unpacked(self, info: zipfile.ZipInfo, start: int, size: int) -> bytes:
        """Of a record that is compressed, which torch does not do itself."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(info) as stream:
                stream.seek(start)
                return stream.read(size)
        except BROKEN as problem:
            raise CheckpointError(_broken(self.path, problem)) from problem


def _at(file: IO[bytes], header: int, start: int, size: int) -> bytes:
    """Bytes of a record that is stored as it is, behind its local header."""
    file.seek(header + LOCAL_HEADER - 4)
    lengths = file.read(4)
    texts = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    file.seek(header + LOCAL_HEADER + texts + start)
    return file.read(size)
