"""What `view`, `flatten`, `permute` and their like do to a shape, from the arguments that they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from bnlint.source.events import Home
from bnlint.source.sizes import Size, number, size_of
from bnlint.source.values import Args, Const, Flow, ListVal, Sym, Value

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter


class Shape(NamedTuple):
    """What is certain of a shape.

    `rank` is the number of dimensions, `channels` the size of the one behind the batch, `features` that
    of the last one; `unit` says that whatever is behind the channels is 1. `made` made the channels, with
    layers of `home`, `bent` the dimensions. `given` says that the rest depends on what the module is given.
    """

    rank: int | None = None
    channels: Size | None = None
    features: Size | None = None
    unit: bool = False
    made: Flow | None = None
    bent: Flow | None = None
    home: Home = frozenset()
    given: bool = False

    def bare(self, rank: int | None) -> Shape:
        """A shape of which nothing but the number of its dimensions is left."""
        return Shape(rank, bent=self.bent, given=self.given)


class Given(NamedTuple):
    """The arguments of a call, behind its tensor."""

    run: Interpreter
    flow: Flow
    args: Args

    def number(self, value: Value | None) -> int | None:
        match None if value is None else self.run.force(value):
            case Const(value=int() as number):
                return number
        return None

    def listed(self, value: Value | None) -> list[Value] | None:
        """The items of a list; None where they are not all known."""
        items = self.run.items(value) if isinstance(value, ListVal) else None
        if items is None or not items.whole or any(held.guards for held in items.held):
            return None
        return [held.value for held in items.held]

    def numbers(self, value: Value | None) -> list[int] | None:
        """One number or a list of them."""
        one = self.number(value)
        if one is not None:
            return [one]
        found = [self.number(item) for item in self.listed(value) or (None,)]
        known = [each for each in found if each is not None]
        return known if len(known) == len(found) else None

    def rest(self, *names: str) -> list[Value] | None:
        """`f(a, b, c)` or `f([a, b, c])`; None where it cannot be told how many there are."""
        values = [arg.value for arg in self.args.items if arg.name is None or arg.name in names]
        if self.args.open or len(values) != len(self.args.items):
            return None
        return values if len(values) > 1 else self.listed(values[0]) if values else None

    def two(self, first: str, second: str) -> tuple[int, int] | None:
        """Two numbers that have to be given."""
        one, other = self.number(self.args.value(0, first)), self.number(self.args.value(1, second))
        return None if one is None or other is None or self.args.open else (one, other)


def kept(shape: Shape, _: Given) -> Shape:
    return shape


def viewed(shape: Shape, given: Given) -> Shape:
    """`x.view(n, c, …)`: as many dimensions as there are arguments."""
    sizes = given.rest("shape", "size")
    if sizes is None:
        return shape.bare(None)._replace(bent=None, given=False)
    rank = len(sizes)
    if rank == 2 and shape.unit and given.number(sizes[1]) == -1 and is_batch(sizes[0]):
        return flattened_unit(shape, given.flow)
    channels = asked(sizes[1], given) if rank > 1 else None
    features = asked(sizes[-1], given) if sizes else None
    return Shape(rank, channels, features, made=given.flow, bent=given.flow)


def asked(value: Value, given: Given) -> Size | None:
    """A size that is asked for; -1 leaves it to be found out."""
    size = size_of(given.run.force(value))
    return None if size is None or (size.number is not None and size.number < 1) else size


def is_batch(value: Value) -> bool:
    """Whether a value is how many samples there are: `x.size(0)`, the first of `x.shape`."""
    match value:
        case Flow(name="size", call=Args(items=items)) if len(items) == 2:
            return isinstance(items[1].value, Const) and items[1].value.value == 0
        case Flow(name="[0]", inputs=(Flow(name="size"),)) | Sym(key=(("shape", _), "[0]")):
            return True
    return False


def flattened_unit(shape: Shape, flow: Flow) -> Shape:
    """Channels with nothing but ones behind them are features now."""
    return Shape(2, shape.channels, shape.channels, made=shape.made, bent=flow, home=shape.home)


def flattened(shape: Shape, given: Given) -> Shape:
    """`flatten(x, start, end)`, from 0 on; torch.nn.Flatten begins at 1."""
    first = 1 if given.flow.layer is not None else 0
    start = given.number(given.args.value(0, "start_dim") or Const(first))
    end = given.number(given.args.value(1, "end_dim") or Const(-1))
    if start is None or end is None or given.args.open:
        return shape.bare(None)._replace(given=False)
    if shape.rank is None:
        if start < 0 or end != -1:
            return shape.bare(None)
        return Shape(
            start + 1,
            shape.channels if start > 1 else None,
            made=shape.made,
            bent=given.flow,
            home=shape.home,
        )
    start, end = start % shape.rank, end % shape.rank
    if end <= start:
        return shape
    rank = shape.rank - (end - start)
    if rank == 2 and start == 1 and shape.unit:
        return flattened_unit(shape, given.flow)
    bent = shape.bare(rank)._replace(bent=given.flow)
    if start < 2:
        return bent
    return bent._replace(channels=shape.channels, made=shape.made, home=shape.home, unit=shape.unit)


def unsqueezed(shape: Shape, given: Given) -> Shape:
    at = given.number(given.args.value(0, "dim"))
    if at is None or shape.rank is None:
        return shape.bare(None)
    rank = shape.rank + 1
    at %= rank
    bare = shape.bare(rank)._replace(bent=given.flow)
    if at == 1:
        return bare._replace(channels=number(1), made=given.flow)
    if at == 0:
        return bare
    unit = shape.unit or shape.rank == 2
    return bare._replace(channels=shape.channels, made=shape.made, home=shape.home, unit=unit)


def squeezed(shape: Shape, given: Given) -> Shape:
    """A dimension goes if it is 1: that is only certain where all behind the channels are."""
    at = given.numbers(given.args.value(0, "dim"))
    if shape.rank is None or at is None or not shape.unit:
        return shape.bare(None)
    gone = {one % shape.rank for one in at}
    if not all(one > 1 for one in gone):
        return shape.bare(None)
    rank = shape.rank - len(gone)
    if rank == 2:
        return flattened_unit(shape, given.flow)
    return shape._replace(rank=rank, bent=given.flow)


def permuted(shape: Shape, given: Given) -> Shape:
    order = given.rest("dims")
    found = None if order is None else [given.number(one) for one in order]
    if found is None or None in found:
        return shape.bare(None if found is None else len(found))
    rank = len(found)
    return ordered(
        shape.bare(rank) if shape.rank not in {None, rank} else shape,
        [one % rank for one in found if one is not None],
        given.flow,
    )


def ordered(shape: Shape, order: list[int], flow: Flow) -> Shape:
    """The dimensions of a tensor in another order."""
    rank = len(order)
    known = {1: shape.channels, rank - 1: shape.channels if rank == 2 else shape.features}
    bare = shape.bare(rank)._replace(bent=shape.bent if shape.rank is not None else flow)
    channels = known.get(order[1]) if rank > 1 and shape.rank is not None else None
    features = known.get(order[-1]) if shape.rank is not None else None
    made = shape.made if rank > 1 and order[1] == 1 else flow
    return bare._replace(channels=channels, features=features, made=made, home=shape.home)


def transposed(shape: Shape, given: Given) -> Shape:
    pair = given.two("dim0", "dim1")
    if pair is None or shape.rank is None:
        return shape.bare(shape.rank)
    order = list(range(shape.rank))
    one, other = (at % shape.rank for at in pair)
    order[one], order[other] = order[other], order[one]
    return ordered(shape, order, given.flow)


def padded(shape: Shape, given: Given) -> Shape:
    """Padding changes the last dimensions: the channels stay where they are not among them."""
    if given.flow.layer is not None:
        digit = given.flow.name[-2:-1]
        padded_dims = int(digit) if digit.isdecimal() else None
    else:
        pads = given.listed(given.args.value(0, "pad"))
        padded_dims = None if pads is None else len(pads) // 2
    if shape.rank is None or padded_dims is None or shape.rank - padded_dims < 2:
        return shape.bare(shape.rank)
    return shape._replace(features=None, unit=False)


def reduced(shape: Shape, given: Given) -> Shape:
    """`x.mean((2, 3))`"""
    dims = given.numbers(given.args.value(0, "dim", "axis"))
    keep = given.args.value(1, "keepdim")
    if dims is None or shape.rank is None or given.args.open or not isinstance(keep, Const | None):
        return shape.bare(None)._replace(given=False)
    gone = {one % shape.rank for one in dims}
    keeps = keep is not None and bool(keep.value)
    rank = shape.rank if keeps else shape.rank - len(gone)
    bare = shape.bare(rank)._replace(bent=shape.bent if keeps else given.flow)
    if min(gone) < 2:
        return bare
    features = shape.channels if rank == 2 else None
    unit = keeps and len(gone) == shape.rank - 2
    return bare._replace(
        channels=shape.channels, features=features, made=shape.made, home=shape.home, unit=unit
    )


def resized(shape: Shape, given: Given) -> Shape:
    """`expand`, `repeat`: only the number of dimensions is known."""
    sizes = given.rest("size", "sizes", "repeats")
    return shape.bare(None if sizes is None else len(sizes))


Change = Callable[[Shape, Given], Shape]
RESHAPES: Final[dict[str, Change]] = {
    **dict.fromkeys(
        (
            *("contiguous", "clone", "detach", "to", "float", "half", "double", "bfloat16", "cpu", "cuda"),
            *("requires_grad_", "retain_grad", "detach_", "type", "type_as", "ChannelShuffle"),
        ),
        kept,
    ),
    **dict.fromkeys(("view", "reshape"), viewed),
    **dict.fromkeys(("flatten", "Flatten"), flattened),
    "unsqueeze": unsqueezed,
    "squeeze": squeezed,
    "permute": permuted,
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), transposed),
    **dict.fromkeys(
        (
            "pad",
            *(
                f"{kind}Pad{n}d"
                for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular")
                for n in (1, 2, 3)
            ),
        ),
        padded,
    ),
    **dict.fromkeys(("expand", "repeat"), resized),
    **dict.fromkeys(("flip", "roll"), kept),
}
"""What each operation makes of a shape; of any that is not named here nothing is known."""
