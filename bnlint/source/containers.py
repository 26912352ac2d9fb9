"""What lists, tuples, dicts and loaders hold, as far as it is known."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from bnlint.source import summary as ir
from bnlint.source import taken
from bnlint.source.layers import CONTAINERS
from bnlint.source.state import ENTRIES, ITEMS, MOST_ITEMS
from bnlint.source.summary import Expr
from bnlint.source.values import (
    ALWAYS,
    Args,
    ArgVal,
    Bound,
    ClassVal,
    Const,
    DictVal,
    Either,
    Entries,
    External,
    Flow,
    Func,
    Held,
    Items,
    ListVal,
    Module,
    Obj,
    Place,
    Sym,
    Taken,
    Value,
    either,
    fresh,
    unknown,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

INDEX: Final = frozenset({int, type(None)})
PASSING: Final = frozenset(
    {
        "tqdm",
        "trange",
        "track",
        "iter",
        "cycle",
        "islice",
        "cuda_prefetcher",
        "reversed",
        "sorted",
        "list",
        "tuple",
    }
)
"""Functions whose result goes over the same elements as their first argument."""


class Containers:
    """The contents of containers, their elements, and their methods."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.counted: dict[Hashable, int] = {}

    def items(self, value: Value) -> Items | None:
        """The contents of something that can be gone through; None where they are not known."""
        value = self.run.force(value)
        found: Items | None
        match value:
            case ListVal(key=key):
                found = self.run.state.get((key, ITEMS))
                return found
            case Obj(key=key):
                self.run.objects.prepare(value)
                if isinstance(value.cls, External):
                    return self.items_of_library(value, value.cls.path)
                found = self.run.state.get((key, ITEMS))
                return found
            case DictVal():
                entries = self.run.entries(value)
                place = value.place or self.run.place(ir.Span(1, 0, 1, 0))
                return Items(tuple(Held(ALWAYS, Const(k), place) for k in entries.held), entries.open)
            case Const(value=str() as text):
                place = self.run.place(ir.Span(1, 0, 1, 0))
                return Items(tuple(Held(ALWAYS, Const(c), place) for c in text[:64]))
        return None

    def items_of_library(self, obj: Obj, path: str) -> Items | None:
        """What enumerate, zip, range, tqdm and torch's containers go over."""
        name = path.rpartition(".")[2]
        args = [a.value for a in obj.args.positional()]
        if name in CONTAINERS:
            found: Items | None = self.run.state.get((obj.key, ITEMS))
            return found
        if name == "range":
            return self.range_items(obj, args)
        if name == "enumerate" and args:
            inner = self.items(args[0])
            if inner is None:
                return None
            made = [self.pair(Const(i), h) for i, h in enumerate(inner.held)]
            return Items(tuple(made), inner.open)
        if name == "zip" and args:
            columns = [self.items(a) for a in args]
            known = [c for c in columns if c is not None]
            if len(known) != len(columns):
                return None
            rows = [self.row(cells, obj.place) for cells in zip(*(c.held for c in known), strict=False)]
            return Items(tuple(rows), any(c.open for c in known))
        if name in PASSING and args:
            return self.items(args[0])
        return None

    def pair(self, index: Value, held: Held) -> Held:
        cells = (Held(ALWAYS, index, held.place), Held(ALWAYS, held.value, held.place))
        return held._replace(value=self.run.new_list("tuple", cells))

    def row(self, cells: tuple[Held, ...], place: Place) -> Held:
        guards = ALWAYS.union(*(c.guards for c in cells))
        made = self.run.new_list("tuple", tuple(c._replace(guards=ALWAYS, gap=False) for c in cells))
        return Held(guards, made, place, any(c.gap for c in cells))

    def near_end(self, items: Items, at: int) -> Value:
        """An item of a list with gaps: only what has none between itself and an end is certainly there."""
        counted = items.held[: at + 1] if at >= 0 else items.held[at:][::-1]
        exact = not any(held.gap for held in counted[:-1])
        return items.held[at].value if exact else unknown()

    def range_items(self, obj: Obj, args: list[Value]) -> Items | None:
        match args:
            case [Sym(key=(key, "len"))]:
                found: Items | None = self.run.state.get((key, ITEMS))
                return None if found is None or found.open else self.indices(found, obj.place)
        numbers = [a.value for a in args if isinstance(a, Const) and isinstance(a.value, int)]
        if not numbers or len(numbers) != len(args) or len(numbers) > 3:
            return None
        if len(numbers) == 3 and numbers[2] == 0:
            return None
        turns = range(*numbers)
        if len(turns) > MOST_ITEMS:
            return None
        return Items(tuple(Held(ALWAYS, Const(i), obj.place) for i in turns))

    def indices(self, items: Items, place: Place) -> Items:
        """`range(len(x))`, where `x` has gaps, and so have its indices."""
        return Items(tuple(Held(ALWAYS, Const(i), place, held.gap) for i, held in enumerate(items.held)))

    def element(self, source: Value, turn: int) -> Value:
        """An unknown element of something that is gone through."""
        source = self.run.force(source)
        match source:
            case Obj(cls=External(path=path)):
                name = path.rpartition(".")[2]
                args = [a.value for a in source.args.positional()]
                if name == "enumerate" and args:
                    element = self.run.element(args[0], turn)
                    return self.tuple_of(self.index(turn), element, place=source.place)
                if name == "zip":
                    return self.tuple_of(*(self.any_of(a, turn) for a in args), place=source.place)
                if name in PASSING and args:
                    return self.any_of(args[0], turn)
                if name == "range":
                    return self.index(turn)
                if name in CONTAINERS:
                    return self.held_at(source, turn) or Sym(fresh(), "batch", source=source)
                return Sym(fresh(), "batch", source=source)
            case Obj():
                self.run.loaders.gone_through(source)
                return Sym(fresh(), "batch", source=source)
            case Sym():
                return Sym(fresh(), "element", source=source.source or source)
            case Flow():
                return Flow("reshape", "[]", (source,), source.place)
            case Either():
                return either((g, self.element(v, turn)) for g, v in source.alternatives)
            case ListVal() | DictVal():
                return self.held_at(source, turn) or unknown("element")
            case Taken():
                return Taken(source.model, source.what, source.place, fresh=source.fresh, time=source.time)
        return unknown("element")

    def index(self, turn: int) -> Sym:
        """What a loop counts by, in one of its turns: another number in each."""
        index = self.run.numbers.index()
        self.counted[index.key] = turn
        return index

    def held_at(self, source: Value, turn: int) -> Value | None:
        """The item for a turn of a loop over something that may hold more; no item is there twice."""
        items = self.items(source)
        return items.held[turn].value if items is not None and turn < len(items.held) else None

    def any_of(self, source: Value, turn: int) -> Value:
        return self.held_at(source, turn) or self.element(source, turn)

    def tuple_of(self, *values: Value, place: Place) -> Value:
        return self.run.new_list("tuple", tuple(Held(ALWAYS, v, place) for v in values))

    def part(self, value: Value, at: int) -> Value:
        """One of several values that something unknown is unpacked into."""
        value = self.run.force(value)
        match value:
            case Flow():
                return Flow("reshape", f"[{at}]", (value,), value.place)
            case Sym(key=key):
                return Sym((key, f"[{at}]"), value.name, source=value.source)
            case Either():
                return either((g, self.part(v, at)) for g, v in value.alternatives)
            case ListVal():
                items = self.items(value)
                if items is not None and at < len(items.held) and not items.open:
                    return items.held[at].value
            case Taken():
                return taken.one_of(value)
        return unknown()

    def item(self, base: Value, index_node: Expr) -> Value:
        """`base[index]`"""
        run = self.run
        base = run.force(base)
        if isinstance(index_node, ir.Slice):
            return self.sliced(base, index_node)
        index = run.force(run.eval(index_node))
        match base, index:
            case Either(), _:
                return either((g, self.item_at(v, index)) for g, v in base.alternatives)
        return self.item_at(base, index)

    def item_at(self, base: Value, index: Value) -> Value:
        run = self.run
        match base, index:
            case DictVal(), Const(value=str() | int() as name):
                entries = run.entries(base)
                return entries.held.get(name) or Sym((base.key, name), str(name))
            case DictVal(), _:
                entries = run.entries(base)
                if entries.held and not entries.open:
                    asked = run.operators.key(index)
                    ways = [((("==", asked, k), True), v) for k, v in entries.held.items()]
                    return either((frozenset({way}), v) for way, v in ways)
                return unknown()
            case ((ListVal() | Obj()), Const(value=int() as at)):
                items = self.items(base)
                if items is not None and not items.open and -len(items.held) <= at < len(items.held):
                    found = items.held[at].value
                    return found if items.whole or isinstance(found, Obj) else self.near_end(items, at)
                if isinstance(base, Obj):
                    return self.stored(base.key, at, None)
                return unknown()
            case Obj(cls=ClassVal() as cls), Const(value=str()):
                getter = run.objects.find(cls, "__getitem__")
                place = run.place(run.assigning)
                if isinstance(getter, Func) and run.state.get((base.key, f"[{index.value}]")) is None:
                    return run.run(getter, Args((ArgVal(None, index, place),)), base, place)
                return self.some_item(base)
            case ((ListVal() | Obj()), Sym(key=key)) if key in self.counted:
                return self.alike_at(base, self.counted[key]) or self.some_item(base)
            case ((ListVal() | Obj()), _):
                return self.some_item(base)
            case Sym(), Const(value=str() | int() as name):
                return self.stored(base.key, name, base.source)
            case Sym(), _:
                return Sym((base.key, "[]", self.run.operators.key(index)), base.name, source=base.source)
            case Flow(), Const(value=str() | int() as name):
                return Flow("reshape", f"[{name}]", (base,), base.place)
            case Flow(), _:
                return Flow("reshape", "[]", (base,), base.place)
            case Bound(base=Module() as module, name="__dict__"), Const(value=str() as name):
                return run.objects.attribute(module, name)
            case Taken(), _:
                return taken.one_of(base)
        return unknown()

    def alike_at(self, base: ListVal | Obj, turn: int) -> Value | None:
        """One of several layers of a kind, another one in each turn: which ones does not matter then."""
        items = self.items(base)
        held = [h.value for h in items.held] if items is not None else []
        kinds = {id(v.cls) if isinstance(v.cls, ClassVal) else v.cls.path for v in held if isinstance(v, Obj)}
        alike = len(kinds) == 1 and all(isinstance(v, Obj) for v in held)
        return held[turn] if alike and turn < len(held) else None

    def some_item(self, base: ListVal | Obj) -> Value:
        """An item at an unknown index: any of them where they are few, the first where they are alike."""
        items = self.items(base)
        if items is not None and items.held and len(items.held) <= 3:
            ask = fresh()
            return either((frozenset({(("at", ask, i), True)}), h.value) for i, h in enumerate(items.held))
        return unknown()

    def stored(self, key: object, name: object, source: Value | None) -> Value:
        found: Value | None = self.run.state.get((key, f"[{name}]"))
        return found or Sym((key, f"[{name}]"), str(name), source=source)

    def sliced(self, base: Value, node: ir.Slice) -> Value:
        run = self.run
        bounds = [None if part is None else run.eval(part) for part in (node.lower, node.upper, node.step)]
        match base:
            case ListVal() | Obj():
                items = self.items(base)
                known = [b.value if isinstance(b, Const) else None for b in bounds]
                is_known = all(b is None or (isinstance(b, Const) and type(b.value) in INDEX) for b in bounds)
                if items is None or not items.whole or not is_known:
                    return self.sliced_unknown(base, items)
                held = items.held[slice(*known)]
                return run.new_list("list", held, items.held[0].place if items.held else None)
            case Flow():
                return Flow("reshape", "[:]", (base,), base.place)
            case Sym():
                return Sym(
                    (base.key, "[:]", *(0 if b is None else self.run.operators.key(b) for b in bounds)),
                    base.name,
                    source=base.source,
                )
        return unknown()

    def sliced_unknown(self, base: ListVal | Obj, items: Items | None) -> Value:
        if isinstance(base, Obj):
            return Sym((base.key, "[:]"), base.name)
        return self.run.new_list("list", items.held if items else (), base.place, open=True)

    def list_method(self, base: ListVal, name: str, args: Args) -> Value:
        run = self.run
        first = args.get(0)
        if name == "append" and first is not None:
            run.append(base.key, run.objects.element(first.value, first.place))
        elif name in {"extend", "__iadd__"} and first is not None:
            run.extend(base, first.value)
        elif name == "insert" and len(args.items) > 1:
            self.insert(base, args)
        elif name in {"pop", "remove", "clear", "reverse", "sort"}:
            return self.shrink(base, name, args)
        elif name == "index":
            return unknown()
        elif name == "copy":
            items = self.items(base) or Items()
            return run.new_list(base.kind, items.held, base.place, open=items.open)
        return Const(None)

    def insert(self, base: ListVal, args: Args) -> None:
        items = self.items(base) or Items()
        at, added = args.items[0].value, args.items[1]
        held = self.run.objects.element(added.value, added.place)
        if isinstance(at, Const) and isinstance(at.value, int):
            new = list(items.held)
            new.insert(at.value, held)
            self.run.state.set((base.key, ITEMS), Items(tuple(new), items.open))
        else:
            self.run.state.set((base.key, ITEMS), Items(items.held, open=True))

    def shrink(self, base: ListVal, name: str, args: Args) -> Value:
        items = self.items(base) or Items((), open=True)
        at = args.value(0)
        if name == "pop" and items.held and not items.open and (at is None or isinstance(at, Const)):
            index = -1 if at is None or not isinstance(at, Const) else at.value
            held = list(items.held)
            if isinstance(index, int) and -len(held) <= index < len(held):
                gone = held.pop(index)
                self.run.state.set((base.key, ITEMS), Items(tuple(held)))
                return gone.value
        self.run.state.set((base.key, ITEMS), Items((), open=True))
        return unknown()

    def dict_method(self, base: DictVal, name: str, args: Args, place: Place) -> Value:
        run = self.run
        entries = run.entries(base)
        first = args.value(0)
        if name in {"get", "pop", "setdefault"} and isinstance(first, Const):
            found = entries.held.get(first.value)
            if found is None:
                found = Sym((base.key, first.value), str(first.value)) if entries.open else args.value(1)
            found = found or Const(None)
            if name != "get":
                self.keep(base, entries, first.value, found if name == "setdefault" else None)
            return found
        if name in {"items", "values", "keys"}:
            made = self.dict_view(entries, name, place)
            if isinstance(made, ListVal) and run.configs.is_from_file(base):
                run.configs.from_files.add(made.key)
            return made
        if name == "update" and args.items:
            self.update(base, entries, args)
            return Const(None)
        if name == "copy":
            return run.new_dict(dict(entries.held), base.place, open=entries.open)
        return unknown()

    def keep(self, base: DictVal, entries: Entries, key: object, value: Value | None) -> None:
        """A dict has an entry from now on, or none."""
        held = {k: v for k, v in entries.held.items() if k != key}
        if value is not None:
            held[key] = value
        self.run.state.set((base.key, ENTRIES), Entries(held, entries.open))

    def dict_view(self, entries: Entries, name: str, place: Place) -> Value:
        held: list[Held] = []
        for key, value in entries.held.items():
            cell: Value = Const(key) if name == "keys" else value
            if name == "items":
                cell = self.tuple_of(Const(key), value, place=place)
            held.append(Held(ALWAYS, cell, place))
        return self.run.new_list("list", tuple(held), place, open=entries.open)

    def update(self, base: DictVal, entries: Entries, args: Args) -> None:
        more = self.run.library.handle_dict(args, base.place or args.items[0].place)
        if isinstance(more, DictVal):
            new = self.run.entries(more)
            held = self.run.configs.overwritten(entries.held) if new.open else entries.held
            self.run.state.set((base.key, ENTRIES), Entries({**held, **new.held}, entries.open or new.open))
        else:
            left = self.run.configs.overwritten(entries.held)
            self.run.state.set((base.key, ENTRIES), Entries(left, open=True))
        self.run.configs.wrote(base)
