"""What the interpreter knows of Python and torch: operators, containers, built-ins, tensors, loaders."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from bnlint.facts import Kind
from bnlint.source import summary as ir
from bnlint.source import taken
from bnlint.source.layers import CONTAINERS, FUNCTIONS, IN_PLACE, function_name, layer_kind, torch_name
from bnlint.source.objects import last_name
from bnlint.source.state import ENTRIES, ITEMS, MOST_ITEMS
from bnlint.source.summary import Expr
from bnlint.source.values import (
    ALWAYS,
    Args,
    Bound,
    ClassVal,
    Const,
    Context,
    DictVal,
    Either,
    Entries,
    External,
    Flow,
    Func,
    Held,
    Items,
    ListVal,
    Method,
    Module,
    Obj,
    Partial,
    Place,
    Super,
    Sym,
    Taken,
    Thunk,
    Truth,
    Value,
    alternatives,
    either,
    fresh,
    same,
    unknown,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

MOST_COPIES: Final = 3
"""`[block] * n` repeats its items this often at most: more shows nothing new."""
INDEX: Final = frozenset({int, type(None)})
LONGEST: Final = 4096
"""Longer strings and ranges are not computed."""

ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
ORDER: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
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
ALIASES: Final = frozenset(
    {
        "DataParallel",
        "DistributedDataParallel",
        "FullyShardedDataParallel",
        "compile",
        "convert_sync_batchnorm",
    }
    | {"script", "Variable", "SyncBatchNormalization", "prepare_model", "DDP", "wrap", "setup_module"}
)
"""Functions and wrappers whose result stands for their first argument."""
NO_GRAD: Final = frozenset({"no_grad", "inference_mode", "set_grad_enabled"})
MOVING: Final = frozenset(
    {
        "to",
        "cuda",
        "cpu",
        "float",
        "half",
        "double",
        "bfloat16",
        "type",
        "share_memory",
        "requires_grad_",
        "to_empty",
    }
    | {
        "xpu",
        "npu",
        "contiguous",
        "detach",
        "clone",
        "long",
        "int",
        "type_as",
        "unsqueeze",
        "squeeze",
        "permute",
    }
)
"""Methods that give back the same model, or a tensor from the same source."""


class Library:
    """Built-in knowledge, in terms of the interpreter's values."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run

    # tensors

    def flow(self, kind: Kind, name: str, args: Args, place: Place, layer: Obj | None = None) -> Flow:
        """A tensor made by an operation from the tensors among its arguments."""
        return Flow(kind, name, tuple(self.tensors(args)), place, layer)

    def tensors(self, args: Args) -> list[Value]:
        found: list[Value] = []
        for arg in args.items:
            self.tensors_in(arg.value, found, 0)
        return found

    def tensors_in(self, value: Value, found: list[Value], depth: int) -> None:
        """The tensors in a value, also in lists and dicts of them."""
        match value:
            case Flow():
                found.append(value)
            case Either():
                if any(isinstance(v, Flow) for _, v in value.alternatives):
                    found.append(value)
            case Thunk():
                self.tensors_in(self.run.force(value), found, depth)
            case ListVal() if depth < 3:
                items = self.items(value)
                for held in () if items is None else items.held:
                    self.tensors_in(held.value, found, depth + 1)
            case DictVal() if depth < 3:
                for entry in self.run.entries(value).held.values():
                    self.tensors_in(entry, found, depth + 1)

    def looks_like_input(self, args: Args) -> bool:
        """Whether something is called as a model is: with data and no plain constants in front."""
        if not args.items:
            return args.open
        first = args.items[0].value
        if isinstance(first, Const):
            return False
        return isinstance(first, Flow | Sym | Either | DictVal | ListVal | Obj | Thunk)

    def source_of(self, args: Args) -> Value | None:
        """The loader that an argument was drawn from."""
        for arg in args.items:
            found = self.source(arg.value)
            if found is not None:
                return found
        return None

    def source(self, value: Value, depth: int = 0) -> Value | None:
        match value:
            case Sym(source=source):
                return source
            case Flow(inputs=inputs) if depth < 6:
                return first_known(self.source(v, depth + 1) for v in inputs)
            case Either(alternatives=parts) if depth < 6:
                return first_known(self.source(v, depth + 1) for _, v in parts)
            case ListVal() if depth < 3:
                items = self.items(value)
                held = () if items is None else items.held
                return first_known(self.source(h.value, depth + 1) for h in held)
        return None

    def result_of(self, name: str, args: Args, place: Place) -> Value:
        """The result of something unknown: a tensor if it was given one."""
        tensors = self.tensors(args)
        if tensors:
            return Flow("unknown", name, tuple(tensors), place)
        return Sym(fresh(), name, source=self.source_of(args))

    def in_place(self, node: ir.Call, value: Value) -> None:
        """`x.relu_()` changes `x`; so does `F.relu(x, inplace=True)` whose result is dropped."""
        match node.func, value:
            case ir.Get(base=ir.Name() as target, attr=attr), Flow():
                if attr.endswith("_") and not attr.endswith("__") and attr[:-1] in IN_PLACE:
                    self.run.assign(target, value)

    # operators

    def binary(self, op: str, left: Value, right: Value, place: Place | None) -> Value:
        left, right = self.run.force(left), self.run.force(right)
        if isinstance(left, Flow) or isinstance(right, Flow) or self.is_tensor(left) or self.is_tensor(right):
            return self.tensor_operator(op, left, right, place)
        if isinstance(left, Taken) or isinstance(right, Taken):
            return (taken.scaled(left, right) if op in "*/" else None) or unknown()
        match left, right:
            case Const(value=a), Const(value=b):
                return self.compute(op, left, a, b)
            case Const(value=a), Sym(default=Const(value=b)):
                return Sym((op, a, right.key), right.name, self.constant(op, right.default, a, b))
            case Sym(default=Const(value=a)), Const(value=b):
                return Sym((left.key, op, b), left.name, self.constant(op, left.default, a, b))
            case Sym(default=Const(value=a)), Sym():
                return Sym((left.key, op, right.key), left.name, source=left.source)
            case Sym(), Const(value=int() | str() as b):
                return Sym((left.key, op, b), left.name, source=left.source)
            case Const(value=int() | str() as a), Sym():
                return Sym((op, a, right.key), right.name, source=right.source)
            case (ListVal(), ListVal()) if op == "+":
                return self.concatenate(left, right)
            case (ListVal(), _) | (_, ListVal()) if op == "*":
                return self.repeat(left, right)
            case (Either(), _) | (_, Either()):
                return self.spread(op, left, right, place)
            case (ListVal(), _) if op == "+":
                items = self.items(left) or Items()
                return self.run.new_list("list", items.held, left.place, open=True)
        source = left.source if isinstance(left, Sym) else right.source if isinstance(right, Sym) else None
        return Sym(fresh(), source=source)

    def is_tensor(self, value: Value) -> bool:
        return isinstance(value, Either) and any(isinstance(v, Flow) for _, v in value.alternatives)

    def tensor_operator(self, op: str, left: Value, right: Value, place: Place | None) -> Value:
        kind: Kind = "add" if op in "+-" else "linear" if op == "@" else "multiply"
        inputs = tuple(v for v in (left, right) if isinstance(v, Flow) or self.is_tensor(v))
        first = inputs[0]
        where = place or (first.place if isinstance(first, Flow) else Place("", ir.Span(1, 0, 1, 0)))
        return Flow(kind, op, inputs, where)

    def spread(self, op: str, left: Value, right: Value, place: Place | None) -> Value:
        """An operator on values that depend on conditions."""
        parts = [
            (g | h, self.binary(op, a, b, place))
            for g, a in alternatives(left)
            for h, b in alternatives(right)
        ]
        return either(parts)

    def compute(self, op: str, origin: Const, a: Any, b: Any) -> Value:
        found = self.constant(op, origin, a, b)
        return found if found is not None else unknown()

    def constant(self, op: str, origin: Const | None, a: Any, b: Any) -> Const | None:
        """The result of an operator on constants; None where it has none."""
        if isinstance(a, str) and op == "%":
            return None
        try:
            if op == "**":
                value = a**b if abs(b) <= 64 and abs(a) <= LONGEST else None
            else:
                value = ARITHMETIC[op](a, b)
        except (KeyError, TypeError, ArithmeticError, ValueError):
            return None
        if value is None or (isinstance(value, str | bytes | tuple) and len(value) > LONGEST):
            return None
        return Const(value, origin.place if origin else None, origin.name if origin else "")

    def concatenate(self, left: ListVal, right: ListVal) -> Value:
        a, b = self.items(left) or Items((), open=True), self.items(right) or Items((), open=True)
        return self.run.new_list(left.kind, a.held + b.held, left.place, open=a.open or b.open)

    def repeat(self, left: Value, right: Value) -> Value:
        """`[block] * n`: the very same objects, several times."""
        listed, number = (left, right) if isinstance(left, ListVal) else (right, left)
        items = self.items(listed) or Items((), open=True)
        place = listed.place if isinstance(listed, ListVal) else None
        if isinstance(number, Const) and isinstance(number.value, int):
            times = max(0, min(number.value, MOST_COPIES))
            return self.run.new_list("list", items.held * times, place, open=items.open)
        return self.run.new_list("list", items.held, place, open=True)

    def unary(self, op: str, value: Value) -> Value:
        value = self.run.force(value)
        match value:
            case Const(value=int() | float() as number) if op == "-":
                return Const(-number, value.place, value.name)
            case Flow():
                return value
        return unknown()

    def compare(self, op: str, left: Value, right: Value) -> Truth:
        left, right = self.run.force(left), self.run.force(right)
        if isinstance(left, Either) or isinstance(right, Either):
            parts = [
                (g | h, self.compare(op, a, b)) for g, a in alternatives(left) for h, b in alternatives(right)
            ]
            return self.run.truth_either(parts[:12]) if len(parts) <= 12 else Truth(None)
        if op in {"is", "is not", "==", "!="}:
            return self.compare_identity(op, left, right)
        match left, right:
            case Const(value=a), Const(value=b) if op in ORDER:
                try:
                    return Truth(bool(ORDER[op](a, b)))
                except TypeError:
                    return Truth(None)
        if op in {"in", "not in"}:
            return self.contains(left, right, wanted=op == "in")
        return self.ask((op, self.key(left), self.key(right)))

    def key(self, value: Value) -> object:
        match value:
            case Sym(key=key):
                return key
            case Const(value=constant):
                return constant if isinstance(constant, str | int | float | bool | None) else fresh()
        return fresh()

    def ask(self, key: Any, *, way: bool = True) -> Truth:
        """A condition that is not known but is itself wherever it is asked again."""
        yes, no = frozenset({(key, True)}), frozenset({(key, False)})
        return Truth(None, yes, no) if way else Truth(None, no, yes)

    def compare_identity(self, op: str, left: Value, right: Value) -> Truth:
        positive = op in {"is", "=="}
        match left, right:
            case Const(value=a), Const(value=b):
                return Truth((a == b) is positive)
            case (Sym() as sym, Const() as const) | (Const() as const, Sym() as sym):
                if isinstance(const.value, str | int | float | bool | None):
                    return self.ask(("==", sym.key, const.value), way=positive)
                return Truth(None)
            case (
                Obj() | Func() | ClassVal() | External() | ListVal() | DictVal() | Flow() | Partial(),
                Const(),
            ):
                if isinstance(right, Const) and right.value is None:
                    return Truth(not positive)
                return Truth(None)
            case (External(), External()) | (ClassVal(), ClassVal()) | (Func(), Func()):
                return Truth(same(left, right) is positive)
        if same(left, right):
            return Truth(positive)
        return Truth(None)

    def contains(self, left: Value, right: Value, *, wanted: bool) -> Truth:
        match left, right:
            case Const(value=str() as a), Const(value=str() as b):
                return Truth((a in b) is wanted)
            case Const(value=value), DictVal():
                entries = self.run.entries(right)
                if value in entries.held:
                    return Truth(wanted)
                return Truth(None) if entries.open else Truth(not wanted)
            case Const(value=value), ListVal():
                items = self.items(right)
                known = [h.value.value for h in items.held if isinstance(h.value, Const)] if items else []
                if value in known:
                    return Truth(wanted)
                if items and not items.open and len(known) == len(items.held):
                    return Truth(not wanted)
        return self.ask(("in", self.key(left), self.key(right)), way=wanted)

    def truth_of_contents(self, value: ListVal | DictVal) -> Truth:
        if isinstance(value, DictVal):
            entries = self.run.entries(value)
            return Truth(True) if entries.held else Truth(None if entries.open else False)
        items = self.items(value)
        if items is None:
            return Truth(None)
        if any(not h.guards for h in items.held):
            return Truth(True)
        return Truth(None if items.open or items.held else False)

    # containers

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
        return Held(held.guards, self.run.new_list("tuple", cells), held.place)

    def row(self, cells: tuple[Held, ...], place: Place) -> Held:
        guards = ALWAYS.union(*(c.guards for c in cells))
        return Held(
            guards, self.run.new_list("tuple", tuple(c._replace(guards=ALWAYS) for c in cells)), place
        )

    def range_items(self, obj: Obj, args: list[Value]) -> Items | None:
        numbers = [a.value for a in args if isinstance(a, Const) and isinstance(a.value, int)]
        if not numbers or len(numbers) != len(args) or len(numbers) > 3:
            return None
        if len(numbers) == 3 and numbers[2] == 0:
            return None
        turns = range(*numbers)
        if len(turns) > MOST_ITEMS:
            return None
        return Items(tuple(Held(ALWAYS, Const(i), obj.place) for i in turns))

    def element(self, source: Value, turn: int) -> Value:
        """An unknown element of something that is gone through."""
        source = self.run.force(source)
        match source:
            case Obj(cls=External(path=path)):
                name = path.rpartition(".")[2]
                args = [a.value for a in source.args.positional()]
                if name == "enumerate" and args:
                    return self.tuple_of(
                        Sym(fresh(), "index"), self.run.element(args[0], turn), place=source.place
                    )
                if name == "zip":
                    return self.tuple_of(*(self.any_of(a, turn) for a in args), place=source.place)
                if name in PASSING and args:
                    return self.any_of(args[0], turn)
                if name == "range":
                    return Sym(fresh(), "index")
                return Sym(fresh(), "batch", source=source)
            case Obj():
                return Sym(fresh(), "batch", source=source)
            case Sym():
                return Sym(fresh(), "element", source=source.source or source)
            case Flow():
                return Flow("reshape", "[]", (source,), source.place)
            case Either():
                return either((g, self.element(v, turn)) for g, v in source.alternatives)
            case ListVal() | DictVal():
                items = self.items(source)
                if items is not None and items.held:
                    return items.held[min(turn, len(items.held) - 1)].value
            case Taken():
                return Taken(source.model, source.what, source.place)
        return unknown("element")

    def any_of(self, source: Value, turn: int) -> Value:
        items = self.items(source)
        if items is not None and items.held:
            return items.held[min(turn, len(items.held) - 1)].value
        return self.element(source, turn)

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
                return value
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
                    ask = [((("key", base.key, k), True), v) for k, v in entries.held.items()]
                    return either((frozenset({g}), v) for g, v in ask)
                return unknown()
            case ((ListVal() | Obj()), Const(value=int() as at)):
                items = self.items(base)
                if items is not None and not items.open and -len(items.held) <= at < len(items.held):
                    return items.held[at].value
                if isinstance(base, Obj):
                    return self.stored(base.key, at, None)
                return unknown()
            case ((ListVal() | Obj()), _):
                return self.some_item(base)
            case Sym(), Const(value=str() | int() as name):
                return self.stored(base.key, name, base.source)
            case Sym(), _:
                return Sym((base.key, "[]", self.key(index)), base.name, source=base.source)
            case Flow(), _:
                return Flow("reshape", "[]", (base,), base.place)
            case Bound(base=Module() as module, name="__dict__"), Const(value=str() as name):
                return run.objects.attribute(module, name)
            case Taken(), _:
                return base
        return unknown()

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
                if items is None or items.open or not is_known:
                    return self.sliced_unknown(base, items)
                held = items.held[slice(*known)]
                return run.new_list("list", held, items.held[0].place if items.held else None)
            case Flow():
                return Flow("reshape", "[:]", (base,), base.place)
            case Sym():
                return Sym(
                    (base.key, "[:]", *(0 if b is None else self.key(b) for b in bounds)),
                    base.name,
                    source=base.source,
                )
        return unknown()

    def sliced_unknown(self, base: ListVal | Obj, items: Items | None) -> Value:
        if isinstance(base, Obj):
            return Sym((base.key, "[:]"), base.name)
        return self.run.new_list("list", items.held if items else (), base.place, open=True)

    # built-in functions

    def call(self, path: str, args: Args, place: Place) -> Value:
        """A call of something outside the project."""
        name = torch_name(path)
        if name in CONTAINERS:
            return self.container(path, args, place)
        if layer_kind(path) is not None:
            return self.layer(path, args, place)
        last = path.rpartition(".")[2]
        if last in ALIASES and args.items:
            return self.run.force(args.items[0].value)
        handler = HANDLERS.get(path) or HANDLERS.get(f"*.{last}")
        if handler is not None:
            return handler(self, args, place)
        function = function_name(path)
        if function is not None and function in FUNCTIONS:
            return self.function(function, args, place)
        if self.run.events.library_call(path, args, place):
            return Const(None)
        return self.other_call(path, args, place)

    def other_call(self, path: str, args: Args, place: Place) -> Value:
        last = path.rpartition(".")[2]
        if self.run.project.knows_model(path, args) or last[:1].isupper():
            obj = Obj(fresh(), External(path), args, place, ready=True)
            self.run.events.built(obj)
            return obj
        if last in PASSING:
            return Obj(fresh(), External(path), args, place, ready=True)
        self.run.events.given_away(path, args, place)
        return self.result_of(last, args, place)

    def layer(self, path: str, args: Args, place: Place) -> Value:
        obj = Obj(fresh(), External(path), args, place, ready=True)
        self.run.events.built(obj)
        return obj

    def container(self, path: str, args: Args, place: Place) -> Value:
        obj = Obj(fresh(), External(path), args, place, ready=True)
        self.run.events.built(obj)
        self.run.objects.fill_container(obj, args)
        self.run.events.assembled(obj)
        self.run.events.filled(obj)
        return obj

    def function(self, name: str, args: Args, place: Place) -> Value:
        kind = FUNCTIONS[name]
        tensors = self.tensors(args)
        if not tensors and kind != "batchnorm":
            return self.result_of(name, args, place)
        flow = Flow(
            kind, name, tuple(tensors[:1] if kind not in {"add", "concat", "multiply"} else tensors), place
        )
        if kind == "dropout":
            flow.call = args
        return flow

    def handle_range(self, args: Args, place: Place) -> Value:
        return Obj(fresh(), External("builtins.range"), args, place, ready=True)

    def handle_wrap(self, args: Args, place: Place, name: str) -> Value:
        return Obj(fresh(), External(f"builtins.{name}"), args, place, ready=True)

    def handle_len(self, args: Args, _place: Place) -> Value:
        first = args.value(0)
        items = None if first is None else self.items(first)
        if items is not None and not items.open and all(not h.guards for h in items.held):
            return Const(len(items.held))
        if isinstance(first, Sym):
            return Sym((first.key, "len"), "len")
        return unknown("len")

    def handle_list(self, args: Args, place: Place) -> Value:
        first = args.value(0)
        if first is None:
            return self.run.new_list("list", (), place)
        first = self.run.force(first)
        if isinstance(first, Taken | Sym):
            return first
        items = self.items(first)
        if items is None:
            return self.handle_wrap(args, place, "list")
        return self.run.new_list("list", items.held, place, open=items.open)

    def handle_dict(self, args: Args, place: Place) -> Value:
        held: dict[Any, Value] = {}
        is_open = args.open
        for arg in args.positional():
            inner = self.run.force(arg.value)
            if isinstance(inner, Taken):
                return inner
            if isinstance(inner, DictVal):
                entries = self.run.entries(inner)
                held.update(entries.held)
                is_open |= entries.open
            else:
                is_open |= not self.pairs_into(inner, held)
        held.update({a.name: self.run.labelled(a.value, a.name) for a in args.items if a.name})
        return self.run.new_dict(held, place, open=is_open)

    def pairs_into(self, value: Value, held: dict[Any, Value]) -> bool:
        """`OrderedDict([("conv", conv), …])`"""
        items = self.items(value)
        if items is None or items.open:
            return False
        for item in items.held:
            cells = self.items(item.value)
            if cells is None or len(cells.held) != 2 or not isinstance(cells.held[0].value, Const):
                return False
            inner = cells.held[1].value
            held[cells.held[0].value.value] = either([(item.guards, inner)]) if item.guards else inner
        return True

    def handle_isinstance(self, args: Args, _place: Place) -> Value:
        value, wanted = args.value(0), args.value(1)
        if value is None or wanted is None:
            return unknown()
        value, wanted = self.run.force(value), self.run.force(wanted)
        match value, wanted:
            case Const(value=v), External(path=path) if path.startswith("builtins."):
                return Const(type(v).__name__ == path.rpartition(".")[2])
            case (ListVal(kind=kind), External(path=path)) if path in {"builtins.list", "builtins.tuple"}:
                return Const(path == f"builtins.{kind}")
            case Func() | Method(), External(path=path) if torch_name(path) is not None:
                return Const(False)
            case Obj(cls=cls), External(path=path):
                found = any(isinstance(b, External) and b.path == path for b in self.run.objects.bases(cls))
                return Const(True) if found else unknown()
        return unknown()

    def handle_is_function(self, args: Args, _place: Place) -> Value:
        value = self.run.force(args.items[0].value) if args.items else unknown()
        return Const(True) if isinstance(value, Func | Method) else unknown()

    def handle_getattr(self, args: Args, _place: Place) -> Value:
        base, name = args.value(0), args.value(1)
        if base is None or name is None:
            return unknown()
        if isinstance(name, Const) and isinstance(name.value, str):
            return self.run.objects.attribute(base, name.value)
        return unknown()

    def handle_setattr(self, args: Args, _place: Place) -> Value:
        base, name, value = args.value(0), args.value(1), args.value(2)
        if base is not None and value is not None:
            attr = name.value if isinstance(name, Const) and isinstance(name.value, str) else f"?{fresh()}"
            self.run.objects.set_attribute(base, attr, value)
        return Const(None)

    def handle_super(self, args: Args, _place: Place) -> Value:
        frame = next(
            (f for f in reversed(self.run.frames) if f.func is not None and f.func.owner is not None), None
        )
        if frame is None or frame.func is None or frame.func.owner is None:
            return unknown("super")
        receiver = frame.self
        if len(args.items) > 1:
            owner = self.run.force(args.items[0].value)
            if isinstance(owner, ClassVal):
                return Super(args.items[1].value, owner)
        return unknown("super") if receiver is None else Super(receiver, frame.func.owner)

    def handle_partial(self, args: Args, _place: Place) -> Value:
        if not args.items:
            return unknown()
        return Partial(args.items[0].value, Args(args.items[1:], args.open))

    def handle_next(self, args: Args, _place: Place) -> Value:
        first = args.value(0)
        return unknown() if first is None else self.any_of(first, 0)

    def handle_number(self, args: Args, _place: Place) -> Value:
        first = args.value(0)
        return (
            first
            if isinstance(first, Const | Sym) and len(args.items) == 1
            else self.result_of("", args, _place)
        )

    def handle_extreme(self, args: Args, place: Place) -> Value:
        values = [a.value for a in args.positional()]
        if len(values) > 1 and all(isinstance(v, Const) and isinstance(v.value, int | float) for v in values):
            return unknown()
        return self.result_of("", args, place)

    def handle_sum(self, args: Args, place: Place) -> Value:
        tensors = self.tensors(args)
        return Flow("add", "sum", tuple(tensors), place) if tensors else unknown("sum")

    def handle_copy(self, args: Args, place: Place) -> Value:
        first = args.value(0)
        if first is None:
            return unknown()
        first = self.run.force(first)
        if isinstance(first, Obj):
            return self.run.events.copied(first, place)
        if isinstance(first, Sym):
            return Sym(fresh(), "", first.default, first.source)
        return first

    def handle_parser(self, args: Args, place: Place) -> Value:
        return Obj(fresh(), External("argparse.ArgumentParser"), args, place, ready=True)

    def handle_chain(self, args: Args, place: Place) -> Value:
        held: list[Held] = []
        for arg in args.positional():
            items = self.items(arg.value)
            if items is None or items.open:
                return self.result_of("chain", args, place)
            held.extend(items.held)
        return self.run.new_list("list", tuple(held), place)

    def handle_load(self, args: Args, place: Place) -> Value:
        obj = Obj(fresh(), External("torch.load"), args, place, ready=True)
        obj.assumed = True
        return obj

    # methods

    def method(self, base: Value, name: str, args: Args, place: Place) -> Value:
        """A method of something that the project does not define."""
        base = self.run.force(base)
        match base:
            case Flow():
                return self.tensor_method(base, name, args, place)
            case ListVal():
                return self.list_method(base, name, args)
            case DictVal():
                return self.dict_method(base, name, args, place)
            case Obj(cls=External(path=path)) if path.startswith("argparse."):
                return self.parser_method(base, name, args, place)
            case Obj() | Sym():
                return self.object_method(base, name, args, place)
            case Taken():
                return self.taken_method(base, name, args, place)
            case Partial() | Func() | Method():
                return unknown()
            case Const(value=str() as text):
                return self.text_method(text, name, args)
        return self.result_of(name, args, place)

    def text_method(self, text: str, name: str, args: Args) -> Value:
        first = args.value(0)
        if name in {"lower", "upper", "strip"} and not args.items:
            return Const(getattr(text, name)())
        if name in {"startswith", "endswith"} and isinstance(first, Const) and isinstance(first.value, str):
            return Const(getattr(text, name)(first.value))
        return unknown()

    def tensor_method(self, base: Flow, name: str, args: Args, place: Place) -> Value:
        if name == "backward":
            self.run.events.backward(base)
            return Const(None)
        if name in {"size", "dim", "item", "tolist", "argmax", "max", "min", "numel"}:
            return Flow("other", name, (base, *self.tensors(args)), place)
        plain = name.removesuffix("_")
        kind: Kind = FUNCTIONS.get(name) or FUNCTIONS.get(plain) or "unknown"
        return Flow(kind, plain, (base, *self.tensors(args)), place)

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
            if found is not None:
                return found
            default = args.value(1)
            if not entries.open:
                return default or Const(None)
            return Sym((base.key, first.value), str(first.value))
        if name in {"items", "values", "keys"}:
            return self.dict_view(entries, name, place)
        if name == "update" and args.items:
            self.update(base, entries, args)
            return Const(None)
        if name == "copy":
            return run.new_dict(dict(entries.held), base.place, open=entries.open)
        return unknown()

    def dict_view(self, entries: Entries, name: str, place: Place) -> Value:
        held: list[Held] = []
        for key, value in entries.held.items():
            cell: Value = Const(key) if name == "keys" else value
            if name == "items":
                cell = self.tuple_of(Const(key), value, place=place)
            held.append(Held(ALWAYS, cell, place))
        return self.run.new_list("list", tuple(held), place, open=entries.open)

    def update(self, base: DictVal, entries: Entries, args: Args) -> None:
        more = self.handle_dict(args, base.place or args.items[0].place)
        if isinstance(more, DictVal):
            new = self.run.entries(more)
            self.run.state.set(
                (base.key, ENTRIES), Entries({**entries.held, **new.held}, entries.open or new.open)
            )
        else:
            self.run.state.set((base.key, ENTRIES), Entries(entries.held, open=True))

    def parser_method(self, parser: Obj, name: str, args: Args, place: Place) -> Value:
        """argparse: an option is unknown and has a default."""
        key = ("options", parser.key)
        if name == "add_argument":
            self.add_option(key, args, place)
            return unknown()
        if name in {"parse_args", "parse_known_args"}:
            namespace = Sym(key, "args")
            return namespace if name == "parse_args" else self.tuple_of(namespace, unknown(), place=place)
        if name == "set_defaults":
            for arg in args.items:
                if arg.name and isinstance(arg.value, Const):
                    option = Sym((key, arg.name), arg.name, Const(arg.value.value, arg.place, arg.name))
                    self.run.state.set((key, arg.name), option)
            return Const(None)
        if name in {"add_argument_group", "add_mutually_exclusive_group"}:
            return parser
        return unknown()

    def add_option(self, key: object, args: Args, place: Place) -> None:
        names = [a.value.value for a in args.positional() if isinstance(a.value, Const)]
        flags = [n for n in names if isinstance(n, str)]
        dest = args.value(None, "dest")
        long = next((f for f in flags if f.startswith("--")), flags[0] if flags else "")
        name = (
            dest.value
            if isinstance(dest, Const) and isinstance(dest.value, str)
            else long.lstrip("-").replace("-", "_")
        )
        default = args.value(None, "default")
        action = args.value(None, "action")
        if default is None and isinstance(action, Const) and action.value == "store_true":
            default = Const(False)
        known = (
            default if isinstance(default, Const) else default.default if isinstance(default, Sym) else None
        )
        found = None if known is None else Const(known.value, place, long)
        self.run.state.set((key, name), Sym((key, name), name, found))

    def object_method(self, base: Obj | Sym, name: str, args: Args, place: Place) -> Value:
        """A method of a module, a loader, an optimizer or of something unknown."""
        run = self.run
        events = run.events
        if name in {"train", "eval"} and events.switch_call(base, name, args, place):
            return base
        if name in {"forward", "__call__", "module"} and isinstance(base, Obj | Sym) and args.items:
            return run.objects.call(base, args, place)
        if name in MOVING:
            return base
        if name in {"parameters", "named_parameters", "state_dict", "trainable_parameters"}:
            what = "state_dict" if name == "state_dict" else "parameters"
            return Taken(base, what, place)
        if name in {"buffers", "named_buffers"}:
            return Taken(base, "buffers", place)
        if name == "load_state_dict":
            return events.loaded(base, args, place)
        if name in {"append", "extend", "insert", "add_module", "register_module"} and isinstance(base, Obj):
            return self.register(base, name, args)
        if name in {"items", "values", "keys", "children", "modules", "named_children", "named_modules"}:
            return self.view(base, name, place)
        if name == "apply" and args.items:
            events.applied(base, args, place)
            return base
        if name == "backward":
            for tensor in self.tensors(args):
                events.backward(tensor)
            return Const(None)
        is_data = isinstance(base, Sym) and base.source is not None
        computes = not name.endswith("_") and not events.may_switch(name)
        if computes and not is_data and self.is_given_data(args):
            flow = self.flow("unknown", name, args, place)
            events.forward(Sym((base.key, name), f"{base.name}.{name}"), args, place, flow)
            return flow
        events.unknown_method(base, name, args, place)
        return self.method_result(base, name, args, place)

    def is_given_data(self, args: Args) -> bool:
        """Whether a method is called with tensors: of a model, it is a forward of a part."""
        return bool(args.items) and (self.source_of(args) is not None or bool(self.tensors(args)))

    def method_result(self, base: Obj | Sym, name: str, args: Args, place: Place) -> Value:
        if name in {"prepare", "setup"} and args.items:
            if len(args.items) == 1:
                return args.items[0].value
            return self.tuple_of(*(a.value for a in args.items), place=place)
        tensors = self.tensors(args)
        if tensors:
            return Flow("unknown", name, tuple(tensors), place)
        source = base.source if isinstance(base, Sym) else None
        return Sym(fresh(), name, source=source or self.source_of(args))

    def register(self, base: Obj, name: str, args: Args) -> Value:
        run = self.run
        first = args.get(0)
        second = args.get(1, "module")
        if name in {"add_module", "register_module"}:
            if second is None or first is None:
                return Const(None)
            if run.objects.is_sequential(base.cls) or run.objects.is_container(base):
                run.append(base.key, run.objects.element(second.value, second.place))
            attr = first.value.value if isinstance(first.value, Const) else f"?{fresh()}"
            run.objects.set_attribute(base, str(attr), second.value)
        elif name == "append" and first is not None:
            run.append(base.key, run.objects.element(first.value, first.place))
            run.objects.adopt(base, first.value)
        elif name == "extend" and first is not None:
            run.extend(base, first.value)
        else:
            run.state.set((base.key, ITEMS), Items((), open=True))
        return base

    def view(self, base: Obj | Sym, name: str, place: Place) -> Value:
        if isinstance(base, Obj) and name in {"children", "values"}:
            items = self.items(base)
            if items is not None:
                return self.run.new_list("list", items.held, place, open=items.open)
        part = Sym((base.key, "children"), name, source=base)
        if name in {"items", "named_children", "named_modules"}:
            pair = self.tuple_of(Sym(fresh(), "name"), part, place=place)
            return self.run.new_list("list", (Held(ALWAYS, pair, place),), place, open=True)
        return self.run.new_list("list", (Held(ALWAYS, part, place),), place, open=True)

    def taken_method(self, base: Taken, name: str, args: Args, place: Place) -> Value:
        """What becomes of parameters or of a state dict."""
        found = taken.method(self.run, base, name, args)
        return self.result_of(name, args, place) if found is None else found

    # contexts and decorators

    def enter_decorators(self, func: Func) -> None:
        for decorator in func.function.decorators:
            if last_name(decorator) in NO_GRAD:
                self.run.contexts.append(
                    Context(f"@{last_name(decorator)}", Place(func.module.filename, func.function.span))
                )

    def enter(self, expr: Expr, target: Expr | None, node: ir.With, body: Callable[[], bool]) -> bool:
        """A `with` block: the project's own context managers are followed."""
        run = self.run
        if isinstance(expr, ir.Call):
            func = run.eval(expr.func)
            inner = func.func if isinstance(func, Method) else func
            receiver = func.self if isinstance(func, Method) else None
            if isinstance(inner, Func) and is_context_manager(inner):
                return self.enter_generator(inner, receiver, run.arguments(expr.args), expr, target, body)
        manager = run.force(run.eval(expr))
        contexts = len(run.contexts)
        place = run.place(node.span)
        name = last_name(expr)
        if name in NO_GRAD and not self.is_switched_off(expr):
            run.contexts.append(Context(name, place))
        value: Value = manager
        methods = self.enter_methods(manager)
        if methods is not None:
            value = run.call(methods[0], Args(), place)
        elif name not in NO_GRAD:
            run.events.entered(expr, place)
        if target is not None:
            run.assign(target, value)
        try:
            completes = body()
        finally:
            del run.contexts[contexts:]
        if methods is not None:
            run.call(methods[1], Args(open=True), place)
        return completes

    def is_switched_off(self, expr: Expr) -> bool:
        """`set_grad_enabled(True)`, or one whose argument is not known."""
        if last_name(expr) != "set_grad_enabled" or not isinstance(expr, ir.Call) or not expr.args:
            return False
        return self.run.test(expr.args[0].value).value is not False

    def enter_methods(self, manager: Value) -> tuple[Value, Value] | None:
        if not isinstance(manager, Obj) or not isinstance(manager.cls, ClassVal):
            return None
        objects = self.run.objects
        enter, leave = objects.find(manager.cls, "__enter__"), objects.find(manager.cls, "__exit__")
        if enter is None or leave is None:
            return None
        return objects.bound(enter, manager), objects.bound(leave, manager)

    def enter_generator(
        self,
        func: Func,
        receiver: Value | None,
        args: Args,
        expr: ir.Call,
        target: Expr | None,
        body: Callable[[], bool],
    ) -> bool:
        """`@contextmanager`: the block runs where the generator yields."""
        run = self.run
        outer = run.frames[:]
        done: list[bool] = []

        def block(value: Value) -> None:
            inner = run.frames
            run.frames = outer
            try:
                if target is not None:
                    run.assign(target, value)
                if not done:
                    done.append(body())
            finally:
                run.frames = inner

        run.run(func, args, receiver, run.place(expr.span), yields=block)
        return done[0] if done else True


