"""Writing a file such that nobody ever reads half of it."""

from __future__ import annotations

import os


def write(target: str | os.PathLike[str], data: bytes) -> None:
    """Replace a file at once, also one that a link leads to; a device, a pipe or a stream is written to."""
    is_stream = os.fspath(target).startswith(("/dev/", "/proc/"))  # and behind it is somebody's open file
    if is_stream or (os.path.exists(target) and not os.path.isfile(target)):
        with open(target, "ab") as stream:
            stream.write(data)
        return
    target = os.path.realpath(target)
    beside = f"{target}.{os.getpid()}.part"
    try:
        with open(beside, "xb") as stream:
            stream.write(data)
        os.replace(beside, target)
    finally:
        if os.path.exists(beside):
            os.unlink(beside)
