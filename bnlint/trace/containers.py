"""Lists, dicts, sets, deques and the attributes of objects get their contents back, in place."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from operator import is_
from typing import Any, Final

Undo = Callable[[], object]
"""A step that puts one thing back as it was. A model has thousands of them, so each is a small object."""

MISSING: Final = object()
"""The value of a slot that holds none."""


def keep_dict(kept: dict[Any, Any]) -> Undo:
    """The entries of a dict and their order; what a subclass does when it is written to does not happen."""
    base: Any = OrderedDict if isinstance(kept, OrderedDict) else dict
    return partial(_refill_dict, kept, base, tuple(base.keys(kept)), tuple(base.values(kept)))


def _refill_dict(kept: dict[Any, Any], base: Any, keys: tuple[Any, ...], values: tuple[Any, ...]) -> None:
    if not (_same(keys, base.keys(kept)) and _same(values, base.values(kept))):
        base.clear(kept)
        for key, value in zip(keys, values, strict=True):
            base.__setitem__(kept, key, value)


def keep_list(kept: list[Any]) -> Undo:
    """The items of a list."""
    return partial(_refill_list, kept, tuple(kept))


def _refill_list(kept: list[Any], items: tuple[Any, ...]) -> None:
    if not _same(items, kept):
        list.__setitem__(kept, slice(None), items)


def keep_deque(kept: deque[Any]) -> Undo:
    """The items of a deque."""
    return partial(_refill_deque, kept, tuple(kept))


def _refill_deque(kept: deque[Any], items: tuple[Any, ...]) -> None:
    if not _same(items, kept):
        deque.clear(kept)
        deque.extend(kept, items)


def keep_set(kept: set[Any]) -> Undo:
    """The items of a set."""
    return partial(_refill_set, kept, frozenset(kept))


def _refill_set(kept: set[Any], items: frozenset[Any]) -> None:
    if set.__ne__(kept, items):
        set.clear(kept)
        set.update(kept, items)


def slots(thing: object) -> dict[str, Any]:
    """What an object holds in slots, by their names; `MISSING` for what is not there."""
    names = (name for cls in type(thing).__mro__ for name in _names(cls.__dict__.get("__slots__", ())))
    return {name: getattr(thing, name, MISSING) for name in names if name not in {"__dict__", "__weakref__"}}


def _names(written: Any) -> tuple[str, ...]:
    return (written,) if isinstance(written, str) else tuple(written)


def keep_slots(thing: object, held: dict[str, Any]) -> Undo:
    """What an object holds in slots; one that was empty is empty again."""
    return partial(_refill_slots, thing, held)


def _refill_slots(thing: object, held: dict[str, Any]) -> None:
    for name, value in held.items():
        if getattr(thing, name, MISSING) is value:
            continue
        if value is MISSING:
            object.__delattr__(thing, name)
        else:
            object.__setattr__(thing, name, value)


def _same(before: Any, now: Any) -> bool:
    """Are these the same objects, in the same order?"""
    return len(before) == len(now) and all(map(is_, before, now))


def put_back(steps: list[Undo]) -> list[BaseException]:
    """Undo all steps, the last one first: what was kept first has the last word. Gives what went wrong.

    The steps are gone afterwards, and the copies with them, however long an exception holds on to frames.
    """
    problems: list[BaseException] = []
    while steps:
        undo = steps.pop()
        try:
            undo()
        except BaseException as problem:
            problems.append(problem)
    return problems