def first_known(values: Iterable[Value | None]) -> Value | None:
    return next((value for value in values if value is not None), None)


def is_context_manager(func: Func) -> bool:
    return any(last_name(d) in {"contextmanager", "asynccontextmanager"} for d in func.function.decorators)


def _wrap(name: str) -> Callable[[Library, Args, Place], Value]:
    return lambda library, args, place: library.handle_wrap(args, place, name)


HANDLERS: Final[dict[str, Callable[[Library, Args, Place], Value]]] = {
    "builtins.range": Library.handle_range,
    "builtins.enumerate": _wrap("enumerate"),
    "builtins.zip": _wrap("zip"),
    "builtins.iter": _wrap("iter"),
    "builtins.reversed": _wrap("reversed"),
    "builtins.sorted": _wrap("sorted"),
    "builtins.len": Library.handle_len,
    "builtins.list": Library.handle_list,
    "builtins.tuple": Library.handle_list,
    "builtins.dict": Library.handle_dict,
    "collections.OrderedDict": Library.handle_dict,
    "builtins.isinstance": Library.handle_isinstance,
    "builtins.callable": Library.handle_is_function,
    "inspect.isfunction": Library.handle_is_function,
    "builtins.getattr": Library.handle_getattr,
    "builtins.setattr": Library.handle_setattr,
    "builtins.super": Library.handle_super,
    "builtins.next": Library.handle_next,
    "builtins.int": Library.handle_number,
    "builtins.float": Library.handle_number,
    "builtins.sum": Library.handle_sum,
    "functools.partial": Library.handle_partial,
    "copy.deepcopy": Library.handle_copy,
    "copy.copy": Library.handle_copy,
    "itertools.chain": Library.handle_chain,
    "*.ArgumentParser": Library.handle_parser,
    "torch.load": Library.handle_load,
}
