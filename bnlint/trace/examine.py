"""Runs a live model on some batches, with everything put back afterwards, and says what was seen as facts."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from bnlint.facts import Facts
from bnlint.trace import feeding, handwritten, modes, oracles, order, state
from bnlint.trace.alone import alone
from bnlint.trace.batches import describe, take
from bnlint.trace.calling import caller as caller_of
from bnlint.trace.guard import unmarked
from bnlint.trace.layers import copied, is_scripted, is_unbuilt
from bnlint.trace.live import Live
from bnlint.trace.locate import Places
from bnlint.trace.oracles import firsts, invariance, repeats
from bnlint.trace.overrides import overrides, reach, set_mode
from bnlint.trace.record import Pass, Recorder, leaves
from bnlint.trace.statistics import statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from bnlint.trace.batches import Batch, Source
    from bnlint.trace.guard import Guard
    from bnlint.trace.oracles import Invariance
    from bnlint.trace.overrides import Reach

Stage = Literal["train", "eval"]
Progress = "Callable[[float, str], None]"


@dataclass(frozen=True, slots=True)
class Traced:
    """The facts, a line for each thing that could not be looked at, and how many layers were."""

    facts: Facts
    skipped: tuple[str, ...]
    checked: int


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; `frame` is the code that asks, `factory` the function that built the model, if one did."""

    stage: Stage
    forward: Callable[[Any, Any], Any] | None
    most: int
    frame: FrameType | None
    progress: Callable[[float, str], None]
    factory: Any = None


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DataParallel, DistributedDataParallel and `torch.compile`."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


@contextmanager
def _eagerly() -> Iterator[None]:
    """Compiled code is run as it is written."""
    stance = getattr(getattr(torch, "compiler", None), "set_stance", None)
    if stance is None:
        yield
    else:
        with stance("force_eager"):
            yield


def examine(model: nn.Module, loader: Any, request: Request) -> Traced:
    """Run the model on batches of the loader, and leave no mark on either."""
    source = describe(loader)
    core = unwrapped(model)
    lazy = is_unbuilt(core)
    if lazy:
        core = copied(core)
    with unmarked(core if lazy else model, loader) as guard, _eagerly():
        examination = _Examination(model, core, source, request, guard, copied=lazy)
        examination.run(loader)
        facts = examination.facts()
    return Traced(facts, tuple(examination.skipped()), len(examination.live.norms))


