"""What a file is, by how it begins: people save many things as `.pth`."""

from __future__ import annotations

import os
from typing import Final, Literal

from bnlint.checkpoint import legacy, safe
from bnlint.checkpoint.errors import CheckpointError

Kind = Literal["zip", "legacy", "safetensors", "index"]

START: Final = 512
"""Bytes that are looked at."""

SIGNS: Final = (
    (b"\x89HDF", "an HDF5 file, as Keras writes it: bnlint reads what torch and safetensors write"),
    (b"GGUF", "a GGUF file of llama.cpp, which holds no BatchNorm"),
    (b"version https://git-lfs", "a pointer of git-lfs, not the file itself: run `git lfs pull`"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"\xfd7zXZ", "compressed with xz: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"(\xb5/\xfd", "compressed with zstd: unpack it first"),
    (b"\x93NUMPY", "an array of numpy, not a state dict"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program, not a checkpoint"),
)
"""How files of other kinds begin."""

PICKLES: Final = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(d", b"(l", b"ccollections")
HINTS: Final = {
    ".onnx": "an ONNX model: bnlint reads what torch and safetensors write; inspect the model it came from",
    ".pb": "a TensorFlow graph: bnlint reads what torch and safetensors write",
    ".tflite": "a TensorFlow Lite model: bnlint reads what torch and safetensors write",
    ".msgpack": "a msgpack file of flax: bnlint reads what torch and safetensors write",
}
"""What the ending of a name says where the content says nothing."""


def kind(path: str) -> Kind:
    """Which reader a file is for. Raises `CheckpointError` for what none reads."""
    start, size = _start(path)
    if legacy.is_one(start):
        return "legacy"
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if safe.is_one(start, size):
        return "safetensors"
    if start.lstrip()[:1] == b"{" and path.endswith(".json"):
        return "index"
    raise CheckpointError(f"{path}: {_other(path, start, size)}")


def _start(path: str) -> tuple[bytes, int]:
    """The first bytes, and how many there are."""
    if os.path.isdir(path):
        raise CheckpointError(f"{path}: a folder: name a file in it, or its index (`*.index.json`)")
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise CheckpointError(f"{path}: neither a file nor a folder")
        with open(path, "rb") as file:
            return file.read(START), os.fstat(file.fileno()).st_size
    except OSError as problem:
        raise CheckpointError(f"{path}: cannot be read: {problem.strerror or problem}") from problem


def _other(path: str, start: bytes, size: int) -> str:
    """What a file is that is no checkpoint, and what to do."""
    if not start:
        return "empty: nothing was saved, or the disk was full; save it again"
    for sign, what in SIGNS:
        if start.startswith(sign):
            return what
    if size < len(legacy.MAGIC) and start.startswith((b"\x80", b"PK")):
        return f"cut off at byte {size}; copy or download it again"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, not a checkpoint: the download failed (a login, a limit or a moved address)"
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it, or load it with the torch that wrote it and save it anew"
    if start.startswith(PICKLES):
        return "a plain pickle, not written by `torch.save`: unpickling runs code, so bnlint does not read it"
    if _onnx(start):
        return HINTS[".onnx"]
    ending = os.path.splitext(path)[1].lower()
    return HINTS.get(ending, "no checkpoint that bnlint knows: neither of torch.save nor of safetensors")


def _onnx(start: bytes) -> bool:
    """A protocol buffer whose first field is a version and whose second names who made it."""
    return start[:1] == b"\x08" and start[2:3] == b"\x12" and start[4:11] == b"pytorch"
