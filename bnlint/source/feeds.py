"""The loaders that feed training: how many samples they give at once, and what the last batch holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from bnlint.facts import UNKNOWN, Answer3, Feed, Setting
from bnlint.finding import Step
from bnlint.source import events
from bnlint.source.fits import DATA, MODULE
from bnlint.source.names import is_test_file
from bnlint.source.positions import Positions
from bnlint.source.remainders import Remainders
from bnlint.source.scripts import Scripts
from bnlint.source.structure import where_of
from bnlint.source.values import (
    Args,
    ArgVal,
    Const,
    External,
    Flow,
    Func,
    Obj,
    Place,
    Sym,
    Value,
    alternatives,
    known,
)

JOINING: Final = frozenset(
    {"batch", "from_data_list", "cat", "concat", "concatenate", "vstack", "hstack", "sparse_collate"}
)
"""What a `collate_fn` calls that joins the rows of all samples."""
STACKING: Final = frozenset({"stack", "default_collate"})
"""What a `collate_fn` calls that keeps samples apart."""
BATCH_SIZE, SHUFFLE, SAMPLER, BATCH_SAMPLER, COLLATE, DROP_LAST = 1, 2, 3, 4, 6, 8
"""Positions of a DataLoader's arguments; the data come first."""
SAMPLERS: Final = frozenset(
    {"RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler", "DistributedSampler"}
)
"""Samplers that shuffle and do not care for the size of batches."""


