"""What arrives at each BatchNorm: its dimensions and its channels, beside what the layer asks for."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import combinations, product
from typing import Final, NamedTuple

from bnlint.facts import UNKNOWN, Answer3, Arrival, Arrived, Unknown
from bnlint.finding import Step
from bnlint.source.events import Entered, Normalised
from bnlint.source.reshapes import Shape
from bnlint.source.shapes import Inputs, Shapes
from bnlint.source.sizes import Size, differ
from bnlint.source.structure import Structure
from bnlint.source.values import ClassVal, Flow, Func, Obj, Place, contradicts

TAKES: Final = {"BatchNorm1d": (2, 3), "BatchNorm2d": (4,), "BatchNorm3d": (5,)}
"""How many dimensions a tensor may have; SyncBatchNorm takes any number."""
MOST_INSTANCES: Final = 8
"""Instances of one class that are looked at, where the class alone does not decide."""


class Seen(NamedTuple):
    """An arrival at the BatchNorm of a class, and what its instances may know better.

    `depends` says that it is wrong on each way, or may be for some arguments of the class; `given` that
    the input of the class decides.
    """

    event: Normalised
    arrival: Arrival
    depends: bool = False
    given: bool = False


def arrivals(structure: Structure) -> Iterator[Arrival]:
    """Every arrival of which something is certain."""
    return Arrivals(structure).all()


class Arrivals:
    """Looks at classes by themselves first, and at their instances where that decides more."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.run = structure.run
        self.record = structure.run.events.record
        self.shapes = Shapes(structure)
        self.taken = 0
        self.by_instance: dict[Hashable, list[Normalised]] = {}

    def all(self) -> Iterator[Arrival]:
        known = {obj.key for found in self.record.instances.values() for obj in found}
        alone: list[Seen] = []
        for event in self.fresh():
            seen = self.look(event, self.shapes.top)
            if seen is None:
                continue
            if event.instance is not None and event.instance.key not in known:
                alone.append(seen)
            else:
                yield seen.arrival
        yield from self.decided(alone)

    def fresh(self) -> Iterator[Normalised]:
        """The events that were recorded since this was last asked."""
        events = self.record.normalised[self.taken :]
        self.taken += len(events)
        for event in events:
            if event.instance is not None:
                self.by_instance.setdefault(event.instance.key, []).append(event)
        return iter(events)

    # classes and their instances

    def decided(self, alone: list[Seen]) -> Iterator[Arrival]:
        """What classes say by themselves, and what their instances say where there are any."""
        self.shapes.runs = self.shapes.most_runs()
        asked: dict[ClassVal, list[Seen]] = {}
        entered = {s.event.instance.cls for s in alone if s.given and s.event.instance is not None}
        for seen in alone:
            cls = None if seen.event.instance is None else seen.event.instance.cls
            if isinstance(cls, ClassVal) and seen.depends:
                asked.setdefault(cls, []).append(seen)
            else:
                yield seen.arrival
        for cls, those in asked.items():
            built = list(self.instances(cls))
            if not built:
                yield from (seen.arrival for seen in those)
            for obj in built:
                yield from self.of_instance(obj, self.shapes.top)
        for call in list(self.record.entered):
            block = call.flow.layer
            if block is not None and block.cls in entered:
                yield from self.of_call(block, call)

    def instances(self, cls: ClassVal) -> Iterator[Obj]:
        """Instances of a class or of one that inherits from it."""
        heirs = [heir for heir in self.record.instances if cls in self.run.objects.bases(heir)]
        found = [obj for heir in heirs for obj in self.record.instances[heir]]
        return iter(found[:MOST_INSTANCES])

    def of_instance(self, obj: Obj, inputs: Inputs) -> Iterator[Arrival]:
        """What arrives at the BatchNorms of an instance that something builds."""
        self.shapes.output(obj)
        list(self.fresh())
        step = Step(obj.place.where(), f"`{self.run.objects.class_name(obj)}` is built here")
        for event in self.by_instance.get(obj.key, ()):
            seen = self.look(event, inputs, (step,))
            if seen is not None:
                yield seen.arrival

    def of_call(self, block: Obj, call: Entered) -> Iterator[Arrival]:
        """What arrives at the BatchNorms of a module from where it is called."""
        inputs = self.shapes.enter(call.flow, self.shapes.top, call.guards)
        if inputs is None:
            return
        ways = (way for name in inputs.given for way in self.shapes.of_input(name, inputs))
        if any(not shape.given for _, shape in ways):
            yield from self.of_instance(block, inputs)

    # one arrival

    def look(self, event: Normalised, inputs: Inputs, path: tuple[Step, ...] = ()) -> Seen | None:
        norm = self.structure.layer(event.layer)
        if norm is None or not event.flow.inputs or not self.shapes.is_first(event.flow):
            return None
        if event.instance is None and not event.contained:
            return None  # of a script's own loops it is not noted which tensors they leave behind
        ways = list(self.ways(event, inputs))
        if not ways:
            return None
        takes = TAKES.get(norm.cls.removeprefix("Lazy"), ()) if self.is_checked(event.layer) else ()
        arrived = tuple(dict.fromkeys(self.arrived(shape, asked) for shape, asked in ways))
        found = Arrival(norm, norm.where, text_of(ways[0][1]), takes, arrived, path)
        doubts = [is_doubtful(shape, asked, takes) for shape, asked in ways]
        given = [shape.given and shape.channels is None and asked is not None for shape, asked in ways]
        depends = any(given) and all(one or other for one, other in zip(doubts, given, strict=True))
        return Seen(event, found, depends=all(doubts), given=depends)

    def ways(self, event: Normalised, inputs: Inputs) -> Iterator[tuple[Shape, Size | None]]:
        """Each shape that can arrive, beside the size that is asked for on that way."""
        home = self.shapes.home(event.layer)
        asked = self.shapes.sizes(event.layer, "num_features")
        for (g, size), (h, shape) in product(asked, self.shapes.ways(event.flow.inputs[0], inputs)):
            if not any(contradicts(one, other) for one, other in combinations((event.guards, g, h), 2)):
                yield (shape if shape.home == home else shape._replace(channels=None)), size

    def arrived(self, shape: Shape, asked: Size | None) -> Arrived:
        return Arrived(
            UNKNOWN if shape.rank is None else shape.rank,
            text_of(shape.channels),
            fits(shape.channels, asked),
            None if shape.made is None else step_of(shape.made, f"makes {count_of(shape.channels)}"),
            None if shape.bent is None else step_of(shape.bent, f"makes a tensor of {shape.rank} dimensions"),
        )

    def is_checked(self, layer: Obj) -> bool:
        """Whether a BatchNorm looks at the dimensions: one of the project's own may have put that aside."""
        return not isinstance(self.run.objects.find(layer.cls, "_check_input_dim"), Func)


def is_doubtful(shape: Shape, asked: Size | None, takes: tuple[int, ...]) -> bool:
    """Whether a shape does not fit, or need not."""
    if takes and shape.rank is not None and shape.rank not in takes:
        return True
    return asked is not None and shape.channels is not None and shape.channels != asked


def fits(channels: Size | None, asked: Size | None) -> Answer3:
    if channels is None or asked is None:
        return "unknown"
    if channels == asked:
        return "yes"
    return "no" if differ(channels, asked) else "unknown"


def text_of(size: Size | None) -> int | str | Unknown:
    """A size as a number, or as the source would write it."""
    if size is None:
        return UNKNOWN
    return str(size) if size.number is None else size.number


def count_of(size: Size | None) -> str:
    return "the channels" if size is None else f"{text_of(size)} channels"


def step_of(flow: Flow, what: str) -> Step:
    place: Place = flow.place if flow.layer is None else flow.layer.place
    return Step(place.where(), f"{flow.name} {what}")
