"""What several processes need and only one of them should make."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from typing import Generic, TypeVar, cast

T = TypeVar("T")


class Once(Generic[T]):
    """A value made by the first process that asks for it; the others wait, and read it.

    It has to be there before they fork from the one that holds it. Where they are not forked, each
    has a `Once` of its own.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = _lock()
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  open as long as somebody may ask
        self._value: list[T] = []

    def get(self) -> T:
        """The value. What making it raises is raised in each process."""
        if not self._value:
            with self._lock:
                self._file.seek(0)  # forked processes share one position in the file
                data = self._file.read()
                if not data:
                    data = pickle.dumps(self._make())
                    self._file.write(data)
            self._value.append(cast("T", pickle.loads(data)))  # noqa: S301  written above, by ourselves
        return self._value[0]


def _lock() -> nullcontext[None]:
    """A lock for processes; none where the system has none, since there processes cannot share work."""
    import multiprocessing

    try:
        return cast("nullcontext[None]", multiprocessing.Lock())
    except (ImportError, OSError):
        return nullcontext()
