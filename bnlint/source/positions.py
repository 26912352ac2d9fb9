"""How many values of one sample a BatchNorm of a model normalises together: one, or more, or nobody knows.

One value is what is left where each sample is a vector, or a map of which pooling has left one position: a
batch of one sample is then too few to normalise, and torch raises. What shows it is followed through
`forward`, block by block, from what the loader gives. A map of unknown size may have one position or many.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from bnlint.source.interpret import OutOfFuel
from bnlint.source.library import SIZES
from bnlint.source.summary import Span
from bnlint.source.values import (
    Args,
    ArgVal,
    Const,
    DictVal,
    Either,
    External,
    Flow,
    Func,
    ListVal,
    Obj,
    Place,
    Sym,
    Value,
)

if TYPE_CHECKING:
    from bnlint.source.events import Normalised
    from bnlint.source.structure import Structure

Shape: TypeAlias = Literal["batch", "features", "vector", "point", "map", "unknown", "merged"]
"""What a tensor holds of each sample: what a loader gives; something whose last dimension are the features; a
vector; a map of one position; a map of any size, channels first. Of a merged one it may hold several rows."""

ONE: Final[frozenset[Shape]] = frozenset({"vector", "point"})
"""One value per channel."""
MOST_WAYS: Final = 6
"""Places where ways meet that are looked behind."""
MOST_NESTED: Final = 2
"""How deep ways within ways are followed."""
NOWHERE: Final = Place("", Span(1, 0, 1, 0))
DEEPEST: Final = 8
"""Blocks within blocks that are followed."""
SAME: Final = frozenset({"activation", "dropout", "identity", "norm", "softmax", "batchnorm"})
KEEPING: Final = frozenset(
    {"contiguous", "clone", "detach", "detach_", "to", "type", "type_as", "float", "half", "double"}
    | {"bfloat16", "cpu", "cuda", "requires_grad_", "retain_grad"}
)
"""Methods of tensors that change no shape."""
ONE_OF_SEVERAL: Final = re.compile(r"\[\d*\]")
REDUCING: Final = frozenset({"mean", "max", "min", "amax", "amin", "sum"})
POOLED: Final = frozenset({1, (1,), (1, 1), (1, 1, 1)})
"""Sizes that leave one position."""
HEADS: Final = frozenset({"fc", "classifier", "head", "heads"})
"""Where models of libraries hold what follows the pooling."""
AFTER_LINEAR: Final[Mapping[Shape, Shape]] = {"batch": "features", "features": "features", "vector": "vector"}
CLASSIFYING: Final = "torchvision.models."
OTHERWISE: Final = (".segmentation.", ".detection.", ".video.", ".optical_flow.", ".feature_extraction.")
"""Models of torchvision that do not answer with a vector."""
LINEAR_NORM: Final = frozenset({"BatchNorm1d", "LazyBatchNorm1d"})


class Seen(NamedTuple):
    """What a module makes of its inputs, and the BatchNorm in it that gets one value per channel, if any."""

    output: Shape
    norm: Obj | None = None


NOTHING: Final = Seen("unknown")
MOVED: Final = frozenset(["view", "reshape", "repeat", "repeat_interleave", "flatten", "cat", "expand"])
"""What the methods are called that may make several rows of a sample."""


class Positions:
    """Follows the shapes of tensors through models."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.run = structure.run
        self.known: dict[tuple[Hashable, tuple[Shape, ...]], Seen] = {}
        self.depth = 0

    def single(self, model: Value, args: Args) -> Place | None:
        """The BatchNorm of a model that sees one value per channel of each sample, for what it is given."""
        given = tuple(self.given(arg.value) for arg in args.items)
        if not isinstance(model, Obj) or "batch" not in given or "merged" in given:
            return None
        norm = self.model(model, given).norm
        return None if norm is None else norm.place

    def given(self, value: Value) -> Shape:
        """What comes from a loader has an entry for each sample, unless the program has moved them about."""
        if not isinstance(value, Sym) or value.source is None:
            return "unknown"
        if value.name not in MOVED:
            return "batch"
        sizes = self.run.root.get((value.key, SIZES))
        return "batch" if isinstance(sizes, Args) and len(sizes.items) == 2 else "merged"

    # modules

    def model(self, obj: Obj, given: tuple[Shape, ...]) -> Seen:
        """What a module makes of its inputs."""
        key = (obj.key, given)
        if key not in self.known:
            self.known[key] = NOTHING
            if self.depth < DEEPEST:
                self.depth += 1
                self.known[key] = self.look_into(obj, given)
                self.depth -= 1
        return self.known[key]

    def look_into(self, obj: Obj, given: tuple[Shape, ...]) -> Seen:
        if isinstance(obj.cls, External) and self.run.objects.is_container(obj) is None:
            return self.of_library(obj, obj.cls.path)
        record = self.run.events.record
        before = len(record.normalised), len(record.functional), len(record.compared)
        try:
            with self.structure.alone():
                shapes, result = self.pass_through(obj, given)
        except OutOfFuel:
            return NOTHING
        finally:  # others look at what a class does by itself
            normalised = record.normalised[before[0] :]
            del record.normalised[before[0] :], record.functional[before[1] :], record.compared[before[2] :]
        return Trace(self, shapes).seen(result, normalised)

    def pass_through(self, obj: Obj, given: tuple[Shape, ...]) -> tuple[dict[int, Shape], Value | None]:
        """Send tensors through a module: which shape each of them has, and what comes out."""
        run = self.run
        run.objects.prepare(obj)
        forward = run.objects.find(obj.cls, "forward")
        if not isinstance(forward, Func):
            tensor = Flow("input", "input", (), obj.place)
            return shapes_of([tensor], given), self.through_elements(obj, tensor)
        wanted = [p for p in forward.function.params[1:] if p.kind in {"both", "position", "keyword"}]
        tensors = [
            Flow("input", p.name, (), obj.place)
            for at, p in enumerate(wanted)
            if p.default is None or at < len(given)
        ]
        named = zip(wanted, tensors, strict=False)
        inputs = Args(tuple(ArgVal(p.name, tensor, obj.place) for p, tensor in named))
        run.inside_forward = True
        return shapes_of(tensors, given), run.run(forward, inputs, obj, obj.place)

    def through_elements(self, obj: Obj, tensor: Value) -> Value | None:
        """A Sequential: of one that was built in a function only the parts are known, in their order."""
        run = self.run
        if run.objects.is_container(obj) != "Sequential":
            return None
        args = Args((ArgVal(None, tensor, obj.place),))
        if run.containers.items(obj) is not None:
            return run.objects.apply(obj, args, obj.place)
        for part in run.objects.registered.get(obj.key, ()):
            tensor = run.call(part, Args((ArgVal(None, tensor, obj.place),)), obj.place)
        return tensor

    def of_library(self, obj: Obj, path: str) -> Seen:
        """A library's classifier answers with a vector, and gives its new head one."""
        if not path.startswith(CLASSIFYING) or any(part in path for part in OTHERWISE):
            return NOTHING
        for head in self.run.objects.registered.get(obj.key, ()):
            if isinstance(head, Obj) and head.attr in HEADS:
                return self.model(head, ("vector",))
        return Seen("vector")


