"""How a home-made layer is built, and which inputs it takes: found by trying."""

from __future__ import annotations

import copy
import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bnlint.homemade.batches import CHANNELS, batch
from bnlint.homemade.specimen import CannotRunError, Layout, Specimen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

EPS = 0.0013
"""The eps that is asked for: large enough to be seen beside the variances, and nobody's own choice."""
MOMENTUM = 0.3
"""The momentum that is asked for: neither a default nor the counterpart of one in the other convention."""

LONGEST = 120
"""So much of what an exception says is enough to know it by."""

EPS_NAMES = ("eps", "epsilon", "variance_epsilon", "e")
MOMENTUM_NAMES = ("momentum", "momentum_", "mom", "bn_momentum", "m")
DECAY_NAMES = ("decay", "rho", "alpha", "decay_rate", "ema_decay", "moving_decay")
"""Names that leave it open which share is meant: that of the old average or that of the new batch."""
DIMS_NAMES = ("num_dims", "dims", "ndim", "n_dims", "ndims", "num_dim", "dim", "rank", "input_dims", "d")
COUNT_NAMES = ("num_features", "features", "num_channels", "channels", "n_features", "dim", "size", "n", "c")
YES_NAMES = ("affine", "track_running_stats", "learnable", "trainable", "scale", "center", "bias")


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to build the layer for a number of channels; `text` shows it.

    `eps`, `momentum` and `decay` are what was asked for; `dims` is the number of dimensions that it was
    built for, if it was told one. `fresh` says that it builds new layers and copies none, `affine` that a
    scale and a shift were asked for, and `default` builds it with the momentum that it has by itself.
    """

    text: str
    make: Callable[[int], Any]
    eps: float | None = None
    momentum: float | None = None
    decay: float | None = None
    dims: int | None = None
    channels: int = CHANNELS
    fresh: bool = True
    affine: bool = False
    default: Callable[[int], Any] | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A plan, and inputs with which it runs in train mode."""

    plan: Plan
    dims: int
    layout: Layout
    dtype: torch.dtype

    def fresh(self, channels: int | None = None) -> Specimen:
        """A new layer, the same one each time."""
        torch.set_default_dtype(self.dtype)
        torch.default_generator.manual_seed(0)
        try:
            layer = self.plan.make(self.plan.channels if channels is None else channels)
        except SystemExit as problem:
            raise CannotRunError("it ends the process") from problem
        specimen = Specimen(layer, self.layout)
        if specimen.waits:
            specimen.train(mode=False)(self.batch(0))
        return specimen.train()

    def batch(self, seed: int) -> Tensor:
        """A batch that it takes."""
        return batch(self.dims, seed, self.plan.channels).to(self.dtype)


@dataclass(frozen=True, slots=True)
class Found:
    """The trials, one for each number of dimensions; and what was tried in vain, with what came of it."""

    trials: tuple[Trial, ...]
    failures: Mapping[str, str]


def trials(target: Any) -> Found:
    """The ways in which a class, or a layer, can be tried."""
    plans = tuple(_plans(target) if isinstance(target, type) else [_copies(target)])
    failures: dict[str, str] = {}
    for dtype in (torch.float64, torch.float32):
        found = [one for dims in (2, 3, 4, 5) if (one := _first(plans, dims, dtype, failures))]
        if found:
            return Found(_meant(target, found), failures)
    return Found((), failures)


def _first(plans: tuple[Plan, ...], dims: int, dtype: torch.dtype, failures: dict[str, str]) -> Trial | None:
    """The first plan that takes inputs of so many dimensions."""
    layouts: tuple[Layout, ...] = ("first",) if dims == 2 else ("first", "last")
    runs: list[Trial] = []
    for plan in sorted(plans, key=lambda plan: plan.dims != dims):
        for layout in layouts:
            trial = Trial(plan, dims, layout, dtype)
            try:
                specimen = trial.fresh()
            except Exception as problem:
                failures.setdefault(plan.text, said(problem))
                break
            try:
                specimen(trial.batch(0))
                specimen(trial.batch(1))
            except Exception as problem:
                failures.setdefault(f"{plan.text} on a {dims}-D input", said(problem))
            else:
                if _knows_channels(specimen, plan.channels):
                    return trial
                runs.append(trial)
    return runs[0] if runs else None


def _knows_channels(specimen: Specimen, channels: int) -> bool:
    """Does it hold a tensor of as many values as there are channels? If not, it may take others for them."""
    return any(tensor.numel() == channels for tensor in specimen.tensors().values())


def said(problem: Exception) -> str:
    """An exception in a line."""
    lines = str(problem).strip().splitlines() or [""]
    first = lines[0] if len(lines[0]) <= LONGEST else lines[0][:LONGEST].rstrip() + " …"
    return f"{type(problem).__name__}: {first}".rstrip(": .")


def _meant(target: Any, found: list[Trial]) -> tuple[Trial, ...]:
    """Those that the name of the class speaks of; a 1d layer may run on images by accident."""
    cls = target if isinstance(target, type) else type(target)
    number = re.search(r"([123])_?[dD]", cls.__name__)
    wanted = {"1": (2, 3), "2": (4,), "3": (5,)}[number[1]] if number else ()
    return tuple(one for one in found if one.dims in wanted) or tuple(found)


