"""A bar on standard error, for runs that take longer than a moment and somebody who waits for them."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Tell = Callable[[float, str], object]
    """Takes how much is done, from 0 to 1, and what is being done."""

PATIENCE = 1.0
"""Seconds without a bar: most runs end before."""
PAUSE = 0.1
"""Seconds between two pictures."""
WIDTH = 30


class Shown:
    """How far a run has come, for whoever wants to know: call it, and close it before anything is printed.

    `with contextlib.closing(shown(progress)) as bar:` does both.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def __call__(self, done: float, doing: str) -> None:
        """Say that `done` (0 to 1) is behind us, and what comes now."""
        self._tell(done, doing)

    def close(self) -> None:
        """Nothing is left to say."""


class Bar(Shown):
    """A bar that shows itself after a moment, and goes away when it is closed."""

    def __init__(self, patience: float | None = None) -> None:
        super().__init__(self._draw)
        self._next = time.monotonic() + (PATIENCE if patience is None else patience)
        self._longest = 0

    def _draw(self, done: float, doing: str) -> None:
        """Draw it anew, if it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PAUSE
        done = min(max(done, 0.0), 1.0)
        full = round(WIDTH * done)
        parts = ("━" * full, "━" * (WIDTH - full))
        if not os.environ.get("NO_COLOR"):
            parts = (f"\x1b[32m{parts[0]}\x1b[0m", f"\x1b[90m{parts[1]}\x1b[0m")
        told = f" {done:4.0%} {doing}"
        self._write(f"{self._wiped()}{parts[0]}{parts[1]}{told}")
        self._longest = max(self._longest, WIDTH + len(told))

    def close(self) -> None:
        """Wipe it away."""
        if self._longest:
            self._write(self._wiped())
            self._longest = 0

    def _wiped(self) -> str:
        """An empty line; a notebook knows no sign for that."""
        return "\r" + " " * self._longest + "\r" if in_notebook() else "\r\x1b[K"

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def shown(progress: bool | Tell | None = None) -> Shown:  # noqa: FBT001  as the caller of `check` writes it
    """Who is told how far a run has come: nobody (False), the terminal (True), or a function.

    None is a bar for runs of more than a moment, if anybody is looking: on a terminal or in a notebook.
    Raises `TypeError` for anything else.
    """
    if progress is None:
        return Bar() if wanted() else Shown(_nobody)
    if isinstance(progress, bool):
        return Bar(patience=0.0) if progress else Shown(_nobody)
    if not callable(progress):
        raise TypeError(f"progress is True, False, None or a function, not {type(progress).__name__}")
    return Shown(progress)


def wanted(*, quiet: bool = False) -> bool:
    """Is there anybody to show it to?"""
    if quiet:
        return False
    return in_notebook() or (is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb")


def in_notebook() -> bool:
    """Does standard error end in a notebook?"""
    return type(sys.stderr).__module__.partition(".")[0] == "ipykernel"


def is_terminal(stream: Any) -> bool:
    """Is somebody looking?"""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def _nobody(_done: float, _doing: str) -> None:
    """Say nothing."""
