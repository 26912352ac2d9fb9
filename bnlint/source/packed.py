"""Facts and findings as plain values of JSON, and back.

What is read back is made of these classes only: a file that somebody else has written can at worst be
wrong, and runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from bnlint import facts, finding

SCALARS = (str, int, float, bool, type(None))


class CannotPack(Exception):  # noqa: N818  a value that is no plain one, which is then not kept
    """A value that JSON cannot say."""


def pack(value: object) -> Any:
    """A value as JSON has it: containers become lists that begin with what they are."""
    match value:
        case facts.UNKNOWN:
            return ["unknown"]
        case str() | int() | float() | None:
            return value
        case tuple():
            return ["tuple", *map(pack, value)]
        case frozenset():
            return ["set", *sorted(map(pack, value))]
        case Mapping():
            return ["map", *([pack(key), pack(item)] for key, item in value.items())]
    if type(value).__name__ in classes():
        return [type(value).__name__, *(pack(getattr(value, one.name)) for one in fields(value))]  # type: ignore[arg-type]
    raise CannotPack(repr(value))


def unpack(value: Any) -> Any:
    """The value again. Raises `ValueError`, `TypeError`, `KeyError` or `IndexError` for anything else."""
    if isinstance(value, SCALARS):
        return value
    kind, *items = value
    if kind == "unknown":
        return facts.UNKNOWN
    if kind == "tuple":
        return tuple(map(unpack, items))
    if kind == "set":
        return frozenset(map(unpack, items))
    if kind == "map":
        return {unpack(key): unpack(item) for key, item in items}
    return classes()[kind](*map(unpack, items))


@cache
def classes() -> dict[str, Any]:
    """The classes of facts and findings, by name."""
    found = (item for module in (facts, finding) for item in vars(module).values())
    return {item.__name__: item for item in found if isinstance(item, type) and is_dataclass(item)}
