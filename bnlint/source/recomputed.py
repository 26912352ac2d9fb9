"""Parts of models that activation checkpointing runs twice: once forward, once more in the backward pass.

The call is followed as if the part were called by itself. Whether it is made at all depends on options: with
those that are off by default nothing is recomputed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from bnlint.facts import Answer3, Recomputed, Setting
from bnlint.finding import Step
from bnlint.source import summary as ir
from bnlint.source.objects import last_name
from bnlint.source.statements import conditioned, parts_of, within
from bnlint.source.values import (
    Args,
    ArgVal,
    ClassVal,
    Const,
    External,
    Flow,
    Func,
    Guards,
    Obj,
    Place,
    Value,
    alternatives,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter
    from bnlint.source.scripts import Scripts

CHECKPOINTING: Final = frozenset({"checkpoint", "checkpoint_sequential"})
OWN: Final = frozenset({"use_reentrant", "preserve_rng_state", "context_fn", "determinism_check", "debug"})
"""Arguments of the checkpoint itself."""
MODES: Final = frozenset({"training", "requires_grad"})
ASKING: Final = frozenset({"is_grad_enabled", "is_scripting", "is_tracing", "any", "all"})
"""What a condition asks that is as it should be whenever a model is trained."""
DEEPEST: Final = 6


class Checkpoint(NamedTuple):
    """A checkpoint that was called: what ran in it, and the functions on the way with their calls."""

    call: str
    place: Place
    guards: Guards
    parts: tuple[Obj, ...]
    path: tuple[tuple[Func, Place], ...]
    owner: Obj | None


class Checkpoints:
    """Follows the calls of checkpoints and notes them."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.seen: list[Checkpoint] = []

    def called(self, name: str, args: Args, place: Place) -> Value:
        """`checkpoint(function, *inputs)`, `checkpoint_sequential(functions, segments, input)`"""
        given = Args(tuple(arg for arg in args.items if arg.name not in OWN), args.open)
        before = len(self.run.events.record.normalised)
        result = self.sequence(given, place) if name == "checkpoint_sequential" else self.single(given, place)
        normalised = self.run.events.record.normalised[before:]
        norms = (event.layer for event in normalised if event.guards <= self.run.state.guards)
        self.note(name, place, (*norms, *blocks(result)))
        return result

    def single(self, args: Args, place: Place) -> Value:
        if not args.items:
            return self.run.library.result_of("checkpoint", args, place)
        return self.run.force(self.run.call(args.items[0].value, Args(args.items[1:], args.open), place))

    def sequence(self, args: Args, place: Place) -> Value:
        """Of a sequence all segments but the last are checkpointed."""
        functions, segments, tensor = (
            args.value(0, "functions"),
            args.value(1, "segments"),
            args.get(2, "input"),
        )
        items = None if functions is None else self.run.items(functions)
        number = None if segments is None else self.run.force(segments)
        result = self.run.library.result_of("checkpoint_sequential", args, place)
        if items is None or items.open or tensor is None or not isinstance(number, Const):
            return result
        count = number.value if isinstance(number.value, int) and number.value > 0 else 1
        value = tensor.value
        for held in items.held[: len(items.held) // count * (count - 1)]:
            value = self.run.force(self.run.call(held.value, Args((ArgVal(None, value, place),)), place))
        return value if isinstance(value, Flow) else result

    def note(self, name: str, place: Place, parts: tuple[Obj, ...]) -> None:
        frames = [frame for frame in self.run.frames if frame.func is not None]
        sites = [*(frame.site for frame in frames[1:]), place]
        path = tuple((f.func, at) for f, at in zip(frames, sites, strict=True) if f.func and at)
        owner = next((frame.self for frame in reversed(frames) if isinstance(frame.self, Obj)), None)
        self.seen.append(Checkpoint(name, place, self.run.state.guards, parts, path, owner))


def blocks(result: Value) -> Iterator[Obj]:
    """The modules that a tensor went through last, back to where nothing is known."""
    pending = [value for _, value in alternatives(result)]
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if isinstance(value, Flow) and id(value) not in seen:
            seen.add(id(value))
            if value.kind == "other" and value.layer is not None:
                yield value.layer
                continue  # what it was given came from elsewhere, or is in another block
            pending.extend(value.inputs)


class Recomputations:
    """Turns checkpoints into facts: those of each class by itself, and of the models that are trained."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.structure = scripts.structure
        self.run = scripts.run

    def __iter__(self) -> Iterator[Recomputed]:
        self.run_trained()
        found: dict[Place, Recomputed] = {}
        for checkpoint in self.run.checkpoints.seen:
            fact = self.fact(checkpoint)
            known = found.get(checkpoint.place)
            if known is None or (fact.certain and fact.batchnorm == "yes"):
                found[checkpoint.place] = fact
        yield from found.values()

    def fact(self, checkpoint: Checkpoint) -> Recomputed:
        norms = [part for part in checkpoint.parts if self.run.objects.kind(part) == "batchnorm"]
        answers = {self.batchnorm(part) for part in checkpoint.parts}
        with_norm = [part.place.where() for part in checkpoint.parts if self.batchnorm(part) == "yes"]
        return Recomputed(
            checkpoint.place.where(),
            checkpoint.call,
            "yes" if "yes" in answers else "unknown",
            self.frozen(checkpoint.owner),
            self.momentum(norms),
            certain=self.is_certain(checkpoint),
            path=tuple(Step(where, "this is recomputed, and has BatchNorm") for where in with_norm[:1]),
        )

    def batchnorm(self, part: Obj) -> Answer3:
        """Whether torch's own BatchNorm is in a part; what extends it may know that it runs twice."""
        if self.run.objects.kind(part) == "batchnorm":
            return "yes" if isinstance(part.cls, External) else "unknown"
        return self.structure.has_batchnorm(part)

    def momentum(self, norms: list[Obj]) -> Setting | None:
        """The momentum of these layers, if one is given."""
        for norm in norms:
            layer = self.structure.layer(norm)
            setting = None if layer is None else layer.arguments.get("momentum")
            if setting is not None and setting.given:
                return setting
        return None

    def frozen(self, owner: Obj | None) -> Answer3:
        if owner is None or not isinstance(owner.cls, ClassVal):
            return "no"
        kept = self.structure.is_kept_in_eval(owner.cls) or self.scripts.frozen(owner) != "no"
        return "unknown" if kept else "no"

    # conditions

    def is_certain(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is used whenever the model trains."""
        if not checkpoint.guards:
            return True
        tests = (test for func, place in checkpoint.path for test in tests_around(func.function.body, place))
        return all(self.holds_in_training(test, checkpoint.owner) for test in tests)

    def holds_in_training(self, test: ir.Expr, owner: Obj | None) -> bool:
        match test:
            case ir.Unary(operand=operand):
                return self.holds_in_training(operand, owner)
            case ir.Logic(parts=parts):
                return all(self.holds_in_training(part, owner) for part in parts)
            case ir.Get(attr=attr) if attr in MODES:
                return True
            case ir.Call(func=func):
                return last_name(func) in ASKING
            case ir.Get(base=ir.Name(id="self"), attr=attr) if owner is not None:
                value = self.run.root.get((owner.key, attr))
                return isinstance(value, Const) and bool(value.value)
        return False

    # the models that are trained

    def run_trained(self) -> None:
        """Run what the models that are trained are made of, with the options that they were built with."""
        seen: set[object] = set()
        for event in list(self.run.events.record.forwards):
            if event.trained and isinstance(event.model, Obj):
                self.run_parts(event.model, seen, 0)

    def run_parts(self, obj: Obj, seen: set[object], depth: int) -> None:
        if obj.key in seen or depth > DEEPEST:
            return
        seen.add(obj.key)
        if isinstance(obj.cls, ClassVal) and self.checkpoints(obj.cls):
            self.structure.try_out(obj)
        for part in self.run.objects.registered.get(obj.key, ()):
            for _, value in alternatives(part):
                if isinstance(value, Obj):
                    self.run_parts(value, seen, depth + 1)

    def checkpoints(self, cls: ClassVal) -> bool:
        """Whether a method of a class calls a checkpoint."""
        bases = (base for base in self.run.objects.bases(cls) if isinstance(base, ClassVal))
        return any(method.calls & CHECKPOINTING for base in bases for method in base.klass.methods)


def tests_around(body: ir.Block, place: Place) -> Iterator[ir.Expr]:
    """The conditions that a call in a function stands under."""
    for stmt, tests in conditioned(body):
        if any(isinstance(part, ir.Call) and part.span == place.span for part in within(*parts_of(stmt))):
            yield from tests