def _plans(cls: type) -> Iterator[Plan]:
    """Ways to call the constructor, the most telling first."""
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [one for one in parameters if one.kind not in {one.VAR_POSITIONAL, one.VAR_KEYWORD}]
    required = [one.name for one in named if one.default is one.empty]
    names = [one.name for one in named]
    count = required[0] if required else _count_name(names)
    dims_name = next((name for name in DIMS_NAMES if name in required[1:]), None)
    known = _known(names, count)
    positional = {one.name for one in named if one.kind is one.POSITIONAL_ONLY}
    by_name = count if named and (named[0].name != count or named[0].kind is named[0].KEYWORD_ONLY) else None
    for more in (known, {name: known[name] for name in required if name in known}):
        for shape in _shapes(named, count):
            for dims, value in _dims(dims_name):
                extra = {**more, dims_name: value} if dims_name else more
                yield _plan(cls, shape, extra, dims, (positional, required, by_name))


def _count_name(names: list[str]) -> str | None:
    """The parameter for the number of channels among those that have a default; None where there is none."""
    return next((name for name in names if name.lower() in COUNT_NAMES), None)


def _known(names: list[str], count: str | None) -> dict[str, object]:
    """What is passed besides the number of channels."""
    known: dict[str, object] = {}
    for name in names:
        if name == count:
            continue
        if name in EPS_NAMES:
            known[name] = EPS
        elif name in MOMENTUM_NAMES or name in DECAY_NAMES:
            known[name] = MOMENTUM
        elif name in YES_NAMES:
            known[name] = True
    return known


def _shapes(named: list[inspect.Parameter], count: str | None) -> list[Callable[[int], tuple[Any, ...]]]:
    """How the number of channels may be given: as a number, as a shape, or not at all."""
    if named and count is None:
        return [lambda _: ()]
    given: list[Callable[[int], tuple[Any, ...]]] = [
        lambda c: (c,),
        lambda c: ((c,),),
        lambda c: ((1, c, 1, 1),),
        lambda c: ((1, c),),
    ]
    return given if named else [lambda _: (), *given]


def _dims(name: str | None) -> list[tuple[int | None, int | None]]:
    """What a parameter for the number of dimensions may mean: that of the input, or of its positions.

    The inputs that it was told of are known only in the first case.
    """
    if name is None:
        return [(None, None)]
    return [*((dims, dims) for dims in (2, 4, 3, 5)), *((None, value) for value in (1, 2, 3, 0))]


def _plan(
    cls: type,
    shape: Callable[[int], tuple[Any, ...]],
    more: dict[str, object],
    dims: int | None,
    kinds: tuple[set[str], list[str], str | None],
) -> Plan:
    """A call of the constructor; parameters that cannot be named go by position, the number if it can."""
    positional, required, by_name = kinds
    extra = tuple(value for name, value in more.items() if name in positional)
    keywords = {name: value for name, value in more.items() if name not in positional}
    averages = {*MOMENTUM_NAMES, *DECAY_NAMES} & set(keywords)
    untold = {name: value for name, value in keywords.items() if name not in averages}

    def call(channels: int, more: dict[str, object]) -> Any:
        if by_name:
            return cls(*extra, **{by_name: shape(channels)[0]}, **more)
        return cls(*shape(channels), *extra, **more)

    def make(channels: int) -> Any:
        return call(channels, keywords)

    def default(channels: int) -> Any:
        return call(channels, untold)

    first = [f"{by_name}={one}" if by_name else f"{one}" for one in shape(CHANNELS)]
    given = [*first, *map(str, extra), *(f"{name}={value}" for name, value in keywords.items())]
    asked = {name: value for name, value in more.items() if isinstance(value, float)}
    return Plan(
        f"{cls.__name__}({', '.join(given)})",
        make,
        eps=next((asked[name] for name in EPS_NAMES if name in asked), None),
        momentum=next((asked[name] for name in MOMENTUM_NAMES if name in asked), None),
        decay=next((asked[name] for name in DECAY_NAMES if name in asked), None),
        dims=dims,
        affine=more.get("affine") is True,
        default=default if averages - set(required) else None,
    )


def _copies(layer: Any) -> Plan:
    """Copies of a layer that is there; its own settings are what was asked for."""
    pristine = _copied(layer)
    name = type(layer).__name__

    def make(_channels: int) -> Any:
        made = _copied(pristine)
        specimen = Specimen(made)
        for tensor in specimen.tensors().values():
            if tensor.is_floating_point():
                tensor.data = tensor.data.to("cpu", torch.get_default_dtype())
        return made

    def setting(names: tuple[str, ...]) -> float | None:
        values = (getattr(layer, one, None) for one in names)
        return next(
            (float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)), None
        )

    return Plan(
        f"a copy of the {name}",
        make,
        eps=setting(EPS_NAMES[:3]),
        momentum=setting(MOMENTUM_NAMES[:3]),
        decay=setting(DECAY_NAMES),
        channels=_channels(layer),
        fresh=False,
    )


def _copied(layer: Any) -> Any:
    """A deep copy; tensors that hang in a graph are taken out of it, as torch copies none that do."""
    memo = {
        id(tensor): tensor.detach().clone()
        for tensor in Specimen(layer).tensors().values()
        if not tensor.is_leaf
    }
    return copy.deepcopy(layer, memo)


def _channels(layer: Any) -> int:
    """The number of channels that a layer was built for."""
    for name in COUNT_NAMES[:5]:
        value = getattr(layer, name, None)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    sizes = [tensor.numel() for tensor in Specimen(layer).tensors().values() if tensor.is_floating_point()]
    return max(sizes, key=sizes.count, default=CHANNELS)
