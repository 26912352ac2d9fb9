"""Two processes for one list: a child takes every other item, where there are many and a processor for it.

What the child comes to is sent back whole. Whatever goes wrong with it, the parent does its part too.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

MANY = 200
"""Items from which on a second process pays."""


def divided(
    items: Sequence[Item], work: Callable[[Item], Result], told: Callable[[float], None]
) -> list[Result]:
    """The result of each item, in their order; `told` hears how much is done, from 0 to 1."""
    shared = len(items) >= MANY and can_fork()
    child = Child(items[1::2], work) if shared else None
    own = items[::2] if shared else items
    mine: list[Result] = []
    for number, item in enumerate(own):
        told(number / len(own))
        mine.append(work(item))
    if child is None:
        return mine
    others = child.results()
    if others is None:
        others = [work(item) for item in items[1::2]]
    results = [*mine, *others]
    results[::2], results[1::2] = mine, others
    return results


def can_fork() -> bool:
    """Whether there is a second processor, and nothing that a child must not inherit: other threads."""
    if sys.platform == "win32" or sys.platform == "darwin" or threading.active_count() > 1:
        return False
    return len(os.sched_getaffinity(0)) > 1


class Child(Generic[Item, Result]):
    """A process that works on some items and sends their results."""

    def __init__(self, items: Sequence[Item], work: Callable[[Item], Result]) -> None:
        self.count = len(items)
        self.pipe, sending = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:  # no room for another process
            os.close(sending)
            self.pid = -1
            return
        if self.pid == 0:
            work_and_send(items, work, self.pipe, sending)
        os.close(sending)

    def results(self) -> list[Result] | None:
        """What the child sent, when it has ended; None where that is not all."""
        with open(self.pipe, "rb") as pipe:
            sent = pipe.read()
        if self.pid < 0:
            return None
        os.waitpid(self.pid, 0)
        try:
            found: list[Result] = pickle.loads(sent)  # noqa: S301  our own child wrote it
        except Exception:  # it was ended, or what it found cannot be sent
            return None
        return found if len(found) == self.count else None


def work_and_send(items: Sequence[Item], work: Callable[[Item], object], reading: int, sending: int) -> None:
    """The whole life of a child: it never returns, and says nothing but by its pipe."""
    try:
        os.close(reading)
        with open(sending, "wb") as pipe:
            pickle.dump([work(item) for item in items], pipe, pickle.HIGHEST_PROTOCOL)
    except BaseException:  # the parent finds out, and does the work itself
        os._exit(1)
    os._exit(0)
