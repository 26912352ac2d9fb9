"""What the interpreter knows of Python and torch: built-in functions, layers, tensors and their methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from bnlint.facts import Kind
from bnlint.source import summary as ir
from bnlint.source import taken
from bnlint.source.classes import is_instance
from bnlint.source.layers import (
    CONTAINERS,
    CONTINUING,
    FUNCTIONS,
    IN_PLACE,
    function_name,
    layer_kind,
    torch_name,
)
from bnlint.source.state import ITEMS, MOST_ITEMS
from bnlint.source.values import (
    ALWAYS,
    Args,
    ArgVal,
    Bound,
    ClassVal,
    Const,
    DictVal,
    Either,
    External,
    Flow,
    Func,
    Held,
    Items,
    ListVal,
    Method,
    Obj,
    Partial,
    Place,
    Super,
    Sym,
    Taken,
    Thunk,
    Value,
    alternatives,
    either,
    fresh,
    unknown,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter


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
SIZES: Final = "#sizes"
"""The key of the arguments of what made a tensor, or shaped it."""
MADE: Final = frozenset(["randn", "rand", "zeros", "ones", "empty", "full", "arange", "randint", "tensor"])
"""Functions of torch that make a tensor out of its sizes."""
SHAPING: Final = frozenset({"view", "reshape"})
TEXT: Final = frozenset(
    {"lower", "upper", "strip", "lstrip", "rstrip", "replace", "split", "rsplit", "startswith", "endswith"}
    | {"removeprefix", "removesuffix", "title", "capitalize"}
)
"""Methods of strings that are computed."""


class Library:
    """Built-in knowledge, in terms of the interpreter's values."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run

    def flow(self, kind: Kind, name: str, args: Args, place: Place, layer: Obj | None = None) -> Flow:
        """A tensor made by an operation from the tensors among its arguments."""
        made = Flow(kind, name, tuple(self.tensors(args)), place, layer, args)
        if kind in CONTINUING:
            self.run.events.continues(made)
        return made

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
                items = self.run.containers.items(value)
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
                items = self.run.containers.items(value)
                held = () if items is None else items.held
                return first_known(self.source(h.value, depth + 1) for h in held)
        return None

    def result_of(self, name: str, args: Args, place: Place) -> Value:
        """The result of something unknown: a tensor if it was given one."""
        tensors = self.tensors(args)
        if tensors:
            return Flow("unknown", name, tuple(tensors), place, call=args)
        return Sym(fresh(), name, source=self.source_of(args))

    def in_place(self, node: ir.Call, value: Value) -> None:
        """`x.relu_()` changes `x`; so does `F.relu(x, inplace=True)` whose result is dropped."""
        match node.func, value:
            case ir.Get(base=ir.Name() as target, attr=attr), Flow():
                if attr.endswith("_") and not attr.endswith("__") and attr[:-1] in IN_PLACE:
                    self.run.assign(target, value)

    def call(self, path: str, args: Args, place: Place) -> Value:
        """A call of something outside the project."""
        name = torch_name(path)
        if name in CONTAINERS:
            return self.container(path, args, place)
        if layer_kind(path) is not None:
            return self.layer(path, args, place)
        configured = self.run.configs.call(path, args, place) or self.run.commands.call(path, args, place)
        if configured is not None:
            return configured
        driven = self.run.drivers.call(path, args, place)
        if driven is not None:
            return driven
        exported = self.run.exports.called(path, args, place)
        if exported is not None:
            return exported
        last = path.rpartition(".")[2]
        if last in ALIASES and args.items:
            self.run.devices.called(last, args, place)
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
            self.run.objects.foreign[obj.key] = obj
            self.run.events.built(obj)
            self.run.loaders.made(obj, args)
            return obj
        if last in PASSING:
            return Obj(fresh(), External(path), args, place, ready=True)
        self.run.devices.called(last, args, place)
        self.run.events.given_away(path, args, place)
        made = self.result_of(last, args, place)
        if last in MADE and path.startswith("torch.") and isinstance(made, Sym):
            self.run.root.set((made.key, SIZES), args)
        return made

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
        if kind == "batchnorm":
            self.run.events.functional(args, place)
        if not tensors and kind != "batchnorm":
            return self.result_of(name, args, place)
        inputs = tensors if kind in {"add", "concat", "multiply"} else tensors[:1]
        return Flow(kind, name, tuple(inputs), place, call=self.kept(args) if kind == "concat" else args)

    def kept(self, args: Args) -> Args:
        """Arguments whose first one, a list, is as it is now: it may grow later."""
        first = args.get(0, "tensors")
        items = None if first is None else self.run.containers.items(first.value)
        if first is None or items is None or any(held.guards for held in items.held):
            return args
        copy = self.run.new_list("tuple", items.held, first.place, open=items.open)
        rest = tuple(arg for arg in args.items if arg is not first)
        return Args((ArgVal(None, copy, first.place), *rest), args.open)

    def handle_range(self, args: Args, place: Place) -> Value:
        return Obj(fresh(), External("builtins.range"), args, place, ready=True)

    def handle_wrap(self, args: Args, place: Place, name: str) -> Value:
        return Obj(fresh(), External(f"builtins.{name}"), args, place, ready=True)

    def handle_len(self, args: Args, _place: Place) -> Value:
        first = args.value(0)
        items = None if first is None else self.run.containers.items(first)
        if items is not None and any(h.guards for h in items.held):
            return unknown("len")
        if items is not None and items.whole:
            return Const(len(items.held))
        if isinstance(first, Sym) or (items is not None and isinstance(first, ListVal | Obj)):
            return Sym((first.key, "len"), "len")
        return unknown("len")

    def handle_list(self, args: Args, place: Place) -> Value:
        first = args.value(0)
        if first is None:
            return self.run.new_list("list", (), place)
        first = self.run.force(first)
        if isinstance(first, Taken):
            return taken.listed(first)
        if isinstance(first, Sym):
            return first
        items = self.run.containers.items(first)
        if items is None:
            return self.handle_wrap(args, place, "list")
        return self.run.new_list("list", items.held, place, open=items.open)

    def handle_filter(self, args: Args, place: Place) -> Value:
        """`filter(lambda p: p.requires_grad, model.parameters())`"""
        test, source = args.value(0), self.run.force(args.value(1) or unknown())
        if isinstance(test, Func) and isinstance(source, Taken):
            return taken.sifted(source, test.function, place)
        return self.other_call("builtins.filter", args, place)

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
        held.update({a.name: self.written(a) for a in args.items if a.name})
        return self.run.new_dict(held, place, open=is_open)

    def written(self, arg: ArgVal) -> Value:
        """An entry of `dict(key=value)`: a constant is known by its key, and written there at least."""
        value = self.run.labelled(arg.value, arg.name)
        if isinstance(value, Const) and value.place is None:
            return Const(value.value, arg.place, value.name)
        return value

    def pairs_into(self, value: Value, held: dict[Any, Value]) -> bool:
        """`OrderedDict([("conv", conv), …])`"""
        items = self.run.containers.items(value)
        if items is None or items.open:
            return False
        for item in items.held:
            cells = self.run.containers.items(item.value)
            if cells is None or len(cells.held) != 2 or not isinstance(cells.held[0].value, Const):
                return False
            inner = cells.held[1].value
            held[cells.held[0].value.value] = either([(item.guards, inner)]) if item.guards else inner
        return True

    def handle_isinstance(self, args: Args, _place: Place) -> Value:
        value, wanted = args.value(0), args.value(1)
        if value is None or wanted is None:
            return unknown()
        answer = is_instance(self.run, self.run.force(value), self.run.force(wanted))
        return unknown() if answer is None else Const(answer)

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
        return unknown() if first is None else self.run.containers.any_of(first, 0)

    def handle_number(self, args: Args, _place: Place) -> Value:
        first = args.value(0)
        return (
            first
            if isinstance(first, Const | Sym) and len(args.items) == 1
            else self.result_of("", args, _place)
        )

    def handle_most(self, args: Args, place: Place) -> Value:
        """`max(1, batch_size // world_size)`: what is known of the larger one of two numbers."""
        values = [self.run.force(arg.value) for arg in args.positional()]
        if len(values) != 2 or len(args.items) != 2 or args.open:
            return self.result_of("max", args, place)
        pairs = [(g | h, a, b) for g, a in alternatives(values[0]) for h, b in alternatives(values[1])]
        return either((guards, self.larger(a, b)) for guards, a, b in pairs)

    def larger(self, one: Value, other: Value) -> Value:
        match one, other:
            case Const(value=int() | float() as a), Const(value=int() | float() as b):
                return one if a >= b else other
            case (Sym() as sym, Const(value=int() as least)) | (Const(value=int() as least), Sym() as sym):
                default = sym.default
                if default is not None and isinstance(default.value, int) and default.value < least:
                    default = None
                made = Sym(("max", least, sym.key), sym.name, default)
                self.run.devices.still(made, sym)
                return made
        return unknown("max")

    def handle_sum(self, args: Args, place: Place) -> Value:
        tensors = self.tensors(args)
        return Flow("add", "sum", tuple(tensors), place) if tensors else unknown("sum")

    def handle_deepcopy(self, args: Args, place: Place) -> Value:
        made = self.handle_copy(args, place)
        return self.run.kept.copied(made)

    def handle_copy(self, args: Args, place: Place) -> Value:
        first = args.value(0)
        if first is None:
            return unknown()
        first = self.run.force(first)
        if isinstance(first, Obj):
            return self.run.events.copied(first, place)
        if isinstance(first, DictVal) and self.run.configs.is_plain(first):
            return self.run.configs.copied(first)
        if isinstance(first, Sym):
            return Sym(fresh(), "", first.default, first.source)
        return first

    def handle_parser(self, args: Args, place: Place) -> Value:
        return Obj(fresh(), External("argparse.ArgumentParser"), args, place, ready=True)

    def handle_import(self, args: Args, _place: Place) -> Value:
        """`importlib.import_module("a.b")`"""
        match args.value(0, "name"):
            case Const(value=str() as path) if path and not path.startswith("."):
                return self.run.project.import_file(self.run.frame.module, path, 0) or External(path)
        return unknown()

    def handle_spawn(self, args: Args, place: Place) -> Value:
        """`spawn(fn, args)`: each process calls it with its rank and these arguments."""
        rank = ArgVal(None, Sym(fresh(), "rank"), place)
        return self.call_with(args.value(0, "fn"), args.value(1, "args"), place, rank)

    def handle_worker(self, args: Args, place: Place) -> Value:
        """`Thread(target=…, args=…)`, `Process(…)`"""
        self.call_with(args.value(1, "target"), args.value(3, "args"), place)
        return self.other_call("threading.Thread", args, place)

    def handle_measured(self, args: Args, place: Place) -> Value:
        """A function that is called to see what it takes."""
        return self.call_with(args.value(0, "proc", "stmt", "func"), None, place)

    def call_with(self, func: Value | None, given: Value | None, place: Place, *first: ArgVal) -> Value:
        """A call that is made elsewhere, with the items of a tuple."""
        items = None if given is None else self.run.containers.items(given)
        if func is None or not isinstance(self.run.force(func), Func | Method):
            return unknown()
        held = () if items is None else items.held
        rest = tuple(ArgVal(None, h.value, h.place) for h in held)
        return self.run.call(func, Args((*first, *rest), open=given is not None and items is None), place)

    def handle_chain(self, args: Args, place: Place) -> Value:
        held: list[Held] = []
        for arg in args.positional():
            items = self.run.containers.items(arg.value)
            if items is None or items.open:
                return self.result_of("chain", args, place)
            held.extend(items.held)
        return self.run.new_list("list", tuple(held), place)

    def handle_replace(self, args: Args, place: Place) -> Value:
        """`dataclasses.replace(x, field=…)`"""
        first = args.value(0)
        first = unknown() if first is None else self.run.force(first)
        if not isinstance(first, Obj):
            return self.result_of("replace", args, place)
        made = Obj(fresh(), first.cls, first.args, place, ready=True)
        for name in self.run.objects.names.get(first.key, ()):
            self.run.objects.hold(made, name, self.run.state.get((first.key, name)) or unknown(name))
        for arg in args.items[1:]:
            if arg.name is not None:
                self.run.objects.hold(made, arg.name, self.run.labelled(arg.value, arg.name))
        return made

    def handle_field(self, args: Args, place: Place) -> Value:
        """`field(default=…)`, `field(default_factory=…)`: the default, which instances share here."""
        default, factory = args.value(None, "default"), args.value(None, "default_factory")
        if default is not None:
            return default
        return unknown("field") if factory is None else self.run.call(factory, Args(), place)

    def handle_repeat(self, args: Args, place: Place) -> Value:
        """`itertools.repeat(x, n)`"""
        first, times = args.value(0, "object"), args.value(1, "times")
        if first is None or not isinstance(times, Const) or not isinstance(times.value, int):
            return self.result_of("repeat", args, place)
        held = (Held(ALWAYS, first, place),) * max(0, min(times.value, MOST_ITEMS))
        return self.run.new_list("list", held, place)

    def handle_split(self, args: Args, place: Place) -> Value:
        """`random_split(data, [50_000, 10_000])`: parts of a data set, of these sizes."""
        first = args.get(0, "dataset")
        items = self.run.containers.items(args.value(1, "lengths") or unknown())
        if first is None or items is None or items.open:
            return self.result_of("random_split", args, place)
        return self.run.containers.tuple_of(*(self.subset(first, h, place) for h in items.held), place=place)

    def subset(self, data: ArgVal, size: Held, place: Place) -> Value:
        """A part of a data set, of a size."""
        count = Args((ArgVal(None, size.value, size.place),))
        indices = ArgVal("indices", Obj(fresh(), External("builtins.range"), count, place, ready=True), place)
        return Obj(fresh(), External("torch.utils.data.Subset"), Args((data, indices)), place, ready=True)

    def handle_checkpoint(self, args: Args, place: Place) -> Value:
        return self.run.checkpoints.called("checkpoint", args, place)

    def handle_checkpoint_sequence(self, args: Args, place: Place) -> Value:
        return self.run.checkpoints.called("checkpoint_sequential", args, place)

    def handle_load(self, args: Args, place: Place) -> Value:
        obj = Obj(fresh(), External("torch.load"), args, place, ready=True)
        obj.assumed = True
        return obj

    def method(self, base: Value, name: str, args: Args, place: Place) -> Value:
        """A method of something that the project does not define."""
        base = self.run.force(base)
        match base:
            case Flow():
                return self.tensor_method(base, name, args, place)
            case ListVal():
                return self.run.containers.list_method(base, name, args)
            case DictVal():
                found = self.run.configs.method(base, name, args, place)
                return found or self.run.containers.dict_method(base, name, args, place)
            case Const(value=PurePosixPath()) | Sym(default=Const(value=PurePosixPath())):
                return self.run.configs.names.method(base, name, args, place) or unknown(name)
            case Sym(key=key) if name == "read" and key in self.run.configs.files:
                return base
            case Obj(cls=External(path="ruamel.yaml.YAML")) if name == "load":
                return self.run.configs.load_any(args, ".yaml") or unknown(name)
            case Obj(cls=External(path="hydra.core.config_store.ConfigStore")) if name == "store":
                self.run.hydra.store(args)
                return Const(None)
            case Obj() if name == "save_hyperparameters":
                self.run.commands.hyperparameters(base, args, place)
                return Const(None)
            case Bound(base=Obj() as owner, name="__dict__") if name == "update":
                self.run.configs.fill(owner, args)
                return Const(None)
            case Obj(cls=External(path=path)) if path.startswith("argparse."):
                return self.run.options.parser_method(base, name, args, place)
            case Obj() | Sym():
                return self.object_method(base, name, args, place)
            case Taken():
                return self.taken_method(base, name, args, place)
            case Partial() | Func() | Method():
                return unknown()
            case Const(value=str() as text):
                return self.text_method(text, name, args, place)
        return self.result_of(name, args, place)

    def text_method(self, text: str, name: str, args: Args, place: Place) -> Value:
        """A method of a string, where it and all that it is given are known."""
        values = [a.value for a in args.positional()]
        known = [v.value for v in values if isinstance(v, Const)]
        if name not in TEXT or args.open or len(known) != len(args.items):
            return unknown()
        try:
            found = getattr(text, name)(*known)
        except (TypeError, ValueError):
            return unknown()
        if isinstance(found, list):
            return self.run.containers.tuple_of(*map(Const, found), place=place)
        return Const(found)

    def tensor_method(self, base: Flow, name: str, args: Args, place: Place) -> Value:
        if name == "backward":
            self.run.events.backward(base)
            return Const(None)
        given = Args((ArgVal(None, base, place), *args.items), args.open)
        if name in {"size", "dim", "item", "tolist", "argmax", "max", "min", "numel"}:
            return Flow("other", name, (base, *self.tensors(args)), place, call=given)
        plain = name.removesuffix("_")
        if plain != name:
            self.run.events.changed(base, plain)
        kind: Kind = FUNCTIONS.get(name) or FUNCTIONS.get(plain) or "unknown"
        return Flow(kind, plain, (base, *self.tensors(args)), place, call=given)

    def object_method(self, base: Obj | Sym, name: str, args: Args, place: Place) -> Value:
        """A method of a module, a loader, an optimizer or of something unknown."""
        run = self.run
        events = run.events
        if name == "fit":
            run.frozen.fitted(args, place)
        known = run.drivers.method(base, name, args, place)
        if known is not None:
            return known
        events.driven(base, name, place)
        if name in {"train", "eval"} and events.switch_call(base, name, args, place):
            return base
        if name in {"forward", "__call__", "module"} and isinstance(base, Obj | Sym) and args.items:
            return run.objects.call(base, args, place)
        if name == "requires_grad_":
            run.frozen.set_gradients(base, args.value(0, "requires_grad") or Const(True), place)
        if name in MOVING:
            return base
        if name in {"parameters", "named_parameters", "state_dict", "trainable_parameters"}:
            what = "state_dict" if name == "state_dict" else "parameters"
            return taken.attached(run.kept.taken(base, what, place), args)
        if name in {"buffers", "named_buffers"}:
            return Taken(base, "buffers", place)
        if name == "save" and base.key in run.exports.scripted:
            run.exports.saved(Args((ArgVal(None, base, place),)), place)
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
            return self.run.containers.tuple_of(*(a.value for a in args.items), place=place)
        tensors = self.tensors(args)
        if tensors:
            return Flow("unknown", name, tuple(tensors), place)
        source = base.source if isinstance(base, Sym) else None
        made = Sym(fresh(), name, source=source or self.source_of(args))
        if name in SHAPING:
            self.run.root.set((made.key, SIZES), args)
        return made

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
            items = self.run.containers.items(base)
            if items is not None:
                return self.run.new_list("list", items.held, place, open=items.open)
        part = Sym((base.key, "children"), name, source=base)
        if name in {"items", "named_children", "named_modules"}:
            pair = self.run.containers.tuple_of(Sym(fresh(), "name"), part, place=place)
            return self.run.new_list("list", (Held(ALWAYS, pair, place),), place, open=True)
        return self.run.new_list("list", (Held(ALWAYS, part, place),), place, open=True)

    def taken_method(self, base: Taken, name: str, args: Args, place: Place) -> Value:
        """What becomes of parameters or of a state dict."""
        if name == "requires_grad_":
            self.run.frozen.set_gradients(base, args.value(0, "requires_grad") or Const(True), place)
            return base
        found = taken.method(self.run, base, name, args)
        return self.result_of(name, args, place) if found is None else found


