"""What several processes need and only one of them should make."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class Once:
    """Bytes made by the first process that asks for them; the others wait, and read them.

    It has to be there before they fork from the one that holds it. Where they are not forked, each
    has a `Once` of its own.
    """

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._lock = _lock()
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  open as long as somebody may ask

    def get(self) -> bytes:
        """The bytes. What making them raises is raised in each process."""
        with self._lock:
            self._file.seek(0)  # forked processes share one position in the file
            data = self._file.read()
            if not data:
                data = self._make()
                self._file.write(data)
        return data


def _lock() -> nullcontext[None]:
    """A lock for processes; none where the system has none, since there processes cannot share work."""
    import multiprocessing

    try:
        return cast("nullcontext[None]", multiprocessing.Lock())
    except (ImportError, OSError):
        return nullcontext()
