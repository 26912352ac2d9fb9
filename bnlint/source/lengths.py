"""How many samples a data set holds, where that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bnlint.facts import UNKNOWN, Unknown
from bnlint.source.library import SIZES
from bnlint.source.values import (
    Args,
    ClassVal,
    Const,
    External,
    Func,
    ListVal,
    Obj,
    Sym,
    Value,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

TRAINING: Final[Mapping[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST"), 60_000),
        **dict.fromkeys(("CIFAR10", "CIFAR100"), 50_000),
    }
)
"""Sizes of the training parts of torchvision's data sets."""
DEEPEST: Final = 4
LENGTH_FUEL: Final = 500


class Lengths:
    """Counts what data sets hold."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run

    def of(self, data: Value | None, depth: int = 0) -> int | Unknown:
        """The number of samples, UNKNOWN where it is not written."""
        value = None if data is None else self.run.force(data)
        match value:
            case Obj(cls=External(path=path)) if depth < DEEPEST:
                return self.of_library(path, value.args, depth)
            case Obj(cls=ClassVal()):
                return self.of_project(value)
        return UNKNOWN

    def of_library(self, path: str, args: Args, depth: int) -> int | Unknown:
        name = path.rpartition(".")[2]
        first = args.value(0)
        if name == "TensorDataset" and first is not None:
            return self.rows(first)
        if name == "Subset":
            return self.of(args.value(1, "indices"), depth + 1)
        if name == "range" and path == "builtins.range":
            items = self.bounds(args)
            return UNKNOWN if items is None else len(items)
        if path.startswith("torchvision.datasets.") and name in TRAINING:
            return TRAINING[name] if self.is_training_part(args) else UNKNOWN
        return UNKNOWN

    def is_training_part(self, args: Args) -> bool:
        train = args.value(1, "train")
        return not args.open and (train is None or self.number(train) is True)

    def bounds(self, args: Args) -> range | None:
        given = args.positional()
        numbers = [n for arg in given if isinstance(n := self.number(arg.value), int)]
        if not numbers or len(numbers) != len(given) or numbers[2:] == [0]:
            return None
        return range(*numbers)

    def rows(self, tensor: Value) -> int | Unknown:
        """The first size of a tensor that is made here: `torch.randn(65, 8)`."""
        value = self.run.force(tensor)
        args = self.run.root.get((value.key, SIZES)) if isinstance(value, Sym) else None
        if not isinstance(value, Sym) or not isinstance(args, Args):
            return UNKNOWN
        given = args.positional()
        if value.name == "arange":
            bounds = self.bounds(args)
            return UNKNOWN if bounds is None else len(bounds)
        if value.name == "randint":
            given = given[-1:]
        first = self.run.force(given[0].value) if given else None
        items = self.run.items(first) if isinstance(first, ListVal) else None
        if items is not None and items.held and items.whole:
            if value.name == "tensor":
                return len(items.held)
            first = self.run.force(items.held[0].value)
        known = isinstance(first, Const) and type(first.value) is int and value.name != "tensor"
        return first.value if isinstance(first, Const) and known else UNKNOWN

    def number(self, value: Value) -> object:
        value = self.run.force(value)
        return value.value if isinstance(value, Const) else None

    def of_project(self, data: Obj) -> int | Unknown:
        """What `__len__` returns; what counts a list is not asked, for not all that it holds was followed."""
        method = self.run.objects.find(data.cls, "__len__")
        if not isinstance(method, Func) or "len" in method.function.calls:
            return UNKNOWN
        from bnlint.source.interpret import OutOfFuel  # which needs this room itself

        run = self.run
        fuel, run.fuel = run.fuel, LENGTH_FUEL
        try:
            run.objects.prepare(data)
            found = run.force(run.run(method, Args(), data, data.place))
        except OutOfFuel:
            return UNKNOWN
        finally:
            run.fuel = fuel
        return found.value if isinstance(found, Const) and type(found.value) is int else UNKNOWN
