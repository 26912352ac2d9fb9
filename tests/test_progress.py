"""Who is told how far a run has come, and what a bar writes."""

from __future__ import annotations

import io
import sys
from contextlib import closing

import pytest

from bnlint import progress
from bnlint.progress import Bar, shown


class Stream(io.StringIO):
    def __init__(self, *, terminal):
        super().__init__()
        self.isatty = lambda: terminal


class Kernel(Stream):
    __module__ = "ipykernel.iostream"

    def __init__(self):
        super().__init__(terminal=False)


@pytest.fixture
def stderr(monkeypatch):
    """Put a stream in the place of standard error, at once and with a bar at once."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "PAUSE", 0.0)

    def put(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return put


@pytest.mark.parametrize(
    ("asked", "stream", "bar"),
    [
        (None, Stream(terminal=True), True),
        (None, Stream(terminal=False), False),
        (None, Kernel(), True),
        (False, Stream(terminal=True), False),
        (False, Kernel(), False),
        (True, Stream(terminal=False), True),
    ],
)
def test_a_bar_is_shown_to_whoever_looks(stderr, asked, stream, bar):
    stderr(stream)
    with closing(shown(asked)) as told:
        told(0.5, "batch 1 of 2")
    assert ("batch 1 of 2" in stream.getvalue()) is bar


def test_no_bar_on_a_dumb_terminal(stderr, monkeypatch):
    stderr(Stream(terminal=True))
    monkeypatch.setenv("TERM", "dumb")
    assert not isinstance(shown(), Bar)


def test_a_function_is_told(stderr):
    stream, heard = stderr(Stream(terminal=True)), []
    with closing(shown(lambda done, doing: heard.append((done, doing)))) as told:
        told(0.0, "first")
        told(1.0, "last")
    assert heard == [(0.0, "first"), (1.0, "last")]
    assert stream.getvalue() == ""


@pytest.mark.parametrize("asked", [0, "yes", 1.0])
def test_anything_else_is_refused(asked):
    with pytest.raises(
        TypeError, match=f"progress is True, False, None or a function, not {type(asked).__name__}"
    ):
        shown(asked)


def test_a_bar_on_a_terminal(stderr):
    stream = stderr(Stream(terminal=True))
    with closing(shown()) as told:
        told(0.5, "half")
        told(2.0, "more")
    half, more = "━" * 15 + "━" * 15 + "  50% half", "━" * 30 + " 100% more"
    assert stream.getvalue() == f"\r\x1b[K{half}\r\x1b[K{more}\r\x1b[K"


def test_a_bar_in_a_notebook_is_wiped_with_spaces(stderr):
    stream = stderr(Kernel())
    with closing(shown()) as told:
        told(0.5, "a long word")
        told(1.0, "short")
    *_, last = stream.getvalue().split("\r")[:-1]
    assert last == " " * len("━" * 30 + "  50% a long word")
    assert "\x1b" not in stream.getvalue()


def test_a_short_run_writes_nothing(stderr, monkeypatch):
    stream = stderr(Stream(terminal=True))
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    with closing(shown()) as told:
        told(0.5, "half")
    assert stream.getvalue() == ""