@dataclass(eq=False)
class _Examination:
    """One model, run in the modes in which it is, and in eval mode."""

    wrapped: nn.Module
    core: nn.Module
    source: Source
    request: Request
    guard: Guard
    copied: bool
    live: Live = field(init=False)
    first: Batch | None = None
    sizes: list[int] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    main: Pass = field(default_factory=Pass)
    second: Pass | None = None
    reached: Reach | None = None
    oracle: Invariance | None = None
    suspects: list[handwritten.Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.live = Live(self.core, Places(self.core, self.request.frame, self.request.factory))
        self.grad = torch.is_grad_enabled()
        self.evaluated = self.request.stage == "eval" or not self.grad
        target = self.core if self.request.forward is None or self.copied else self.wrapped
        self.call = caller_of(target, self.request.forward)

    # running

    def run(self, loader: Any) -> None:
        """All passes. What the user's code raises in the first one comes out."""
        if (
            not self.evaluated
            and not self.core.training
            and any(p.requires_grad for p in self.core.parameters())
        ):
            self.core.train()  # as the loop that is about to come does
        saved = {id(module): module.training for module in self.core.modules()}
        self._main_pass(loader)
        if self.first is None or self.main.refused is not None:
            return
        if self.evaluated and not any(saved.values()):
            self._compare(self.main_firsts, Recorder(self.core, self.guard.adopt))
            self.second = self.main
            self._look_for_handwritten()
            return
        if self.evaluated:
            for module in self.core.modules():
                module.training = saved[id(module)]
            self._compare(self.main_firsts, Recorder(self.core, self.guard.adopt))
        self._eval_pass()

    def _main_pass(self, loader: Any) -> None:
        recorder = Recorder(self.core, self.guard.adopt, statistics=self.evaluated)
        self.main = recorder.seen
        self.main_firsts: dict[str, tuple[Tensor, float]] = {}
        total = min(self.request.most, self.source.batches or self.request.most)
        for number, batch in enumerate(take(loader, self.request.most)):
            self.request.progress(number / (total + 1), f"batch {number + 1}")
            self.sizes.append(batch.size or 0)
            if batch.targets is not None:
                self.targets.append(batch.targets)
            recorder.begin(batch.value)
            try:
                with recorder:
                    output = self.call(batch)
            except Exception as problem:
                if self.main.refused is None or self.main.refused.error is not problem:
                    raise
                self.first = self.first or batch
                return
            recorder.end(output)
            if self.first is None:
                self.first = batch
                if batch.size:
                    self.main_firsts = firsts(output, batch.size)
            del output

    def _compare(self, together: dict[str, tuple[Tensor, float]], recorder: Recorder) -> None:
        """Ask for the first sample alone, in the modes in which the layers are now."""
        batch = self.first
        if batch is None or not batch.size or batch.size < 2 or not together:
            return
        try:
            value = alone(batch.value, batch.size)
            single = type(batch)(value, alone(batch.inputs, batch.size), None, 1)
            recorder.begin(value)
            with recorder, torch.no_grad():
                self.oracle = invariance(together, self.call(single))
        except Exception:  # it may take whole batches only
            self.oracle = None

    def _eval_pass(self) -> None:
        """The first batch again, in eval mode, whatever the modes were."""
        batch = self.first
        assert batch is not None
        self.request.progress(0.9, "eval mode")
        self.reached = reach(self.live)
        set_mode(self.core, training=False)
        recorder = Recorder(self.core, self.guard.adopt, statistics=False)
        recorder.begin(batch.value)
        try:
            with recorder, torch.no_grad():
                output = self.call(batch)
        except Exception as problem:  # noqa: BLE001  what trains need not evaluate in the same way
            self.notes.append(f"eval mode: `forward` raised {type(problem).__name__} for the first batch")
            return
        recorder.end(output)
        self.second = recorder.seen
        if batch.size:
            before, measured = firsts(output, batch.size), self.oracle
            self._compare(before, Recorder(self.core, self.guard.adopt, statistics=False))
            self._look_for_handwritten(before)
            self.oracle = measured if self.evaluated else self.oracle

    def _look_for_handwritten(self, before: dict[str, tuple[Tensor, float]] | None = None) -> None:
        """Where a sample's answer depends on its batch in eval mode and no BatchNorm explains it: which layer?"""
        batch, oracle = self.first, self.oracle
        before = self.main_firsts if before is None else before
        if batch is None or not batch.size or oracle is None or oracle.holds:
            return
        if self.second is None or any(one.training for one in self.second.applications):
            return
        with torch.no_grad():
            if repeats(lambda: self.call(batch), before, batch.size):
                self.suspects = handwritten.suspects(self.core, self.call, batch)

    # saying

    def facts(self) -> Facts:
        """All that was seen."""
        live, main, evaluated = self.live, self.main, self.evaluated
        passes = [main] if self.second is None or self.second is main else [main, self.second]
        trained = None if evaluated else main
        measured = self.oracle.measured if self.oracle is not None and evaluated else None
        feeds = tuple(feeding.feeds(live, main, self.source, self.sizes)) if not evaluated else ()
        reached = self.reached
        inputs = list(leaves(self.first.inputs)) if self.first is not None else []
        return Facts(
            norms=tuple(live.norm(module) for module in live.norms.values()),
            uses=tuple(order.uses(live, main, evaluated=evaluated)),
            shared=tuple(order.shared(live, main, evaluated=evaluated)),
            recurrent=tuple(order.recurrent(live, main, evaluated=evaluated)),
            arrivals=tuple(order.arrivals(live, main)),
            answers=tuple(order.answers(live, main, inputs, self.targets)),
            overrides=tuple(overrides(live, reached)) if reached is not None else (),
            computed=(
                *modes.computed(live, trained, self.second),
                *handwritten.computed(live, self.suspects),
            ),
            unregistered=tuple(modes.unregistered(live, passes, ambient_grad=self.grad)),
            forwards=tuple(modes.forwards(live, main, measured)) if evaluated else (),
            feeds=feeds,
            thaws=() if evaluated else tuple(modes.thaws(live, main)),
            untracked=tuple(modes.untracked(live, main, evaluated=evaluated)),
            unsaved=tuple(state.unsaved(live, passes)),
            splits=tuple(feeding.splits(live, self.wrapped, feeds[0] if feeds else None)),
            statistics=tuple(statistics(live, main, evaluated=evaluated)),
            lacking=tuple(state.lacking(live)),
        )

    def skipped(self) -> Iterator[str]:
        """What could not be looked at."""
        yield from self.notes
        if self.source.consumes:
            yield f"the loader is an iterator: {len(self.sizes)} batches were taken from it and cannot be put back"
        if self.main.refused is not None:
            path = self.live.path(self.main.refused.module)
            yield f"what comes behind `{path}`, which raises: {self.main.refused.error}"
        scripted = [path for path, module in self.core.named_modules() if is_scripted(module)]
        tops = [
            path
            for path in scripted
            if not any(path.startswith(f"{one}.") or one == "" for one in scripted if one != path)
        ]
        for path in tops:
            yield f"`{path or self.live.name}` is scripted: the order of its layers, and what arrives at them, is not seen"
        unseen = [
            path
            for path, module in self.live.norms.items()
            if id(module) not in self.main.called and not is_scripted(module)
        ]
        if unseen and self.main.refused is None:
            more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
            yield f"`{unseen[0]}`{more}: never called in {len(self.sizes)} batches"