class Feeds:
    """Turns the forwards that train into the loaders that feed them."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.structure = scripts.structure
        self.run = scripts.run
        self.positions = Positions(scripts.structure)
        self.remainders = Remainders(scripts.run)

    def __iter__(self) -> Iterator[Feed]:
        seen: set[tuple[Place, bool, int]] = set()
        for event, loader in self.pairs():
            size = self.together(self.batch_size(loader), event)
            if size is None or self.structure.has_batchnorm(event.model) != "yes":
                continue
            key = (loader.place, size.value is UNKNOWN, id(event.model))
            if key not in seen:
                seen.add(key)
                yield self.feed(event, loader, size)
        fed = {place.where() for place, _, _ in seen}
        yield from (feed for feed in self.alone() if feed.loader not in fed)

    def alone(self) -> Iterator[Feed]:
        """The loaders that data modules give to models which are chosen elsewhere."""
        norm = self.one_dimensional()
        for cls in self.run.fits.givers(DATA) if norm is not None else ():
            for loader in self.run.fits.run_alone(cls):
                args, size = self.arguments(loader), self.batch_size(loader)
                if size is None:
                    continue
                drop_last = self.drop_last(loader, args)
                what = f"`{cls.klass.name}` gives it to a model with such a BatchNorm1d"
                yield Feed(
                    where_of(loader.place),
                    size,
                    "the model",
                    "yes",
                    single=norm,
                    length=self.run.loaders.known[loader.key].length,
                    drop_last=drop_last,
                    shuffled=self.shuffled(args),
                    guarded=self.remainders.around_loader(loader),
                    assumed=what,
                )

    def one_dimensional(self) -> Step | None:
        """A BatchNorm1d behind a Linear: what it normalises are vectors, one for each sample."""
        for event in self.run.events.record.normalised:
            before = event.flow.inputs[0] if event.flow.inputs else None
            cls = event.layer.cls
            name = cls.path.rpartition(".")[2] if isinstance(cls, External) else ""
            is_vector = isinstance(before, Flow) and before.kind == "linear"
            if name == "BatchNorm1d" and is_vector and not is_test_file(event.layer.place.filename):
                return Step(where_of(event.layer.place), "this BatchNorm1d gets a vector of each sample")
        return None

    def pairs(self) -> Iterator[tuple[events.Forward, Obj]]:
        """The forwards that train, each with the loaders that it draws from."""
        for event in self.run.events.record.forwards:
            if event.trained and not {m.mode for m in event.modes} & {"eval"}:
                yield from ((event, loader) for loader in self.loaders(event))
        for cls in list(self.run.fits.givers(MODULE)):
            self.run.fits.fit_alone(cls)
        for event in self.run.fits.seen:
            yield from ((event, loader) for loader in self.run.loaders.within(event.source or event.model))

    def feed(self, event: events.Forward, loader: Obj, size: Setting) -> Feed:
        args = self.arguments(loader)
        drop_last = self.together(self.drop_last(loader, args), event) or Setting(
            UNKNOWN, where_of(loader.place)
        )
        is_short = drop_last.value is False
        single = self.single(event) if is_short or isinstance(size.value, int) else None
        return Feed(
            where_of(loader.place),
            size,
            self.scripts.name(event.model),
            "yes",
            "unknown" if event.parts_switched else self.scripts.frozen(event.model),
            values=size.value if single is not None and isinstance(size.value, int) else UNKNOWN,
            single=single,
            length=self.run.loaders.known[loader.key].length,
            drop_last=drop_last,
            shuffled=self.shuffled(args),
            guarded=self.remainders.answer(event, loader) if is_short else "unknown",
            synced=self.synced(event.model),
            steps=self.steps(event),
            path=tuple(self.scripts.path(event)),
        )

    def synced(self, model: Value) -> Answer3:
        """Whether BatchNorm sees the samples of other devices."""
        return self.run.devices.synced(model.key)[0] if isinstance(model, Obj | Sym) else "unknown"

    def steps(self, event: events.Forward) -> Setting | None:
        """How many batches a step of the optimizer takes."""
        given = self.run.fits.accumulated.get(id(event))
        if given is None:
            places = [loop.place for loop in event.loops]
            given = next((self.run.steps[place] for place in places if place in self.run.steps), None)
        return None if given is None else self.setting(given)

    def single(self, event: events.Forward) -> Step | None:
        """The BatchNorm that sees one value per channel of each sample, if one does."""
        place = self.positions.single(event.model, event.args)
        if place is None:
            return None
        return Step(where_of(place), "this BatchNorm gets one value per channel of each sample")

    # which loaders

    def loaders(self, event: events.Forward) -> Iterator[Obj]:
        """The DataLoaders that a training step draws from."""
        sources: list[Value] = [event.source] if event.source is not None else []
        sources += [lp.source for lp in event.loops if lp.source is not None]
        for source in sources:
            yield from self.run.loaders.within(source)

    def arguments(self, loader: Obj) -> Args:
        """What reaches torch's constructor."""
        known = self.run.loaders.known.get(loader.key)
        return Args(open=True) if known is None else known.args

    # how large the batches are

    def batch_size(self, loader: Obj) -> Setting | None:
        """How many samples a loader gives at once; None where something else decides."""
        args = self.arguments(loader)
        if args.open or not self.is_none(args.value(BATCH_SAMPLER, "batch_sampler")):
            return None
        if self.joins_samples(args.value(COLLATE, "collate_fn")):
            return None
        given = args.get(BATCH_SIZE, "batch_size")
        if given is None:
            return Setting(1, where_of(loader.place), given=False)
        return self.setting(given)

    def together(self, setting: Setting | None, event: events.Forward) -> Setting | None:
        """A setting of a file says nothing of a model that the same file does not choose."""
        if setting is None or not any(
            self.is_beside(step.where.filename, event) for step in setting.evidence
        ):
            return setting
        return replace(setting, value=UNKNOWN)

    def is_beside(self, filename: str, event: events.Forward) -> bool:
        """Whether a file of the configuration need not be the one that chooses a model."""
        configs = self.run.configs
        return configs.is_written(filename) and configs.is_beside(event.guards)

    def is_none(self, value: Value | None) -> bool:
        value = None if value is None else self.run.force(value)
        return value is None or (isinstance(value, Const) and value.value is None)

    def setting(self, given: ArgVal) -> Setting:
        """An argument with what it is, or what it is by default."""
        value = known(self.run.force(given.value))
        if value is None:
            return Setting(UNKNOWN, where_of(given.place))
        steps: tuple[Step, ...] = ()
        if value.place is not None and value.place != given.place:
            steps = (Step(where_of(value.place), f"`{value.name or 'batch_size'}` is {value.value!r}"),)
        return Setting(value.value, where_of(given.place), evidence=steps)

    def joins_samples(self, collate: Value | None) -> bool:
        """Whether samples become one long one (graphs, points): BatchNorm sees its many rows."""
        match None if collate is None else self.run.force(collate):
            case Func(function=function):
                return bool(function.calls & JOINING) and not function.calls & STACKING
            case External(path=path):
                return path.rpartition(".")[2] in JOINING
        return False

    # what the last one holds

    def drop_last(self, loader: Obj, args: Args) -> Setting:
        """Whether a short last batch is left out."""
        given = args.get(DROP_LAST, "drop_last")
        return Setting(False, where_of(loader.place), given=False) if given is None else self.setting(given)

    def shuffled(self, args: Args) -> Answer3:
        """Whether samples come in a new order each epoch, as they do where a model is trained."""
        sampler = args.value(SAMPLER, "sampler")
        if sampler is not None and not self.is_none(sampler):
            found = [self.run.force(v) for _, v in alternatives(self.run.force(sampler))]
            return "yes" if all(self.is_shuffling(v) for v in found) else "unknown"
        shuffle = args.value(SHUFFLE, "shuffle")
        match Const(False) if shuffle is None else self.run.force(shuffle):
            case Const(value=bool(on)) | Sym(default=Const(value=bool(on))):
                return "yes" if on else "no"
        return "unknown"

    def is_shuffling(self, sampler: Value) -> bool:
        if self.is_none(sampler):
            return True  # then it is `shuffle` that says so, or the loader of a single process
        cls = sampler.cls if isinstance(sampler, Obj) else None
        return isinstance(cls, External) and cls.path.rpartition(".")[2] in SAMPLERS
