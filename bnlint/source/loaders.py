"""The loaders that a program builds, noted while it runs: later nobody knows what their data held."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from bnlint.facts import UNKNOWN, Unknown
from bnlint.source.lengths import Lengths
from bnlint.source.values import Args, External, Func, Obj, Value, alternatives

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

LOADERS: Final = ("DataLoader", "DataLoaderX", "MultiEpochsDataLoader")
GRAPHS: Final = ("torch_geometric.", "dgl.", "torch_points3d.")
"""Where the loaders come from that join graphs: a batch holds all their nodes."""
DEEPEST: Final = 4
SAMPLER: Final = 3
"""The position of a DataLoader's sampler."""


class Made(NamedTuple):
    """A loader: what reached torch's constructor, and how many samples its data hold."""

    args: Args
    length: int | Unknown = UNKNOWN


class Loaders:
    """Notes what each loader is made of, and which loader another object goes through."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.lengths = Lengths(run)
        self.known: dict[Hashable, Made] = {}
        self.inner: dict[Hashable, Obj] = {}

    def made(self, obj: Obj, args: Args) -> None:
        """A DataLoader is built, or an instance of a class that is one."""
        if is_loader_path(self.path(obj)):
            has_sampler = args.value(SAMPLER, "sampler") is not None
            length = UNKNOWN if has_sampler else self.lengths.of(args.value(0, "dataset"))
            self.known[obj.key] = Made(args, length)

    def path(self, obj: Obj) -> str:
        base = self.run.objects.external_base(obj.cls)
        return "" if base is None else base.path

    def is_loader(self, obj: Obj) -> bool:
        return is_loader_path(self.path(obj))

    def gone_through(self, obj: Obj) -> None:
        """An instance is gone through: if that is on behalf of one loader, it is noted."""
        if obj.key in self.inner or not isinstance(self.run.objects.find(obj.cls, "__iter__"), Func):
            return
        held = [self.run.state.get((obj.key, name)) for name in self.run.objects.names.get(obj.key, ())]
        found = [loader for value in held if value is not None for loader in self.within(value)]
        if len(found) == 1:
            self.inner[obj.key] = found[0]

    def within(self, source: Value, depth: int = 0) -> Iterator[Obj]:
        """The loaders behind what is gone through: itself, or what something goes through for it."""
        for _, value in alternatives(self.run.force(source)):
            if not isinstance(value, Obj) or depth > DEEPEST:
                continue
            if self.is_loader(value):
                yield value
            elif isinstance(value.cls, External):
                for arg in value.args.positional():
                    yield from self.within(arg.value, depth + 1)
            elif value.key in self.inner:
                yield self.inner[value.key]


def is_loader_path(path: str) -> bool:
    """Whether a class gives the samples of a data set in batches of so many."""
    return path.endswith(LOADERS) and not path.startswith(GRAPHS)
