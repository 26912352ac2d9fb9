"""Runs a live model on some batches, with everything put back afterwards, and says what was seen as facts."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from bnlint.facts import Facts
from bnlint.trace import feeding, functional, handwritten, hidden, modes, order, sharing, state
from bnlint.trace.answers import Clues, answers
from bnlint.trace.batches import describe
from bnlint.trace.calling import caller
from bnlint.trace.guard import unmarked
from bnlint.trace.layers import class_name, copied, is_scripted, is_unbuilt
from bnlint.trace.live import Live
from bnlint.trace.locate import Origin, Places
from bnlint.trace.norms import norms
from bnlint.trace.overrides import overrides, set_mode
from bnlint.trace.passes import Run, Seen, look
from bnlint.trace.statistics import statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bnlint.trace.batches import Source

Stage = Literal["train", "eval"]


@dataclass(frozen=True, slots=True)
class Traced:
    """The facts, a line for each thing that could not be looked at, and how many layers were."""

    facts: Facts
    skipped: tuple[str, ...]
    checked: int


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for, of how many batches at most, and by whom."""

    stage: Stage
    forward: Callable[[Any, Any], Any] | None
    most: int
    progress: Callable[[float, str], None]
    origin: Origin


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel and `torch.compile`."""
    *_, core = _unwrapping(model)
    return core


def _unwrapping(model: nn.Module) -> Iterator[nn.Module]:
    """Each wrapper from the outermost on, and the model inside."""
    while True:
        yield model
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return


def _on_one_device(model: nn.Module) -> int:
    """Keep a DataParallel from making copies, which run in threads of their own; how many devices it had."""
    devices = 1
    for wrapper in _unwrapping(model):
        if isinstance(wrapper, nn.DataParallel) and len(wrapper.device_ids) > 1:
            devices = max(devices, len(wrapper.device_ids))
            wrapper.device_ids = wrapper.device_ids[:1]
    return devices


@contextmanager
def _eagerly() -> Iterator[None]:
    """Compiled code is run as it is written, and nobody is warned of the hooks that see it run."""
    warnings.filterwarnings("ignore", r"Using `torch\.compile\(module\)` when there are global hooks")
    stance = getattr(getattr(torch, "compiler", None), "set_stance", None)  # from torch 2.6 on
    if stance is None or "torch._dynamo" not in sys.modules:  # without it nothing is compiled
        yield
    else:
        with stance("force_eager"):
            yield


def examine(model: nn.Module, loader: Any, request: Request) -> Traced:
    """Run the model on batches of the loader, and leave no mark on either."""
    source = describe(loader)
    inference = torch.is_inference_mode_enabled()
    evaluated = request.stage == "eval" or inference or not torch.is_grad_enabled()
    core = unwrapped(model)
    lazy = is_unbuilt(core)
    if lazy:
        try:
            core = copied(core)
        except Exception as problem:  # a lock, a generator: who knows what models hold
            why = f"it has lazy layers and cannot be copied ({problem}); run it once before the check"
            return Traced(Facts(), (f"`{class_name(core)}`: {why}",), 0)
    with unmarked(core if lazy else model, loader) as guard, _eagerly():
        devices = 1 if lazy else _on_one_device(model)
        target = core if request.forward is None or lazy else model
        run = Run(core, caller(target, request.forward), guard.adopt, inference)
        if not evaluated and not core.training and any(one.requires_grad for one in core.parameters()):
            _start_training(core)
        seen = look(run, loader, request.most, request.progress, evaluated=evaluated)
        live = Live(core, Places(core, request.origin), norms(core, seen.passes))
        facts = _facts(live, source, seen, devices, by_user=request.forward is not None)
        checked = len(live.norms) + len(facts.unregistered)
        return Traced(facts, tuple(_skipped(live, source, seen)), checked)


def _start_training(model: nn.Module) -> None:
    """Put the model into train mode, as the loop that is about to come does."""
    try:
        model.train()
    except TypeError:  # its `train` is something else
        set_mode(model, training=True)


def _facts(live: Live, source: Source, seen: Seen, devices: int, *, by_user: bool) -> Facts:
    """All that was seen."""
    main, evaluated = seen.main, seen.evaluated
    feeds = () if evaluated else tuple(feeding.feeds(live, seen, source, by_user=by_user))
    inputs = None if seen.first is None else seen.first.inputs
    return Facts(
        norms=(*(live.norm(one.module) for one in live.norms.values()), *functional.functions(live, main)),
        uses=tuple(order.uses(live, main, evaluated=evaluated)),
        shared=tuple(sharing.shared(live, main, evaluated=evaluated)),
        recurrent=tuple(sharing.recurrent(live, main, evaluated=evaluated)),
        arrivals=tuple(order.arrivals(live, main)),
        answers=tuple(answers(live, main, Clues.of(inputs, seen.targets))),
        computed=(
            *functional.computed(live, seen.trained, seen.in_eval),
            *handwritten.computed(
                live, seen.suspects, seen.suspicion.measured if seen.suspicion is not None else None
            ),
        ),
        unregistered=tuple(hidden.unregistered(live, seen.passes, ambient_grad=not evaluated)),
        forwards=tuple(modes.forwards(live, main, seen.scripted, seen.oracle)) if evaluated else (),
        feeds=feeds,
        thaws=() if evaluated else tuple(modes.thaws(live, main)),
        untracked=tuple(modes.untracked(live, main, evaluated=evaluated)),
        unsaved=tuple(state.unsaved(live, seen.passes)),
        splits=tuple(feeding.splits(live, devices, feeds[0] if feeds else None)),
        statistics=tuple(statistics(live, main, evaluated=evaluated)),
        lacking=tuple(state.lacking(live)),
        overrides=tuple(overrides(live)),  # the last one: it changes modes
    )


def _skipped(live: Live, source: Source, seen: Seen) -> Iterator[str]:
    """What could not be looked at."""
    yield from seen.notes
    many = "1 batch" if len(seen.sizes) == 1 else f"{len(seen.sizes)} batches"
    if source.consumes:
        taken = "was taken" if len(seen.sizes) == 1 else "were taken"
        yield f"the loader is an iterator: {many} {taken} from it and cannot be put back"
    if seen.main.refused is not None:
        path = live.path(seen.main.refused.module)
        yield f"what comes behind `{path}`, which raises: {seen.main.refused.error}"
    scripted = [path for path, module in live.model.named_modules() if is_scripted(module)]
    for path in _tops(scripted):
        yield f"`{path or live.name}` is scripted: the order of its layers, and what they get, is not seen"
    called = seen.main.called | {id(one.module) for one in seen.main.applications}
    inside = [one for one in live.norms.values() if not is_scripted(one.module)]
    idle = [one.path for one in inside if id(one.module) not in called]
    if idle and seen.main.refused is None:
        more = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
        yield f"`{idle[0]}`{more}: never called in {many}"


def _tops(paths: list[str]) -> list[str]:
    """Those that are not below another one."""
    return [path for path in paths if not any(_is_below(path, other) for other in paths)]


def _is_below(path: str, other: str) -> bool:
    return path != other and (not other or path.startswith(f"{other}."))
