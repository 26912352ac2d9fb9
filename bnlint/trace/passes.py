"""The passes over a live model: some batches as it is, and the first one again in other modes.

Beside the batches of the loader a check makes two forwards: the first batch in eval mode, and its first
sample alone. A model that is evaluated in eval mode needs the second only. More follow where these give
reason to.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bnlint.trace import handwritten
from bnlint.trace.alone import alone
from bnlint.trace.batches import Batch, refuse_samples, take
from bnlint.trace.functional import owned
from bnlint.trace.layers import is_batchnorm, is_scripted
from bnlint.trace.oracles import firsts, invariance, repeats
from bnlint.trace.overrides import set_mode
from bnlint.trace.record import Recorder
from bnlint.trace.seen import Pass

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bnlint.trace.oracles import Invariance


@dataclass(frozen=True)
class Run:
    """How the model is run: `call` gives it a batch, in inference mode if the caller of the check is."""

    model: nn.Module
    call: Callable[[Batch], Any]
    adopt: Callable[[nn.Module], None]
    inference: bool

    def recorder(self, *, statistics: bool = False) -> Recorder:
        """A new recorder for this model."""
        return Recorder(self.model, self.adopt, statistics=statistics)

    def ambient(self) -> AbstractContextManager[Any]:
        """The modes in which the caller would run it."""
        return torch.inference_mode() if self.inference else nullcontext()

    def without_gradients(self) -> AbstractContextManager[Any]:
        """The modes of an evaluation."""
        return torch.inference_mode() if self.inference else torch.no_grad()


@dataclass(eq=False)
class Seen:
    """What all passes have shown.

    `main` is the pass over the loader's batches, in the modes of the caller; `scripted` are layers that were
    in train mode then. In `trained` and `in_eval` all modules were in train or in eval mode, where there was
    one. `oracle` compares the first sample with itself alone in the modes of `main`. `suspects` are
    handwritten layers that mix samples in eval mode, and `suspicion` is what led to them.
    """

    evaluated: bool
    scripted: frozenset[int] = frozenset()
    main: Pass = field(default_factory=Pass)
    trained: Pass | None = None
    in_eval: Pass | None = None
    oracle: Invariance | None = None
    suspects: list[nn.Module] = field(default_factory=list)
    suspicion: Invariance | None = None
    first: Batch | None = None
    sizes: list[int] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passes(self) -> list[Pass]:
        """Each pass once."""
        found = {id(one): one for one in (self.main, self.trained, self.in_eval) if one is not None}
        return list(found.values())


def look(
    run: Run, loader: Any, most: int, progress: Callable[[float, str], None], *, evaluated: bool
) -> Seen:
    """All passes. What the user's code raises in the first one comes out."""
    seen = Seen(evaluated, _scripted_in_train(run.model))
    modes = {id(module): module.training for module in run.model.modules()}
    with closing(take(loader, most)) as batches:  # also where the model raises: the loader is let go at once
        together = _batches(run, seen, batches, most, progress)
    if seen.main.refused is not None:
        refuse_samples(loader)
    if seen.first is None or seen.main.refused is not None:
        return seen
    progress(most / (most + 2), "one sample alone")
    if evaluated:
        for module in run.model.modules():
            module.training = modes.get(id(module), module.training)
        seen.oracle = _alone(run, seen.first, together)
    progress((most + 1) / (most + 2), "eval mode")
    if evaluated and not any(modes.values()):
        seen.in_eval, oracle = seen.main, seen.oracle
    else:
        seen.trained = None if evaluated else seen.main
        together, oracle = _in_eval(run, seen)
    _suspect(run, seen, together, oracle)
    if seen.trained is None and any(not one.training for _, one in owned(run.model, seen.passes)):
        _in_train(run, seen)
    return seen


def _scripted_in_train(model: nn.Module) -> frozenset[int]:
    """The BatchNorm layers in train mode that are scripted: they are not seen when they run."""
    return frozenset(
        id(module)
        for module in model.modules()
        if is_scripted(module) and is_batchnorm(module) and module.training
    )


Together = dict[str, "tuple[Tensor, float]"]


def _batches(
    run: Run, seen: Seen, batches: Any, most: int, progress: Callable[[float, str], None]
) -> Together:
    """The batches of the loader; the answer for the first sample of the first one is kept."""
    recorder = run.recorder(statistics=seen.evaluated)
    seen.main = recorder.seen
    together: Together = {}
    for number, batch in enumerate(batches):
        progress(number / (most + 2), f"batch {number + 1}")
        first = seen.first is None
        seen.first = seen.first or batch
        seen.sizes.append(batch.size or 0)
        if batch.targets is not None:
            seen.targets.append(batch.targets)
        recorder.begin(batch.value)
        try:
            with run.ambient(), recorder:
                output = run.call(batch)
        except Exception as problem:
            if seen.main.refused is None or seen.main.refused.error is not problem:
                raise
            break
        recorder.end(output)
        if first and batch.size:
            together = firsts(output, batch.size)
        del output
    return together


def _single(batch: Batch) -> Batch:
    """The first sample of a batch, alone."""
    assert batch.size is not None
    return Batch(alone(batch.value, batch.size), alone(batch.inputs, batch.size), None, 1)


def _alone(run: Run, batch: Batch, together: Together) -> Invariance | None:
    """Compare with the answer for the sample alone, in the modes of this moment; None if it fails."""
    if not batch.size or batch.size < 2 or not together:
        return None
    recorder = run.recorder()
    try:
        single = _single(batch)
        recorder.begin(single.value)
        with run.without_gradients(), recorder:
            return invariance(together, run.call(single))
    except Exception:  # it may take whole batches only
        return None


def _in_eval(run: Run, seen: Seen) -> tuple[Together, Invariance | None]:
    """The first batch again, in eval mode, whatever the modes were, and its first sample alone."""
    batch = seen.first
    assert batch is not None
    set_mode(run.model, training=False)
    recorder = run.recorder()
    recorder.begin(batch.value)
    try:
        with run.without_gradients(), recorder:
            output = run.call(batch)
    except Exception as problem:  # what trains need not evaluate in the same way
        seen.notes.append(
            f"eval mode: forward raised {type(problem).__name__} for the first batch: {problem}"
        )
        return {}, None
    recorder.end(output)
    seen.in_eval = recorder.seen
    together = firsts(output, batch.size) if batch.size else {}
    return together, _alone(run, batch, together)


def _in_train(run: Run, seen: Seen) -> None:
    """The first batch again in train mode: a flag that is given to a function may be the same in both."""
    batch = seen.first
    assert batch is not None
    set_mode(run.model, training=True)
    recorder = run.recorder()
    recorder.begin(batch.value)
    try:
        with run.without_gradients(), recorder:
            run.call(batch)
    except Exception:  # what evaluates need not train
        return
    seen.trained = recorder.seen


def _suspect(run: Run, seen: Seen, together: Together, oracle: Invariance | None) -> None:
    """Which layer makes an answer depend on the batch in eval mode, where no BatchNorm explains it?"""
    batch = seen.first
    if batch is None or not batch.size or oracle is None or oracle.holds or seen.in_eval is None:
        return
    if any(one.training for one in seen.in_eval.applications):
        return
    with run.without_gradients():
        if repeats(lambda: run.call(batch), together, batch.size):
            seen.suspicion = oracle
            seen.suspects = handwritten.suspects(run.model, run.call, batch, _single(batch))
