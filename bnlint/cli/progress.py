"""A bar on standard error, for runs that take longer than a moment and somebody who waits for them."""

from __future__ import annotations

import os
import sys
import time

import click

from bnlint.cli.terminal import is_terminal

PATIENCE = 1.0
"""Seconds without a bar: most runs end before."""
PAUSE = 0.1
"""Seconds between two pictures."""
WIDTH = 30


class Bar:
    """Shows how far a run has come; call it as the engine does, and close it before anything is printed."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PATIENCE
        self._shown = False

    def __call__(self, done: float, doing: str) -> None:
        """Draw it anew, if it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PAUSE
        self._shown = True
        full = round(WIDTH * done)
        bar = click.style("━" * full, fg="green") + click.style("━" * (WIDTH - full), fg="bright_black")
        self._write(f"\r\x1b[K{bar} {done:4.0%} {doing}")

    def close(self) -> None:
        """Wipe it away."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False

    @staticmethod
    def _write(text: str) -> None:
        plain = bool(os.environ.get("NO_COLOR"))
        sys.stderr.write(_uncolored(text) if plain else text)
        sys.stderr.flush()


def wanted(*, quiet: bool) -> bool:
    """Is there anybody to show it to?"""
    return not quiet and is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"


def _uncolored(text: str) -> str:
    start, clear, rest = text.rpartition("\x1b[K")
    return start + clear + click.unstyle(rest)
