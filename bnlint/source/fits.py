"""Frameworks that go through a loader themselves: what is trained, from which loader, in how many batches."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Final, TypeGuard

from bnlint.source import summary as ir
from bnlint.source.events import Forward
from bnlint.source.objects import last_name
from bnlint.source.statements import calls_at, calls_in, statements, within
from bnlint.source.values import (
    Args,
    ArgVal,
    ClassVal,
    Const,
    DictVal,
    External,
    Func,
    ListVal,
    Obj,
    Place,
    Sym,
    Value,
    alternatives,
    fresh,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

LIGHTNING: Final = ("pytorch_lightning.", "lightning.")
MODULE: Final = "LightningModule"
DATA: Final = "LightningDataModule"
GIVES: Final = "train_dataloader"
"""The method that gives the training loader, of a model or of a data module."""
LOADER: Final = "torch.utils.data.DataLoader"


class Fits:
    """Notes what frameworks train: as forwards that draw from a loader."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.seen: list[Forward] = []
        self.given: set[ClassVal | External] = set()
        self.accumulated: dict[Hashable, ArgVal] = {}
        self.divisors: dict[Hashable, ir.Expr | None] = {}

    def called(self, trainer: Obj | Sym, name: str, args: Args, place: Place) -> None:
        """Lightning's `Trainer(…).fit(model, …)`, or `Trainer(model, …).train()` of transformers."""
        path = trainer.cls.path if isinstance(trainer, Obj) and isinstance(trainer.cls, External) else ""
        if not isinstance(trainer, Obj):
            return
        if name == "fit" and path.startswith(LIGHTNING):
            self.fit(trainer, args, place)
        elif name == "train" and path.startswith("transformers."):
            self.train(trainer, place)

    # Lightning

    def fit(self, trainer: Obj, args: Args, place: Place) -> None:
        model = args.value(0, "model")
        source = args.value(1, "train_dataloaders", "train_dataloader", "datamodule")
        steps = trainer.args.get(None, "accumulate_grad_batches")
        synced = trainer.args.value(None, "sync_batchnorm")
        if trainer.args.open or not (synced is None or is_off(self.run.force(synced))):
            return  # BatchNorm may see the batches of all devices
        for _, module in () if model is None else alternatives(self.run.force(model)):
            if isinstance(module, Obj):
                for loader in self.loaders(module if source is None else source, place):
                    self.note(module, loader, place, steps)

    def loaders(self, source: Value, place: Place) -> Iterator[Obj]:
        """The loaders that something is or gives."""
        for _, value in alternatives(self.run.force(source)):
            is_giver = isinstance(value, Obj) and isinstance(value.cls, ClassVal)
            method = self.run.objects.find(value.cls, GIVES) if isinstance(value, Obj) and is_giver else None
            if isinstance(value, Obj) and isinstance(method, Func):
                self.given.add(value.cls)
                made = self.run.objects.call_method(value, GIVES, Args(), place)
                yield from self.within(made)
            else:
                yield from self.within(value)

    def within(self, value: Value) -> Iterator[Obj]:
        value = self.run.force(value)
        if isinstance(value, ListVal):
            items = self.run.items(value)
            for held in () if items is None else items.held:
                yield from self.run.loaders.within(held.value)
        elif isinstance(value, DictVal):
            for entry in self.run.entries(value).held.values():
                yield from self.run.loaders.within(entry)
        else:
            yield from self.run.loaders.within(value)

    def note(self, model: Obj, loader: Obj, place: Place, steps: ArgVal | None) -> None:
        batch = Sym(fresh(), "batch", source=loader)
        event = self.run.events.seen(model, Args((ArgVal(None, batch, place),)), place)
        event.trained = True
        event.source = loader
        self.seen.append(event)
        if steps is not None:
            self.accumulated[id(event)] = steps

    # transformers

    def train(self, trainer: Obj, place: Place) -> None:
        """Its loader shuffles, and gives each device a number that is written in its arguments."""
        model, arguments = trainer.args.value(0, "model"), trainer.args.value(1, "args")
        model = None if model is None else self.run.force(model)
        arguments = None if arguments is None else self.run.force(arguments)
        if not isinstance(model, Obj) or not isinstance(arguments, Obj) or arguments.args.open:
            return
        data = trainer.args.value(4, "train_dataset") or Sym(fresh(), "train_dataset")
        size = arguments.args.value(None, "per_device_train_batch_size") or Const(8)
        kept = arguments.args.value(None, "dataloader_drop_last") or Const(False)
        here = arguments.place
        found = arguments.args.get(None, "per_device_train_batch_size")
        given = Args(
            (
                ArgVal("dataset", data, here),
                ArgVal("batch_size", size, here if found is None else found.place),
                ArgVal("shuffle", Const(True), here),
                ArgVal("drop_last", kept, here),
            )
        )
        loader = Obj(fresh(), External(LOADER), given, here, ready=True)
        self.run.loaders.made(loader, given)
        self.note(model, loader, place, arguments.args.get(None, "gradient_accumulation_steps"))

    # several batches a step

    def stepped(self, place: Place) -> None:
        """An optimizer steps: in every k-th batch alone, if the gradients of the others are kept for it."""
        run = self.run
        func = run.frames[-1].func if run.frames else None
        if not run.loops or (func is None and place.filename not in run.project.modules):
            return
        key = (id(func and func.function), place)
        if key not in self.divisors:
            body = func.function.body if func is not None else self.top(place)
            self.divisors[key] = divisor(body, place)
        number = self.divisors[key]
        if number is not None:
            run.steps[run.loops[-1].place] = ArgVal(None, run.eval(number), place)

    def top(self, place: Place) -> ir.Block:
        return self.run.project.modules[place.filename].summary.body

    def accumulating(self, base: Obj) -> None:
        """`with accelerator.accumulate(model):` steps in every k-th batch, as the accelerator was told."""
        steps = base.args.get(None, "gradient_accumulation_steps")
        if steps is not None and self.run.loops:
            self.run.steps[self.run.loops[-1].place] = steps

    # what nobody fits here

    def run_alone(self, cls: ClassVal) -> Iterator[Obj]:
        """The loaders that a class gives to whoever trains with it."""
        run = self.run
        obj = Obj(fresh(), cls, Args(), Place(cls.module.filename, cls.klass.span))
        with run.aside():
            run.objects.prepare(obj)
            yield from self.within(run.objects.call_method(obj, GIVES, Args(), obj.place))

    def fit_alone(self, cls: ClassVal) -> None:
        """A model that gives its own training loader is trained with it, whoever does that."""
        run = self.run
        self.given.add(cls)
        obj = Obj(fresh(), cls, Args(), Place(cls.module.filename, cls.klass.span))
        with run.aside():
            run.events.built(obj)
            run.objects.prepare(obj)
            for loader in self.within(run.objects.call_method(obj, GIVES, Args(), obj.place)):
                self.note(obj, loader, obj.place, None)

    def givers(self, base: str) -> Iterator[ClassVal]:
        """The classes below one of Lightning's that give a training loader, and that nobody uses here."""
        for cls in list(self.run.project.classes):
            is_used = cls in self.given
            if (
                not is_used
                and self.inherits(cls, base)
                and any(method.name == GIVES for method in cls.klass.methods)
            ):
                yield cls

    def inherits(self, cls: ClassVal, base: str) -> bool:
        paths = (b.path for b in self.run.objects.bases(cls) if isinstance(b, External))
        return any(path.startswith(LIGHTNING) and path.endswith(base) for path in paths)


def divisor(body: ir.Block, place: Place) -> ir.Expr | None:
    """The k of `if (i + 1) % k == 0: optimizer.step()` where gradients flow in each turn and are kept."""
    for stmt in statements(body):
        if not isinstance(stmt, ir.If) or not calls_at(stmt.body, place):
            continue
        here = {last_name(call.func) for call in calls_in(stmt.body)}
        total = [last_name(call.func) for call in calls_in(body)]
        inside = [last_name(call.func) for call in calls_in(stmt.body)]
        keeps = "zero_grad" in here and total.count("zero_grad") == inside.count("zero_grad")
        if keeps and "backward" not in here and "backward" in total:
            return next((p.right for p in within(stmt.test) if is_modulo(p)), None)
    return None


def is_modulo(part: object) -> TypeGuard[ir.Binary]:
    return isinstance(part, ir.Binary) and part.op == "%"


def is_off(value: Value) -> bool:
    return isinstance(value, Const) and not value.value
