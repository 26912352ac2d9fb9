"""Writing a report to a file."""

from __future__ import annotations

import os


def write(target: str, text: str) -> None:
    """Replace a file at once, so that nobody reads half of it; a device or a pipe is written to."""
    target = os.path.realpath(target)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
        return
    beside = f"{target}.{os.getpid()}.part"
    try:
        with open(beside, "x", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
        os.replace(beside, target)
    finally:
        if os.path.exists(beside):
            os.unlink(beside)
