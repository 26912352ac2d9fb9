"""Shapes of tensors: how many dimensions they have and how many channels, where layers make that certain.

A shape is worked out backwards, from a tensor to the layer that made it what it is; where several ways
lead to a tensor, each has a shape of its own. Convolutions are taken to be given batches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Final, TypeAlias

from bnlint.source.events import Home
from bnlint.source.interpret import OutOfFuel
from bnlint.source.layers import LAYERS, torch_name
from bnlint.source.objects import BASE_ARGS
from bnlint.source.reshapes import RESHAPES, Given, Shape, reduced
from bnlint.source.sizes import Size, number, plus, quotient, size_of, times
from bnlint.source.structure import Structure
from bnlint.source.values import (
    ALWAYS,
    Args,
    ClassVal,
    Const,
    Either,
    Flow,
    Func,
    Guards,
    ListVal,
    Obj,
    Value,
    alternatives,
    contradicts,
)

MOST_WAYS: Final = 8
"""More ways to one tensor than this are not told apart."""
DEEPEST: Final = 60
"""Operations between a tensor and what made its shape."""
DEEPEST_BLOCK: Final = 4
LEAST_RUNS: Final = 20
CLASSES_PER_RUN: Final = 40
"""How many modules are run to see what shape they give back: some, and more where there are many classes."""
DIGIT: Final = re.compile(r"(\d)d$")
SAMPLED: Final = frozenset({"interpolate", "upsample"})
REDUCING: Final = frozenset({"mean", "sum", "amax", "amin", "std", "var", "logsumexp"})


Ways: TypeAlias = tuple[tuple[Guards, Shape], ...]
UNKNOWN: Final = Shape()
NOTHING: Final[Ways] = ((ALWAYS, UNKNOWN),)


@dataclass(slots=True)
class Inputs:
    """What a module is given, by the parameters of its forward, where `outer` calls it under `guards`.

    `home` is where the module was built.
    """

    given: dict[str, Value] = field(default_factory=dict)
    outer: Inputs | None = None
    guards: Guards = ALWAYS
    depth: int = 0
    home: Home = frozenset()
    known: dict[int, Ways] = field(default_factory=dict)


class Shapes:
    """Works out the shapes of tensors."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.run = structure.run
        self.record = structure.run.events.record
        self.runs = self.most_runs()
        self.top = Inputs()

    def most_runs(self) -> int:
        return LEAST_RUNS + len(self.structure.instances) // CLASSES_PER_RUN

    # ways

    def ways(self, value: Value, inputs: Inputs, left: int = DEEPEST) -> Ways:
        """The shapes that a value can have, each under its conditions."""
        match value:
            case Flow():
                found = inputs.known.get(id(value))
                if found is None:
                    found = inputs.known[id(value)] = self.of_flow(value, inputs, left) if left else NOTHING
                return found
            case Either():
                return joined((g, way) for g, v in value.alternatives for way in self.ways(v, inputs, left))
        return NOTHING

    def of_flow(self, flow: Flow, inputs: Inputs, left: int) -> Ways:
        if id(flow) in self.record.loose:
            return NOTHING
        match flow.kind:
            case "input":
                return self.of_input(flow.name, inputs)
            case "conv":
                return self.of_conv(flow)
            case "add" | "multiply":
                return self.of_operator(flow, inputs, left)
            case "concat":
                return self.of_concat(flow, inputs, left)
            case "other" if flow.layer is not None:
                return self.of_block(flow, inputs)
        if not flow.inputs or not self.is_first(flow):
            return NOTHING
        before = self.ways(flow.inputs[0], inputs, left - 1)
        match flow.kind:
            case "linear":
                return self.of_linear(flow, before)
            case "batchnorm":
                return self.of_batchnorm(flow, before)
        change = self.change(flow)
        return NOTHING if change is None else joined((ALWAYS, (g, change(shape))) for g, shape in before)

    def of_input(self, name: str, inputs: Inputs) -> Ways:
        """What a module is given under a name of its forward."""
        value = inputs.given.get(name)
        if value is None or inputs.outer is None:
            return ((ALWAYS, Shape(given=True)),)
        found = self.ways(value, inputs.outer)
        return joined((inputs.guards, (g, inside(shape, inputs.home))) for g, shape in found)

    def is_first(self, flow: Flow) -> bool:
        """Whether an operation is given its tensor first, and so is what it looks like."""
        given = flow.call.items if isinstance(flow.call, Args) and not flow.call.open else ()
        return bool(given) and given[0].value is flow.inputs[0]

    # layers

    def torch_class(self, layer: Obj) -> str:
        base = self.run.objects.external_base(layer.cls)
        return (torch_name(base.path) if base is not None else None) or ""

    def arguments(self, layer: Obj) -> Args:
        """What torch's constructor is given."""
        if not isinstance(layer.cls, ClassVal):
            return layer.args
        self.run.objects.prepare(layer)
        return self.run.state.get((layer.key, BASE_ARGS)) or Args(open=True)

    def sizes(self, layer: Obj | None, name: str) -> tuple[tuple[Guards, Size | None], ...]:
        """An argument of a layer that is a size, in each of the ways in which it can be given."""
        if layer is None:
            return ((ALWAYS, None),)
        names = list(LAYERS[self.torch_class(layer)][1])
        if name not in names:
            return ((ALWAYS, None),)
        value = self.arguments(layer).value(names.index(name), name)
        return tuple(
            (g, size_of(self.run.force(v))) for g, v in alternatives(self.run.force(value or Const(None)))
        )

    def home(self, layer: Obj | None) -> Home:
        return frozenset() if layer is None else self.record.homes.get(layer.key, frozenset())

    def of_conv(self, flow: Flow) -> Ways:
        name = flow.name if flow.layer is None else self.torch_class(flow.layer)
        digit = DIGIT.search(name)
        if digit is None:
            return NOTHING
        rank, home = int(digit[1]) + 2, self.home(flow.layer)
        return tuple(
            (g, Shape(rank, size, made=flow, bent=flow, home=home))
            for g, size in self.sizes(flow.layer, "out_channels")
        )

    def of_linear(self, flow: Flow, before: Ways) -> Ways:
        if flow.layer is None and flow.name != "linear":
            return NOTHING
        home = self.home(flow.layer)

        def applied(shape: Shape, size: Size | None) -> Shape:
            if shape.rank == 2:
                return Shape(2, size, size, made=flow, bent=shape.bent, home=home)
            if shape.rank is None or shape.rank < 2:
                return shape.bare(shape.rank)
            return shape._replace(features=size, unit=False)

        return joined(
            (g, (h, applied(shape, size)))
            for (g, size), (h, shape) in product(self.sizes(flow.layer, "out_features"), before)
        )

    def of_batchnorm(self, flow: Flow, before: Ways) -> Ways:
        """Whatever comes out of a BatchNorm has the channels and the dimensions that it asks for."""
        if flow.layer is None:
            return before
        rank = {"2": 4, "3": 5}.get(self.torch_class(flow.layer)[-2:-1])
        home = self.home(flow.layer)

        def passed(shape: Shape, size: Size | None) -> Shape:
            if shape.rank is None and rank is not None:
                shape = shape._replace(rank=rank, bent=flow)
            if shape.channels is None and size is not None:
                features = size if shape.rank == 2 else shape.features
                shape = shape._replace(channels=size, features=features, made=flow, home=home)
            return shape

        asked = (
            self.sizes(flow.layer, "num_features") if self.counts_features(flow.layer) else ((ALWAYS, None),)
        )
        return joined((g, (h, passed(shape, size))) for (g, size), (h, shape) in product(asked, before))

    def counts_features(self, layer: Obj) -> bool:
        """Whether a BatchNorm has anything for each channel: else it takes any number of them."""
        found = self.structure.layer(layer)
        return found is not None and (
            found.value("affine") is True or found.value("track_running_stats") is True
        )

    # functions

    def change(self, flow: Flow) -> Callable[[Shape], Shape] | None:
        """What an operation on one tensor does to its shape; None where that is not known."""
        layer = flow.layer
        name = flow.name if layer is None else self.torch_class(layer)
        match flow.kind:
            case "activation":
                return None if name in {"GLU", "glu"} else unchanged
            case "dropout" | "softmax" | "identity" | "norm":
                return unchanged
            case "pool":
                return self.pool(flow, name)
            case "resample":
                return self.resample(flow, name)
            case "reshape":
                change = RESHAPES.get(name)
                return None if change is None else lambda shape: change(shape, self.given(flow))
            case "unknown" if name in REDUCING and layer is None:
                return lambda shape: reduced(shape, self.given(flow))
        return None

    def given(self, flow: Flow) -> Given:
        """The arguments behind the tensor, or those that the layer was built with."""
        args = (
            self.arguments(flow.layer)
            if flow.layer is not None
            else Args(flow.call.items[1:], flow.call.open)
        )
        return Given(self.run, flow, args)

    def pool(self, flow: Flow, name: str) -> Callable[[Shape], Shape] | None:
        digit, given = DIGIT.search(name), self.given(flow)
        if digit is None or given.args.open or given.args.get(None, "return_indices") is not None:
            return None
        size = given.numbers(given.args.value(0, "output_size")) if "daptive" in name else None
        unit = bool(size) and set(size or ()) == {1}

        def pooled(shape: Shape) -> Shape:
            if shape.rank != int(digit[1]) + 2:
                return shape.bare(shape.rank)
            return shape._replace(features=None, unit=unit)

        return pooled

    def resample(self, flow: Flow, name: str) -> Callable[[Shape], Shape] | None:
        if name in SAMPLED or name.startswith("Upsampl"):
            return lambda shape: shape._replace(features=None, unit=False)
        given = self.given(flow)
        factor = given.number(given.args.value(0, "upscale_factor", "downscale_factor"))
        if (
            factor is None
            or factor < 1
            or name.lower().replace("_", "") not in {"pixelshuffle", "pixelunshuffle"}
        ):
            return None
        squared, grows = factor * factor, "nshuffle" in name

        def shuffled(shape: Shape) -> Shape:
            if shape.channels is None or shape.rank != 4:
                return shape.bare(shape.rank)
            size = times(shape.channels, number(squared)) if grows else quotient(shape.channels, squared)
            return Shape(4, size, made=shape.made, bent=shape.bent, home=shape.home)

        return shuffled

    # several tensors

    def of_operator(self, flow: Flow, inputs: Inputs, left: int) -> Ways:
        """`a + b`, `torch.mul(a, b)`: both have one shape, or one of them is a number."""
        call = flow.call
        operands = call if isinstance(call, tuple) else ()
        if isinstance(call, Args) and not call.open:
            operands = tuple(arg.value for arg in call.positional())
        tensors = [v for v in operands if not (isinstance(v, Const) and isinstance(v.value, int | float))]
        if not tensors or len(operands) != 2:
            return NOTHING
        parts: list[Ways] = []
        for value in sorted(tensors, key=is_far):
            parts.append(self.ways(value, inputs, left - 1))
            if all(is_whole(shape) for _, shape in parts[-1]):
                return joined((ALWAYS, (g, broadcast([shape]))) for g, shape in parts[-1])
        return joined((ALWAYS, way) for way in combined(parts, broadcast))

    def of_concat(self, flow: Flow, inputs: Inputs, left: int) -> Ways:
        call = flow.call
        if flow.name not in {"cat", "concat", "concatenate"} or not isinstance(call, Args) or call.open:
            return NOTHING
        listed, dim = call.value(0, "tensors"), call.get(1, "dim", "axis")
        at = 0 if dim is None else Given(self.run, flow, call).number(dim.value)
        items = self.run.items(listed) if isinstance(listed, ListVal) else None
        if (
            at is None
            or items is None
            or not items.whole
            or not items.held
            or any(h.guards for h in items.held)
        ):
            return NOTHING
        parts = [self.ways(held.value, inputs, left - 1) for held in items.held]
        return joined((ALWAYS, way) for way in combined(parts, lambda shapes: concatenated(shapes, at, flow)))

    # modules of the project

    def of_block(self, flow: Flow, inputs: Inputs) -> Ways:
        """What a module of the project gives back for what it is given here."""
        inner = self.enter(flow, inputs)
        if inner is None or flow.layer is None:
            return NOTHING
        output = self.output(flow.layer)
        if output is None:
            return NOTHING
        found = self.ways(output, inner)
        return tuple((g, shape._replace(home=shape.home | inner.home)) for g, shape in found)

    def output(self, block: Obj) -> Value | None:
        """What a module's forward returns; None where it has none, or too many were asked for."""
        if block.key in self.structure.outputs:
            return self.structure.outputs[block.key]
        if self.runs == 0:
            return None
        self.runs -= 1
        try:
            with self.structure.alone():
                self.run.objects.prepare(block)
                return self.structure.output(block)
        except OutOfFuel:
            return None

    def enter(self, flow: Flow, inputs: Inputs, guards: Guards = ALWAYS) -> Inputs | None:
        """What a module is given in a call, by its parameters; None where that is not all known.

        A parameter with a default keeps it when the forward is run by itself: nothing else may be given.
        """
        block, call = flow.layer, flow.call
        if block is None or not isinstance(block.cls, ClassVal) or inputs.depth == DEEPEST_BLOCK:
            return None
        forward = self.run.objects.find(block.cls, "forward")
        if not isinstance(forward, Func) or not isinstance(call, Args) or call.open:
            return None
        params = [p for p in forward.function.params[1:] if p.kind in {"both", "position", "keyword"}]
        required = {p.name for p in params if p.default is None}
        names = [p.name for p in params]
        given: dict[str, Value] = {}
        for arg in call.items:
            name = arg.name if arg.name is not None else names.pop(0) if names else None
            if name not in required:
                return None
            given[name] = arg.value
        return Inputs(given, inputs, guards, inputs.depth + 1, self.home(block))


