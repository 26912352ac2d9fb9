"""What models answer: the tensors that their forward returns, where something says that they are answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from bnlint.facts import Answer
from bnlint.finding import Step
from bnlint.source.blocks import Blocks, block_of, end
from bnlint.source.layers import NEAR
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

Index: TypeAlias = int | str | None
"""Where a tensor stands in what is returned: its position in a tuple, or its key in a dict."""

CLASS_COUNT: Final = re.compile(
    r"^_?(num|n|nb|number_of)_?(class|classes|cls|labels|categories|outputs?)$|^(nclass|nclasses|classes|class_num|"
    r"out_classes|classes_num)$",
    re.IGNORECASE,
)
"""Names of the number of classes."""
HEAD_NAME: Final = re.compile(r"(^|_|\.)(classifier|logits?|score|fc_out|final_fc)$", re.IGNORECASE)
"""Names of the layers that make the answer."""
GENERATOR: Final = re.compile(r"generator", re.IGNORECASE)
"""Classes whose answer is an image, where it is squashed into the range of one."""
SQUASHED: Final = frozenset({"tanh", "sigmoid"})
SURE_NAME: Final = re.compile(r"(^|_)logits?$", re.IGNORECASE)
"""A returned name that says it even of a part of a model."""


def may_answer(cls: ClassVal) -> bool:
    """Whether a class is built for a number of classes: its head may be a block from elsewhere."""
    init = next((method for method in cls.klass.methods if method.name == "__init__"), None)
    return init is not None and any(CLASS_COUNT.search(param.name) for param in init.params)


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
                if found.is_last(obj.cls, index):
                    yield from found.answer(obj.cls, index, value)


class Traced(NamedTuple):
    """A returned tensor that comes out of a BatchNorm.

    `calls` are those of the blocks around that BatchNorm, outermost first, and its own; `why` says what
    shows that the tensor is an answer.
    """

    cls: ClassVal
    chain: tuple[Flow, ...]
    calls: tuple[Flow, ...]
    why: tuple[Step, ...]

    def built(self, written: Place) -> Iterator[Step]:
        """Where the blocks are built, apart from the one that the finding points at."""
        for call in self.calls[:-1]:
            block = block_of(call)
            if block is not None and block.place != written:
                yield Step(block.place.where(), f"{call.name} makes the answer and is built here")


def squashed(chain: tuple[Flow, ...]) -> Iterator[Step]:
    """The activation that makes an image of what the last layer makes."""
    for flow in chain:
        if flow.kind not in NEAR:
            return
        name = flow.name.rpartition(".")[2].lower()
        if flow.kind == "activation" and name in SQUASHED:
            yield Step(flow.place.where(), f"{flow.name} makes an image of it: this is the model's answer")


def hands_on(call: Flow) -> bool:
    """Whether a model is given the very input of the one that calls it."""
    return any(isinstance(value, Flow) and value.kind == "input" for value in call.inputs[:1])


class Answers:
    """Follows returned tensors back to the layers that make them."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.run = structure.run
        self.blocks = Blocks(structure)
        self.losses: dict[tuple[ClassVal, Index], Step] = {}

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
                last = end(chain)
                block = None if last is None else block_of(last)
                if last is None or last.layer is None:
                    continue
                if last.kind == "batchnorm":
                    yield Answer(
                        self.owner(last.layer), last.place.where(), self.structure.as_chain(chain), (step,)
                    )
                elif block is not None and isinstance(block.cls, ClassVal):
                    self.note(block.cls, chain[: chain.index(last)], step)

    def note(self, cls: ClassVal, taken: tuple[Flow, ...], step: Step) -> None:
        """A loss judges what a model of this class returns, or one part of it."""
        index: Index = None
        for flow in reversed(taken):
            if flow.name.startswith("[") and flow.name != "[]":
                at = flow.name[1:-1]
                index = int(at) if at.isdecimal() else at
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

    def is_last(self, cls: ClassVal, index: Index) -> bool:
        """Whether nothing computes with what a model returns, or a loss judges it all the same."""
        return cls not in self.run.events.record.continued or (cls, index) in self.losses

    def returned(self, value: Value) -> Iterator[tuple[Index, Value]]:
        """The tensors among what a forward returns, and their positions in a tuple or keys in a dict."""
        for _, inner in alternatives(value):
            match inner:
                case ListVal():
                    items = self.run.items(inner)
                    for at, held in enumerate(items.held if items else ()):
                        yield at, held.value
                case DictVal():
                    for key, entry in self.run.entries(inner).held.items():
                        yield key if isinstance(key, str) else None, entry
                case _:
                    yield None, value
                    return

    def answer(self, cls: ClassVal, index: Index, value: Value) -> Iterator[Answer]:
        """An answer for each layer that can have made a tensor, if something says that it is one."""
        ways: dict[int, tuple[Flow, ...]] = {}
        for chain in self.structure.chains(value, ALWAYS):
            ways.setdefault(id(end(chain)), chain)
        found = [self.traced(cls, index, way) for way in ways.values()]
        for one in found:
            if one is not None and one.why:
                place = self.written(one)
                yield Answer(
                    cls.klass.name,
                    place.where(),
                    self.structure.as_chain(one.chain),
                    one.why,
                    None not in found,
                    tuple(one.built(place)),
                )

    def traced(self, cls: ClassVal, index: Index, way: tuple[Flow, ...]) -> Traced | None:
        """One way in which a tensor comes out of a BatchNorm, and what says that it is an answer."""
        last = end(way)
        if last is None or last.layer is None:
            return None
        block = block_of(last)
        named = tuple(self.why(cls, index, way, last.layer))
        if block is not None and not named and not self.counts(block) and not may_answer(cls):
            return None  # nothing will say that it is an answer
        chain, calls = self.blocks.inside(way)
        made = end(chain)
        if made is None or made.kind != "batchnorm":
            return None
        return Traced(cls, chain, (*calls, made), (*self.counted(made), *named))

    def written(self, traced: Traced) -> Place:
        """Where the model writes its last layer: the layer, or where it has another make it.

        A model that hands its input on to another writes nothing of its own, and one that is told the
        number of classes under that name is more than a block.
        """
        cls, (call, *inside) = traced.cls, traced.calls
        for inner in inside:
            block = block_of(call)
            if block is None or not isinstance(block.cls, ClassVal):
                break
            if not (may_answer(block.cls) or hands_on(call)):
                break
            cls, call = block.cls, inner
        block = block_of(call)
        built = block if block is not None else self.container(call.layer)
        own = block.place if block is not None else call.place
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

    def why(self, cls: ClassVal, index: Index, chain: tuple[Flow, ...], head: Obj) -> Iterator[Step]:
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
        if GENERATOR.search(cls.klass.name):
            yield from squashed(chain)
        loss = self.losses.get((cls, index))
        if loss is not None:
            yield loss
