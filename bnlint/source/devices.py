"""Models that are copied to several devices, and batches that are divided among them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from bnlint.facts import UNKNOWN, Answer3, Split, Unknown
from bnlint.finding import Step
from bnlint.source import summary as ir
from bnlint.source.objects import last_name
from bnlint.source.statements import calls_in, statements
from bnlint.source.values import (
    Args,
    ArgVal,
    ClassVal,
    Const,
    Guards,
    Obj,
    Place,
    Sym,
    Value,
    alternatives,
    known,
)

if TYPE_CHECKING:
    from bnlint.source import events
    from bnlint.source.feeds import Feeds
    from bnlint.source.interpret import Interpreter

PROCESSES: Final = frozenset({"DistributedDataParallel", "DDP"})
"""Wrappers of which each process has its own, with a loader of its own."""
SPLITTING: Final = "DataParallel"
"""The wrapper that divides each batch among the devices of one process."""
CONVERTING: Final = "convert_sync_batchnorm"
SYNCHRONISING: Final = re.compile(r"sync_?(bn|batch_?norm)", re.IGNORECASE)
"""What functions are called that make BatchNorm see all devices."""
DIVIDING: Final = frozenset({"/", "//"})
NUMBER: Final = re.compile(
    r"world_?size|device_count|n_?gpus?(_per_node)?$|num_?(gpus?|devices|replicas|processes)|nprocs|n_devices",
    re.IGNORECASE,
)
"""What the number of devices or processes is called."""
FEWEST: Final = 2
"""Devices among which a batch is divided, at least, if it is divided."""


class Share(NamedTuple):
    """A part of a number that several devices have in equal parts."""

    whole: Const


class Wrapped(NamedTuple):
    """A model that was wrapped, for how many devices; `off` would have made its BatchNorm see all of them."""

    kind: str
    number: int | Unknown
    place: Place
    off: tuple[Step, ...]


class Devices:
    """Notes what is wrapped, what is synchronised, and what is divided by a number of devices."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.wrapped: dict[Hashable, list[Wrapped]] = {}
        self.synchronised: dict[Hashable, list[Guards]] = {}
        self.shares: dict[Hashable, Share] = {}
        self.defaults: dict[Hashable, Const] = {}

    # numbers

    def divided(self, made: Sym, left: Value, right: Value) -> None:
        """A number was divided by another one: if that counts devices, it is each one's share."""
        whole = known(left)
        is_count = isinstance(right, Sym) and NUMBER.search(right.name)
        if is_count and whole is not None and type(whole.value) is int:
            self.shares[made.key] = Share(whole)

    def still(self, made: Sym, share: Sym) -> None:
        """A share that must not be too small is one still."""
        if share.key in self.shares:
            self.shares[made.key] = self.shares[share.key]

    def share(self, value: Value) -> Share | None:
        """The share that a number is, in one of the ways that it was computed."""
        found = (self.shares.get(v.key) for _, v in alternatives(self.run.force(value)) if isinstance(v, Sym))
        return next((share for share in found if share is not None), None)

    # models

    def called(self, name: str, args: Args, place: Place) -> None:
        """A wrapper or a converter is given a model."""
        if name in PROCESSES or name == SPLITTING:
            wrapped = Wrapped(name, self.count(args.value(1, "device_ids")), place, tuple(self.turned_off()))
            for model in self.models(args):
                self.wrapped.setdefault(model.key, []).append(wrapped)
        elif SYNCHRONISING.search(name):
            for model in self.models(args):
                self.synchronised.setdefault(model.key, []).append(self.run.state.guards)
                self.note_defaults()

    def count(self, ids: Value | None) -> int | Unknown:
        """How many devices are listed."""
        items = None if ids is None else self.run.items(ids)
        return UNKNOWN if items is None or not items.whole else len(items.held)

    def models(self, args: Args) -> Iterator[Obj | Sym]:
        for arg in args.items[:1]:
            for _, value in alternatives(self.run.force(arg.value)):
                model = self.run.force(value)
                if isinstance(model, Obj | Sym):
                    yield model

    def note_defaults(self) -> None:
        """The defaults of the options that decide whether we are here."""
        for key, _ in self.run.state.guards:
            option = self.run.state.get(key) if isinstance(key, tuple) and len(key) == 2 else None
            if isinstance(option, Sym) and option.default is not None:
                self.defaults[key] = option.default

    def turned_off(self) -> Iterator[Step]:
        """The settings that keep the functions which are running from converting BatchNorm."""
        for frame in self.run.frames:
            body = () if frame.func is None else frame.func.function.body
            for stmt in statements(body):
                if isinstance(stmt, ir.If) and any(
                    last_name(c.func) == CONVERTING for c in calls_in(stmt.body)
                ):
                    yield from self.off(stmt.test)

    def off(self, test: ir.Expr) -> Iterator[Step]:
        """The constants in a condition that are false."""
        match test:
            case ir.Logic(op="and", parts=parts):
                for part in parts:
                    yield from self.off(part)
            case ir.Name() | ir.Get() | ir.Call(func=ir.Name(id="getattr")):
                value = self.run.force(self.run.eval(test))
                if isinstance(value, Const) and not value.value and value.place is not None:
                    yield Step(value.place.where(), f"`{value.name or 'sync_bn'}` is {value.value!r}")

    def synced(self, key: Hashable) -> tuple[Answer3, tuple[Step, ...]]:
        """Whether BatchNorm was made to see all devices, and the options that are off by default."""
        ways = self.synchronised.get(key, [])
        defaults = [self.defaults_off(guards) for guards in ways]
        if all(defaults):
            return "no", tuple(step for steps in defaults for step in steps)
        return ("yes" if any(not guards for guards in ways) else "unknown"), ()

    def defaults_off(self, guards: Guards) -> tuple[Step, ...]:
        """The options that must be given for these conditions to hold."""
        found = [(self.defaults[key], way) for key, way in guards if key in self.defaults]
        return tuple(
            Step(default.place.where(), f"`{default.name}` is {default.value!r} by default")
            for default, way in found
            if bool(default.value) is not way and default.place is not None
        )


