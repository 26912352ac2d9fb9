"""What models answer: the tensors that their forward returns, where something says that they are answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bnlint.facts import Answer, Kind
from bnlint.finding import Step
from bnlint.source import summary as ir
from bnlint.source.interpret import OutOfFuel
from bnlint.source.state import PARENTS
from bnlint.source.structure import Structure
from bnlint.source.values import (
    ALWAYS,
    ClassVal,
    DictVal,
    Flow,
    ListVal,
    Obj,
    Place,
    Value,
    alternatives,
)

DEEPEST_BLOCK: Final = 4
NEAR: Final[frozenset[Kind]] = frozenset(
    {"reshape", "dropout", "identity", "resample", "softmax", "activation"}
)
"""What may stand between the layer that makes an answer and the answer."""

CLASS_COUNT: Final = re.compile(
    r"^_?(num|n|nb|number_of)_?(class|classes|cls|labels|categories|outputs?)$|^(nclass|nclasses|classes|class_num|"
    r"out_classes|classes_num)$",
    re.IGNORECASE,
)
"""Names of the number of classes."""
HEAD_NAME: Final = re.compile(r"(^|_|\.)(classifier|logits?|score|fc_out|final_fc)$", re.IGNORECASE)
"""Names of the layers that make the answer."""
SURE_NAME: Final = re.compile(r"(^|_)logits?$", re.IGNORECASE)
"""A returned name that says it even of a part of a model."""


def may_answer(cls: ClassVal) -> bool:
    """Whether a class is built for a number of classes: its head may be a block from elsewhere."""
    for stmt in cls.klass.body:
        if isinstance(stmt, ir.Function) and stmt.name == "__init__":
            return any(CLASS_COUNT.search(param.name) for param in stmt.params)
    return False


def answers(structure: Structure) -> Iterator[Answer]:
    """An answer for each tensor that a model returns and that something says is its answer."""
    found = Answers(structure)
    yield from found.compared()
    for obj, result in structure.instances:
        if (
            result is not None
            and isinstance(obj.cls, ClassVal)
            and structure.run.objects.is_module(obj.cls) == "yes"
        ):
            for index, value in found.returned(result):
                yield from found.answer(obj.cls, index, value)


class Answers:
    """Follows returned tensors back to the layers that make them."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.run = structure.run
        self.losses: dict[tuple[ClassVal, int | None], Step] = {}

    # losses

    def compared(self) -> Iterator[Answer]:
        """Losses say which returned tensors are answers; a bare Sequential is judged here."""
        for event in list(self.run.events.record.compared):
            if self.comes_from_model(event.target):
                continue
            step = Step(
                event.place.where(), f"`{event.loss}` compares it with a target: this is the model's answer"
            )
            for chain in self.structure.chains(event.answer, ALWAYS):
                end = self.end(chain)
                if end is None:
                    continue
                if end.kind == "batchnorm" and end.layer is not None:
                    yield Answer(
                        self.owner(end.layer), end.place.where(), self.structure.as_chain(chain), (step,)
                    )
                elif end.kind == "other" and end.layer is not None and isinstance(end.layer.cls, ClassVal):
                    self.note(end.layer.cls, chain[: chain.index(end)], step)

    def note(self, cls: ClassVal, taken: tuple[Flow, ...], step: Step) -> None:
        """A loss judges what a model of this class returns, or one part of it."""
        index: int | None = None
        for flow in reversed(taken):
            if flow.name.startswith("["):
                if not flow.name[1:-1].isdecimal():
                    return
                index = int(flow.name[1:-1])
                break
        self.losses.setdefault((cls, index), step)
        if all(obj.cls is not cls for obj, _ in self.structure.instances):
            self.structure.run_class(cls)

    def comes_from_model(self, value: Value) -> bool:
        """Whether a target is itself made by layers: features are compared then, not answers."""
        for _, flow in alternatives(value):
            if isinstance(flow, Flow) and (
                flow.layer is not None or any(self.comes_from_model(v) for v in flow.inputs[:1])
            ):
                return True
        return False

    def owner(self, layer: Obj) -> str:
        container = self.container(layer)
        return (container.name if container is not None else "") or "Sequential"

    # returned tensors

    def returned(self, value: Value) -> Iterator[tuple[int | None, Value]]:
        """The tensors among what a forward returns, and their positions in a tuple."""
        for _, inner in alternatives(value):
            match inner:
                case ListVal():
                    items = self.run.items(inner)
                    for at, held in enumerate(items.held if items else ()):
                        yield at, held.value
                case DictVal():
                    for entry in self.run.entries(inner).held.values():
                        yield None, entry
                case _:
                    yield None, value
                    return

    def answer(self, cls: ClassVal, index: int | None, value: Value) -> Iterator[Answer]:
        """An answer for each layer that can have made a tensor, if something says that it is one."""
        chains: dict[int, tuple[Flow, ...]] = {}
        for chain in self.structure.chains(value, ALWAYS):
            end = self.end(chain)
            chains.setdefault(id(end), chain)
        for flows in chains.values():
            end = self.end(flows)
            if end is None or end.layer is None:
                continue
            block = end.layer if end.kind == "other" and isinstance(end.layer.cls, ClassVal) else None
            if block is None and end.kind != "batchnorm":
                continue
            named = tuple(self.why(cls, index, flows, end.layer))
            if block is not None and not named and not self.counts(block):
                continue
            chain = flows if block is None else self.inside(flows[: flows.index(end) + 1])
            last = self.end(chain)
            if last is None or last.kind != "batchnorm":
                continue
            why = (*self.counted(last), *named)
            if why:
                place = self.written(cls, end, block)
                found = self.structure.as_chain(chain)
                yield Answer(cls.klass.name, place.where(), found, why, len(chains) == 1)

    def end(self, chain: tuple[Flow, ...]) -> Flow | None:
        """The operation that makes the tensor at the near end of a chain."""
        return next((flow for flow in chain if flow.kind not in NEAR), None)

    def written(self, cls: ClassVal, end: Flow, block: Obj | None) -> Place:
        """Where the model writes its last layer: the layer, or where it has another make it."""
        built = block if block is not None else self.container(end.layer)
        own = block.place if block is not None else end.place
        if built is None or built.held is None:
            return own
        return own if self.is_within(built.place, cls) else built.held

    def is_within(self, place: Place, cls: ClassVal) -> bool:
        """Whether a call is written in a method of a class."""
        written = self.structure.conditions.of(place)
        return written is None or written.function in {id(s) for s in cls.klass.body}

    def container(self, layer: Obj | None) -> Obj | None:
        """The outermost container around a layer that an attribute holds."""
        found: Obj | None = None
        pending = [] if layer is None else [layer.key]
        seen = set(pending)
        while pending:
            for parent in self.run.state.get((pending.pop(), PARENTS)) or ():
                container = self.run.objects.containers.get(parent)
                if container is not None and parent not in seen:
                    seen.add(parent)
                    pending.append(parent)
                    found = container
        return found

    # blocks

    def inside(self, flows: tuple[Flow, ...]) -> tuple[Flow, ...]:
        try:
            with self.structure.alone():
                return self.through_blocks(flows, 0)
        except OutOfFuel:
            return flows

    def through_blocks(self, chain: tuple[Flow, ...], depth: int) -> tuple[Flow, ...]:
        """A chain that ends in a block of the project continues inside it, if there is one way only."""
        if not chain or depth == DEEPEST_BLOCK:
            return chain
        *before, last = chain
        block = last.layer
        if last.kind != "other" or block is None or not isinstance(block.cls, ClassVal):
            return chain
        self.run.objects.prepare(block)
        inside = self.structure.output(block)
        if inside is None:
            return chain
        inner = self.structure.chains(inside, ALWAYS)
        ends = {id(self.end(c)): self.end(c) for c in inner}
        end = next(iter(ends.values()), None)
        if len(ends) != 1 or end is None:
            return chain
        near = inner[0][: inner[0].index(end) + 1]
        return (*before, *self.through_blocks(near, depth + 1))

    # evidence

    def counts(self, layer: Obj) -> tuple[str, Place] | None:
        """The name under which a layer is given the number of classes."""
        for arg in layer.args.items:
            name = getattr(arg.value, "name", "")
            if isinstance(name, str) and CLASS_COUNT.search(name):
                return name, arg.place
        return None

    def counted(self, last: Flow) -> Iterator[Step]:
        """The features that BatchNorm has are the classes, by the name of their number."""
        found = None if last.layer is None else self.counts(last.layer)
        if found is not None:
            yield Step(found[1].where(), f"`{found[0]}` counts the classes: this is the model's answer")

    def why(self, cls: ClassVal, index: int | None, chain: tuple[Flow, ...], head: Obj) -> Iterator[Step]:
        """What else says that this is the model's answer."""
        container = self.container(head)
        built = head if container is None else container
        if HEAD_NAME.search(built.attr):
            place = built.held or built.place
            yield Step(place.where(), f"`{built.attr}` makes the model's answer")
        for flow in chain[:6]:
            returned = self.run.events.record.returned.get(id(flow))
            if returned is not None and (
                SURE_NAME.search(returned.name) or cls not in self.run.objects.parts
            ):
                yield Step(
                    returned.place.where(), f"`{returned.name}` is returned: this is the model's answer"
                )
                break
        loss = self.losses.get((cls, index))
        if loss is not None:
            yield loss