def first_known(values: Iterable[Value | None]) -> Value | None:
    return next((value for value in values if value is not None), None)


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
    "builtins.filter": Library.handle_filter,
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
    "builtins.max": Library.handle_most,
    "builtins.sum": Library.handle_sum,
    "functools.partial": Library.handle_partial,
    "copy.deepcopy": Library.handle_deepcopy,
    "copy.copy": Library.handle_copy,
    "itertools.chain": Library.handle_chain,
    "itertools.repeat": Library.handle_repeat,
    "dataclasses.field": Library.handle_field,
    "dataclasses.replace": Library.handle_replace,
    "*.ArgumentParser": Library.handle_parser,
    "*.HfArgumentParser": Library.handle_parser,
    "torch.load": Library.handle_load,
    "importlib.import_module": Library.handle_import,
    "torch.utils.checkpoint.checkpoint": Library.handle_checkpoint,
    "torch.utils.checkpoint.checkpoint_sequential": Library.handle_checkpoint_sequence,
    "torch.utils.data.random_split": Library.handle_split,
    "*.spawn": Library.handle_spawn,
    "threading.Thread": Library.handle_worker,
    "*.Process": Library.handle_worker,
    "memory_profiler.memory_usage": Library.handle_measured,
    "timeit.timeit": Library.handle_measured,
}
