"""The state of an interpreted program: variables, attributes, contents and modes, in layers.

A branch writes into a layer of its own; where branches meet, their layers are joined. The cost of a
join is what the branches wrote, however large the program's state is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from bnlint.facts import Mode
from bnlint.source.summary import Span
from bnlint.source.values import ALWAYS, Entries, Guards, Items, Place, Value, contradicts, either

Key: TypeAlias = tuple[Hashable, str]
"""A scope or an instance, and a name in it."""

Turn: TypeAlias = tuple[tuple[Span, int], ...]
"""The loops that are running, outermost first, and which turn of each it is."""

MODE = "#mode"
ITEMS = "#items"
ENTRIES = "#entries"
PARENTS = "#parents"

MOST_AROUND = 64
"""Modules around a module that are looked at."""
MOST_MODES = 6
MOST_ITEMS = 96
"""What a longer list holds is not followed."""


class SetAt(NamedTuple):
    """A mode, and what set it; `call` is the chain of calls that led there."""

    mode: Mode
    place: Place
    how: str
    purpose: str
    turn: Turn
    guards: Guards = ALWAYS


NOT_SET = SetAt("unknown", Place("", Span(1, 0, 1, 0)), "", "", ())
"""The mode of something that came from elsewhere."""


class ModeRecord(NamedTuple):
    """The modes that an object can be in since `time`."""

    time: int
    modes: tuple[SetAt, ...]


class State:
    """One layer of the state.

    Only the newest layer is written, and the root: so what was empty when a layer began stays so, and
    need not be looked into. What no layer but the root ever held is looked for there alone.
    """

    __slots__ = ("data", "guards", "layered", "next", "parent", "root")

    def __init__(self, parent: State | None = None, guards: Guards = ALWAYS) -> None:
        self.parent = parent
        self.data: dict[Key, Any] = {}
        self.guards: Guards
        self.root: dict[Key, Any]
        self.layered: set[Key]
        self.next: State | None
        if parent is None:
            self.guards, self.root, self.layered, self.next = guards, self.data, set(), None
            return
        self.guards = parent.guards | guards if guards else parent.guards
        self.root = parent.root
        self.layered = parent.layered
        self.next = parent if parent.data or parent.parent is None else parent.next

    def get(self, key: Key) -> Any:
        """What is known under a key, None where nothing is."""
        if key not in self.layered:
            return self.root.get(key)
        layer: State | None = self
        while layer is not None:
            found = layer.data.get(key)
            if found is not None:
                return found
            layer = layer.next
        return None

    def set(self, key: Key, value: Any) -> None:
        """Write in this layer. Whoever copies what a layer holds into another need not ask for this."""
        self.data[key] = value
        if self.parent is not None:
            self.layered.add(key)

    def written_since(self, base: State) -> dict[Key, Any]:
        """Everything written in the layers above `base`, newest first."""
        layers: list[dict[Key, Any]] = []
        layer: State | None = self
        while layer is not None and layer is not base:
            layers.append(layer.data)
            layer = layer.parent
        if len(layers) == 1:
            return layers[0]
        merged: dict[Key, Any] = {}
        for data in reversed(layers):
            merged.update(data)
        return merged


class Arm(NamedTuple):
    """What one way through a branch wrote, and the conditions of that way."""

    guards: Guards
    written: dict[Key, Any]


def join(base: State, arms: Sequence[Arm]) -> None:
    """Continue in `base` after one of several ways was taken."""
    if len(arms) == 1:
        base.data.update(arms[0].written)
        return
    keys: dict[Key, None] = {}
    for _, written in arms:
        keys.update(dict.fromkeys(written))
    get, data = base.get, base.data
    for key in keys:
        before = get(key)
        found = [(guards, written.get(key, before)) for guards, written in arms]
        data[key] = JOINS.get(key[1], join_values)(before, found)


def join_values(_before: Any, found: Iterable[tuple[Guards, Value | None]]) -> Value:
    return either([way for way in found if way[1] is not None])  # type: ignore[misc]


def join_items(before: Items | None, found: Sequence[tuple[Guards, Items | None]]) -> Items:
    """Ways that append to one list: each adds its items under its own conditions."""
    shared = () if before is None else before.held
    held = list(shared)
    is_open = False
    for guards, items in found:
        if items is None or items is before:
            continue
        is_open |= items.open
        if items.held[: len(shared)] != shared:
            return Items(items.held, open=True)
        if len(held) > MOST_ITEMS:
            return Items(shared, open=True)
        for item in items.held[len(shared) :]:
            held.append(item._replace(guards=item.guards | guards))
    return Items(tuple(held), is_open or (before is not None and before.open))


def join_entries(_before: Any, found: Sequence[tuple[Guards, Entries | None]]) -> Entries:
    names: dict[Any, list[tuple[Guards, Value]]] = {}
    is_open = False
    for guards, entries in found:
        if entries is None:
            continue
        is_open |= entries.open
        for name, value in entries.held.items():
            names.setdefault(name, []).append((guards, value))
    return Entries({name: either(parts) for name, parts in names.items()}, is_open)


def join_modes(_before: Any, found: Sequence[tuple[Guards, ModeRecord | None]]) -> ModeRecord:
    """Ways that left an object in different modes: it can be in any of them.

    A mode that not every way left holds where one of those held that did.
    """
    ways: dict[SetAt, list[Guards]] = {}
    time = 0
    restored = any(way and is_training_flag(key) for guards, _ in found for key, way in guards)
    for guards, record in found:
        for mode in (NOT_SET,) if restored or record is None else record.modes:
            if not contradicts(mode.guards, guards):
                ways.setdefault(mode, []).append(guards)
        if record is not None:
            time = max(time, record.time)
    modes = dict.fromkeys(
        mode if len(left) == len(found) else mode._replace(guards=mode.guards | shared(left))
        for mode, left in ways.items()
    )
    if len(modes) > MOST_MODES:  # none of the three is cut off
        first = {m.mode: m for m in reversed(modes)}
        modes = dict.fromkeys((*first.values(), *modes))
    return ModeRecord(time, tuple(modes)[:MOST_MODES] or (NOT_SET,))


def shared(ways: Sequence[Guards]) -> Guards:
    """The conditions that hold on each of several ways."""
    return frozenset.intersection(*ways)


def is_training_flag(key: object) -> bool:
    """Whether a condition asks for `model.training`: such a branch restores a mode."""
    return isinstance(key, tuple) and key[0] == "training"


def join_parents(_before: Any, found: Sequence[tuple[Guards, Any]]) -> Any:
    return frozenset().union(*(parents for _, parents in found if parents is not None))


JOINS: dict[str, Any] = {
    MODE: join_modes,
    ITEMS: join_items,
    ENTRIES: join_entries,
    PARENTS: join_parents,
}


def around(state: State, key: Hashable) -> Iterator[Hashable]:
    """A module and those that it is part of; what is not known is around its attributes."""
    pending = [key]
    seen: set[Hashable] = set()
    while pending and len(seen) < MOST_AROUND:
        key = pending.pop()
        if key not in seen:
            seen.add(key)
            yield key
            pending.extend(state.get((key, PARENTS)) or ())
            if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], str):
                pending.append(key[0])