def shapes_of(tensors: list[Flow], given: tuple[Shape, ...]) -> dict[int, Shape]:
    return {id(tensor): shape for tensor, shape in zip(tensors, given, strict=False)}


class Trace:
    """The tensors of one pass through one module; `shapes` holds what is known of them."""

    def __init__(self, positions: Positions, shapes: dict[int, Shape]) -> None:
        self.positions = positions
        self.run = positions.run
        self.shapes = shapes
        self.kept: list[Flow] = []

    def seen(self, result: Value | None, normalised: list[Normalised]) -> Seen:
        certain = [event for event in normalised if not event.guards]
        tensors = [v for v in (result, *(event.flow for event in certain)) if v is not None]
        output = "unknown" if result is None else self.shape(result)
        for event in certain:
            if event.flow.inputs and self.is_single(event.layer, self.shape(event.flow.inputs[0])):
                return Seen(output, event.layer)
        return Seen(output, next(self.norms_below(tensors), None))

    def is_single(self, norm: Obj, shape: Shape) -> bool:
        """Whether a BatchNorm gets one value per channel; behind a Linear, one for vectors gets vectors."""
        name = self.run.objects.torch_name(norm)
        if name is None or not name.endswith("d"):
            return False
        return shape in ONE or (shape == "features" and name in LINEAR_NORM)

    def norms_below(self, tensors: list[Value]) -> Iterator[Obj]:
        """The same, in the modules that certainly are called on the way."""
        for flow in self.reached(tensors).values():
            if flow.kind == "other" and flow.layer is not None:
                norm = self.block(flow, flow.layer).norm
                if norm is not None:
                    yield norm

    def reached(self, tensors: Iterable[Value], depth: int = 0) -> dict[int, Flow]:
        """The tensors that others certainly are made of: those that are there whichever way was taken."""
        found: dict[int, Flow] = {}
        ways: dict[int, Either] = {}
        pending = list(tensors)
        while pending:
            value = pending.pop()
            if isinstance(value, Either):
                ways[id(value)] = value
            elif isinstance(value, ListVal | DictVal):
                pending.extend(self.run.library.tensors(Args((ArgVal(None, value, NOWHERE),))))
            elif isinstance(value, Flow) and id(value) not in found:
                found[id(value)] = value
                pending.extend(value.inputs)
        for way in list(ways.values())[:MOST_WAYS] if depth < MOST_NESTED else ():
            first, *others = (self.reached([value], depth + 1) for _, value in way.alternatives)
            found.update({key: flow for key, flow in first.items() if all(key in o for o in others)})
        return found

    def block(self, flow: Flow, layer: Obj) -> Seen:
        """What another module makes of the tensors that it is called with."""
        given = flow.call.items if isinstance(flow.call, Args) else ()
        return self.positions.model(layer, tuple(self.shape(arg.value) for arg in given))

    # shapes

    def shape(self, value: Value) -> Shape:
        """The shape of a tensor, nearest tensors last: those that it is made of come first."""
        pending: list[Value] = [value]
        while pending:
            current = pending[-1]
            if not isinstance(current, Flow | Either) or id(current) in self.shapes:
                pending.pop()
                continue
            parts = current.inputs if isinstance(current, Flow) else [v for _, v in current.alternatives]
            open_parts = [p for p in parts if isinstance(p, Flow | Either) and id(p) not in self.shapes]
            if open_parts:
                pending.extend(open_parts)
                continue
            pending.pop()
            self.shapes[id(current)] = self.made(current)
        return self.shapes.get(id(value), "unknown")

    def made(self, value: Flow | Either) -> Shape:
        if isinstance(value, Either):
            return alike(self.shape(v) for _, v in value.alternatives)
        if value.kind == "other" and value.layer is not None:
            return self.block(value, value.layer).output
        if any(self.shape(tensor) == "merged" for tensor in value.inputs):
            return "merged"
        before: Shape = self.shape(value.inputs[0]) if value.inputs else "unknown"
        match value.kind:
            case "input":
                return "unknown"
            case "conv":
                return "point" if before == "point" and "ranspose" not in value.name else "map"
            case "linear":
                return AFTER_LINEAR.get(before, "unknown")
            case "batchnorm" if before == "features" and value.layer is not None:
                return "vector" if self.is_single(value.layer, before) else "unknown"
            case kind if kind in SAME:
                return before
            case "pool":
                return self.pooled(value, before)
            case "resample":
                return "map" if before in {"map", "point"} else "unknown"
            case "reshape":
                return self.reshaped(value, before)
            case "add" | "multiply":
                return combined([self.shape(tensor) for tensor in value.inputs])
            case "concat":
                return self.joined(value)
        if value.name in REDUCING:
            return self.reduced(value, before)
        return "unknown" if is_part(value.call) or not value.name else "merged"

    def pooled(self, flow: Flow, before: Shape) -> Shape:
        """A pool that leaves one position leaves one of whatever comes in."""
        if "daptive" in flow.name and self.constant(self.argument(flow, 0, "output_size")) in POOLED:
            return "point"
        if self.is_whole(self.argument(flow, 0, "kernel_size")):
            return "point"
        return before if before in {"point", "map"} else "map" if before == "batch" else "unknown"

    def is_whole(self, kernel: Value | None) -> bool:
        """Whether a window is as large as a map: `F.avg_pool2d(x, x.size()[2:])`."""
        value = None if kernel is None else self.run.force(kernel)
        match value:
            case Sym(key=key):
                return is_extent(key)
            case Flow(name="[:]", inputs=(Flow(name="size"), *_)):
                return True
            case Flow(name="size", call=Args(items=(_, arg))):
                return self.constant(arg.value) in {2, 3, -1, -2}
            case ListVal():
                items = self.run.items(value)
                held = () if items is None else items.held
                return bool(held) and all(self.is_whole(h.value) for h in held)
        return False

    def argument(self, flow: Flow, at: int, name: str) -> Value | None:
        """An argument of a layer, or of a function behind its tensor."""
        if flow.layer is not None:
            return flow.layer.args.value(at, name)
        given = self.beside_tensor(flow)
        return given.value(at, name)

    def beside_tensor(self, flow: Flow) -> Args:
        """What a function is given behind its tensor, or a method of the tensor itself."""
        given = flow.call if isinstance(flow.call, Args) else Args()
        first = given.items[0].value if given.items else None
        is_function = flow.inputs and first is flow.inputs[0]
        return Args(given.items[1:], given.open) if is_function else given

    def constant(self, value: Value | None) -> object:
        """A constant or a tuple of constants; None where it is not known."""
        value = None if value is None else self.run.force(value)
        if isinstance(value, Const):
            return value.value
        items = self.run.items(value) if isinstance(value, ListVal) else None
        if items is None or not items.whole:
            return None
        cells = [self.run.force(held.value) for held in items.held]
        return tuple(cell.value if isinstance(cell, Const) else None for cell in cells)

    def reshaped(self, flow: Flow, before: Shape) -> Shape:
        """A tensor of which values are moved; where they may move from sample to sample, it is merged."""
        name = flow.name
        if name in KEEPING or (ONE_OF_SEVERAL.fullmatch(name) and before == "unknown"):
            return before
        sizes = self.sizes(flow)
        match name:
            case "flatten" | "Flatten":
                first = self.argument(flow, 0, "start_dim")
                start = 1 if first is None and name == "Flatten" else self.constant(first)
                return ("vector" if before != "features" else "unknown") if start == 1 else "merged"
            case "view" | "reshape" if len(sizes) == 2:
                return "vector" if self.keeps_samples(sizes, before) else "merged"
            case "view" | "reshape" if len(sizes) > 2 and before in {"vector", "point"}:
                return "point" if sizes[2:] == [1] * len(sizes[2:]) else "map"
            case "squeeze" if before in ONE:
                return before
            case "unsqueeze" if before in ONE and sizes in ([-1], [2], [3]):
                return "point"
            case name if name.endswith("Pad2d") or name == "pad":
                return "map" if before in {"map", "point"} else "unknown"
        return "merged"

    def sizes(self, flow: Flow) -> list[object]:
        """The numbers that a method of a tensor is given; None for those that are not known."""
        values = [arg.value for arg in self.beside_tensor(flow).positional()]
        if len(values) == 1 and isinstance(self.run.force(values[0]), ListVal):
            whole = self.constant(values[0])
            return list(whole) if isinstance(whole, tuple) else []
        return [self.constant(value) for value in values]

    def keeps_samples(self, sizes: list[object], before: Shape) -> bool:
        """Whether a tensor is made two-dimensional with a row for each sample.

        `(x.size(0), -1)` is; `(-1, 512)` is where channels come first: they are not merged so.
        """
        if sizes == [None, -1]:
            return True
        return sizes[0] in {None, -1} and before in {"map", "point", "batch"}

    def joined(self, flow: Flow) -> Shape:
        """Tensors side by side; behind one another they would be more samples."""
        given = flow.call if isinstance(flow.call, Args) else Args()
        if self.constant(given.value(1, "dim", "axis")) not in {1, -1}:
            return "merged"
        return alike(self.shape(tensor) for tensor in flow.inputs)

    def reduced(self, flow: Flow, before: Shape) -> Shape:
        """A mean or a maximum over all positions."""
        dims = self.constant(self.beside_tensor(flow).value(0, "dim", "axis"))
        return "point" if before == "map" and dims in {(2, 3), (-2, -1), (-1, -2), (2, 3, 4)} else "unknown"


def is_extent(key: object) -> bool:
    """Whether a number is the height or the width of a map, or a slice of its shape holds both."""
    match key:
        case (inner, "/" | "//", 1):
            return is_extent(inner)
        case (("shape", _), "[2]" | "[3]" | "[-1]" | "[-2]") | (("shape", _), "[:]", 2 | -2, 0, 0):
            return True
        case (inner, "[0]" | "[1]"):
            return is_extent(inner)
    return False


def is_part(called: object) -> bool:
    """Whether an attribute is called of which nothing is known: a part of the model, as it was handed in."""
    key = called.key if isinstance(called, Sym) else None
    is_elsewhere = isinstance(key, tuple) and key[:1] in {("global",), ("import",)}
    return key is not None and not is_elsewhere


def alike(shapes: Iterable[Shape]) -> Shape:
    """The shape of several tensors that have the same."""
    found = set(shapes)
    if "merged" in found:
        return "merged"
    return found.pop() if len(found) == 1 else "unknown"


def combined(shapes: list[Shape]) -> Shape:
    """Tensors that are added or multiplied: one position is repeated for each of a map."""
    found = set(shapes)
    if found == {"map", "point"}:
        return "map"
    return alike(found)
