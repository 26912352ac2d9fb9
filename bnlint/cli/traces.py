"""Tracebacks of other people's code: they show none of our frames."""

from __future__ import annotations

import traceback
from pathlib import Path

import bnlint

OURS = str(Path(bnlint.__file__).parent)


def is_ours(problem: BaseException) -> bool:
    """Did bnlint raise it, to say what is wrong with what it was given?

    Its own classes do, and `TypeError` and `ValueError` where no other code was running.
    """
    if type(problem).__module__.partition(".")[0] == "bnlint":
        return True
    frames = traceback.extract_tb(problem.__traceback__)
    return isinstance(problem, (TypeError, ValueError)) and all(map(_is_our_frame, frames))


def trace(problem: BaseException) -> list[str]:
    """The traceback as Python prints it, without our own frames."""
    shown = traceback.TracebackException.from_exception(problem)
    _strip(shown)
    return list(shown.format())


def _strip(shown: traceback.TracebackException) -> None:
    """Take our frames out of a traceback, and of those that it follows from."""
    shown.stack[:] = [frame for frame in shown.stack if not _is_our_frame(frame)]
    for cause in (shown.__cause__, shown.__context__):
        if cause is not None:
            _strip(cause)


def _is_our_frame(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(OURS) or frame.filename.endswith("contextlib.py")