class Splits:
    """Turns wrapped models that are trained into facts."""

    def __init__(self, feeds: Feeds) -> None:
        self.feeds = feeds
        self.run = feeds.run
        self.devices = feeds.run.devices

    def __iter__(self) -> Iterator[Split]:
        """A fact for each wrapper and verdict; what leaves it so in other configurations is told with it."""
        found: dict[tuple[object, ...], Split] = {}
        for event, loader in self.feeds.pairs():
            model = event.model
            for wrapped in self.devices.wrapped.get(model.key, ()) if isinstance(model, Obj | Sym) else ():
                fact = self.fact(event, loader, wrapped)
                if fact is not None:
                    key = (fact.where, fact.share, fact.loaded, fact.batchnorm, fact.frozen, fact.synced)
                    known = found.get(key, fact)
                    found[key] = replace(known, path=tuple(dict.fromkeys((*known.path, *fact.path))))
        yield from found.values()

    def fact(self, event: events.Forward, loader: Obj, wrapped: Wrapped) -> Split | None:
        given = self.feeds.arguments(loader).get(1, "batch_size")
        if given is None or not isinstance(event.model, Obj | Sym):
            return None
        found = (
            self.divided_loader(given) if wrapped.kind in PROCESSES else self.divided_batch(given, wrapped)
        )
        if found is None:
            return None
        whole, share, number = found
        if whole.place is not None and self.feeds.is_beside(whole.place.filename, event):
            return None
        synced, off = self.devices.synced(event.model.key)
        size = self.feeds.setting(given).value
        steps: tuple[Step, ...] = (Step(loader.place.where(), "this loader gives the samples"),)
        if whole.place is not None:
            steps += (Step(whole.place.where(), f"`{whole.name or 'batch_size'}` is {whole.value!r}"),)
        return Split(
            wrapped.place.where(),
            wrapped.kind,
            self.feeds.scripts.name(event.model),
            self.feeds.structure.has_batchnorm(event.model),
            "unknown" if event.parts_switched else self.feeds.scripts.frozen(event.model),
            whole=whole.value,
            share=share,
            devices=number,
            loaded=size if isinstance(size, int) else UNKNOWN,
            synced=synced,
            path=(*self.feeds.scripts.path(event), *steps, *off, *self.with_heirs(wrapped.off)),
        )

    def divided_loader(self, given: ArgVal) -> tuple[Const, int, int | Unknown] | None:
        """The loader of each process gives its share of a number; there are two processes or more."""
        share = self.devices.share(given.value)
        return None if share is None else (share.whole, share.whole.value // FEWEST, UNKNOWN)

    def divided_batch(self, given: ArgVal, wrapped: Wrapped) -> tuple[Const, int, int | Unknown] | None:
        """Each batch of one loader is divided among devices whose number is written down."""
        whole = known(self.run.force(given.value))
        number = wrapped.number
        if whole is None or type(whole.value) is not int or not isinstance(number, int) or number < FEWEST:
            return None
        return whole, -(-whole.value // number), number

    def with_heirs(self, off: tuple[Step, ...]) -> Iterator[Step]:
        """Settings of a class, with those of the classes that inherit them and say the same."""
        for step in off:
            yield step
            for cls, name in self.declared_at(step):
                for heir in self.run.project.classes:
                    bases = list(self.run.objects.bases(heir)) if heir is not cls else []
                    if cls in bases:
                        yield from (
                            Step(Place(heir.module.filename, stmt.span).where(), step.message)
                            for stmt in declarations(heir, name)
                        )

    def declared_at(self, step: Step) -> Iterator[tuple[ClassVal, str]]:
        """The class whose body says what a step shows."""
        for cls in self.run.project.classes:
            if cls.module.filename == step.where.filename:
                for stmt in declarations(cls):
                    if stmt.span.row == step.where.row and isinstance(stmt.target, ir.Name):
                        yield cls, stmt.target.id


def declarations(cls: ClassVal, name: str | None = None) -> Iterator[ir.Declare]:
    """The fields of a class that are off by default, all of them or those of one name."""
    for stmt in cls.klass.body:
        match stmt:
            case ir.Declare(target=ir.Name(id=found), value=ir.Lit(value=False | None)):
                if name in {None, found}:
                    yield stmt