def inside(shape: Shape, home: Home) -> Shape:
    """A shape as a module sees it that was built in `home`: other turns of that loop are not its business."""
    if shape.home == home:
        return shape._replace(home=frozenset())
    return shape._replace(channels=None, features=None)


def unchanged(shape: Shape) -> Shape:
    return shape


def joined(found: Iterable[tuple[Guards, tuple[Guards, Shape]]]) -> Ways:
    """Ways with more conditions; those that can never be taken are left out."""
    ways: dict[Shape, Guards] = {}
    for outer, (inner, shape) in found:
        if not contradicts(outer, inner):
            guards = outer | inner
            ways[shape] = ways[shape] & guards if shape in ways else guards
    if not ways or len(ways) > MOST_WAYS:
        return NOTHING
    return tuple((guards, shape) for shape, guards in ways.items())


def combined(parts: list[Ways], act: Callable[[list[Shape]], Shape]) -> Ways:
    """What comes of several tensors, for each way in which all of them can be."""
    ways: list[tuple[Guards, list[Shape]]] = [(ALWAYS, [])]
    for part in parts:
        ways = [
            (g | h, [*shapes, shape])
            for (g, shapes), (h, shape) in product(ways, part)
            if not contradicts(g, h)
        ]
        if len(ways) > MOST_WAYS * 2:
            return NOTHING
    return tuple((g, act(shapes)) for g, shapes in ways) or NOTHING


def is_far(value: Value) -> bool:
    """Whether it takes long to see what made a tensor: a module did, or a sum, or it comes from outside."""
    return not isinstance(value, Flow) or value.kind in {"other", "add", "concat", "input", "unknown"}


def is_whole(shape: Shape) -> bool:
    """Whether nothing that is added can change a shape: many channels, in as many dimensions as there are."""
    return shape.rank is not None and shape.rank > 3 and shape.channels not in {None, number(1)}


def broadcast(shapes: list[Shape]) -> Shape:
    """Tensors that are added or multiplied: one shape, or a 1 where the other has more."""
    first, *others = shapes
    for other in others:
        if first.rank is None or first.rank != other.rank:
            return UNKNOWN
        if first.channels == number(1) and other.channels is not None:
            first = other
        elif (
            other.channels not in {first.channels, number(1)}
            or first.channels is None
            or first.home != other.home
        ):
            first = first.bare(first.rank)
        first = first._replace(features=first.features if first.rank == 2 else None, unit=False)
    return first


def concatenated(shapes: list[Shape], at: int, flow: Flow) -> Shape:
    """Tensors one behind the other: all have as many dimensions, and their sizes add up in one of them."""
    first = shapes[0]
    ranks = {shape.rank for shape in shapes} - {None}
    rank = ranks.pop() if len(ranks) == 1 else None
    if rank is not None and at < 0:
        at += rank
    same_home = len({shape.home for shape in shapes}) == 1
    channels: Size | None = None
    sizes = [shape.channels for shape in shapes if shape.channels is not None]
    if at == 1 and len(sizes) == len(shapes) and same_home:
        channels = number(0)
        for size in sizes:
            channels = plus(channels, size)
        first = first._replace(made=flow)
    elif at != 1 and at >= 0 and same_home:
        channels = first.channels
    features = channels if rank == 2 else None
    bent = next((shape.bent for shape in shapes if shape.rank is not None), None)
    return Shape(rank, channels, features, made=first.made, bent=bent, home=first.home)
