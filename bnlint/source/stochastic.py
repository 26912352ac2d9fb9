"""Monte-Carlo dropout, several passes of one input in train mode: what was recorded becomes facts."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, NamedTuple, TypeAlias

from bnlint.facts import StochasticPass
from bnlint.finding import Step
from bnlint.source import events
from bnlint.source.names import is_test_file, stem, words
from bnlint.source.scripts import COUNTING, TRAINING, Scripts
from bnlint.source.structure import where_of
from bnlint.source.values import Flow, Loop, Obj, Sym, Value, same

STOCHASTIC: Final = frozenset(
    {"mc", "mcd", "mcdropout", "monte", "montecarlo", "dropout", "stochastic"}
    | {"bayes", "bayesian", "uncertainty", "uncertainties", "epistemic", "bald"}
)
"""Words in the name of what predicts by Monte-Carlo dropout."""
COUNTED: Final = STOCHASTIC | {"drop", "drops", "dropouts"}
"""Words in the bound of a loop that counts its passes: `range(n_drop)`."""
MEANT: Final = frozenset(
    {"precise", "adapt", "adaptation", "tent", "tta"}
    | {"ema", "swa", "teacher", "momentum", "maml", "meta", "reptile", "anil"}
)
"""Words that say why BatchNorm may be meant to run in train mode: it adapts, or is part of a teacher."""
SAMPLED: Final = frozenset({"bn", "mcbn", "batchnorm"})
"""Words in the name of a function that samples statistics: Monte-Carlo BatchNorm."""
LEARNING: Final = TRAINING | {"loss", "losses", "objective", "elbo", "step"}
"""Words in the name of a function whose passes may be part of training."""
STACKED: Final = frozenset({"stack", "vstack"})
SPREAD: Final = frozenset({"mean", "var", "std", "quantile"})
GATHERED: Final = STACKED | SPREAD | {"cat", "concat", "concatenate", "append", "sum"}
"""What is called with the answers of all passes."""
MOVES: Final = frozenset(
    {"to", "cuda", "cpu", "float", "half", "double", "type", "contiguous", "clone", "detach"}
    | {"view", "reshape", "flatten", "squeeze", "unsqueeze", "expand", "repeat", "permute", "transpose"}
)
"""What gives the same tensor whatever the turn: an index or a slice may be another one each time."""
DEEPEST: Final = 4
"""How many moves of one tensor (`x.to(device).view(1, -1)`) are compared."""

Calls: TypeAlias = tuple[events.Call, ...]


class Passes(NamedTuple):
    """A model call that each turn of `loop` makes with the same input.

    `inner` are the calls in progress from the function on that holds the loop, `over_data` says that the
    input is all of the data, gone through in each turn.
    """

    loop: Loop
    inner: Calls
    over_data: bool


class Stochastic:
    """Looks for Monte-Carlo dropout among what predicts in train mode.

    `found` holds every pass of it: train mode is wanted there, so that nobody forgot an `eval()`.
    """

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.structure = scripts.structure
        self.record = scripts.record
        self.found: dict[events.Forward, tuple[Passes, Step]] = {}
        for event, passes in self.repeated().items():
            why = self.reason(event, passes)
            if why is not None and self.structure.has_dropout(event.model, event.resting) != "no":
                self.found[event] = passes, why

    def __iter__(self) -> Iterator[StochasticPass]:
        for event, (passes, why) in self.found.items():
            if not self.is_meant(event, passes):
                yield StochasticPass(
                    where=where_of(event.place),
                    model=self.scripts.name(event.model),
                    batchnorm=self.structure.has_batchnorm(event.model, event.resting),
                    dropout=self.structure.has_dropout(event.model, event.resting),
                    why=why,
                    path=tuple(self.scripts.path(event)),
                )

    # several passes of one input

    def repeated(self) -> dict[events.Forward, Passes]:
        """The calls in train mode that some loop repeats with the same input."""
        found: dict[events.Forward, Passes] = {}
        earlier: dict[Hashable, events.Forward] = {}
        for event in self.record.forwards:
            if event.trained or event.parts_switched or {m.mode for m in event.modes} != {"train"}:
                continue
            for at in candidates(event.loops):
                before = earlier.setdefault(other_turns(event, at), event)
                if before.loops[at].turn != event.loops[at].turn and is_repeated(before, event, at):
                    found[before] = found[event] = passes_of(event, at)
        return found

    # is it Monte-Carlo dropout?

    def reason(self, event: events.Forward, passes: Passes) -> Step | None:
        """What shows that passes are those of Monte-Carlo dropout; None where they may be anything."""
        if self.trains(event, passes):
            return None
        step, calls = where_of(passes.loop.place), self.called_beside(passes)
        named = self.named(event, passes, calls)
        if named is not None:
            return Step(step, f"`{named}`: each turn is a pass of Monte-Carlo dropout over the same input")
        gathers = bool(calls & STACKED and calls & SPREAD) and bool(COUNTING.match(passes.loop.words))
        if gathers and not self.scripts.is_made_up(event.args):
            return Step(step, "each turn is a pass over the same input, and their answers are put together")
        return None

    def named(self, event: events.Forward, passes: Passes, calls: frozenset[str]) -> str | None:
        """What says Monte-Carlo dropout by its name: the loop, a function, or what stands around them.

        An evaluation may be repeated for other reasons: then the answers have to be put together as well.
        """
        if set(words(passes.loop.words)) & COUNTED:
            return passes.loop.words
        if passes.over_data and not calls & (STACKED | SPREAD):
            return None
        functions = [call.name for call in reversed(passes.inner)]
        around = [stem(event.place.filename), *(c.owner for c in passes.inner)]
        around += [mode.purpose.rpartition(" > ")[2] for mode in event.modes if mode.how != events.BUILT]
        around = [name for name in around if calls & GATHERED and not set(words(name)) & LEARNING]
        return next((name for name in functions + around if set(words(name)) & STOCHASTIC), None)

    def trains(self, event: events.Forward, passes: Passes) -> bool:
        """Whether passes may be part of training."""
        if self.scripts.is_part_of_a_step(event) or passes.loop.place in self.record.training_loops:
            return True
        if event.hook is not None and event.hook.mode == "train":
            return True
        names = {word for call in passes.inner for word in words(call.name)}
        return bool(names & LEARNING) and not event.contexts

    def is_meant(self, event: events.Forward, passes: Passes) -> bool:
        """Whether a name says that BatchNorm is to adapt, or this is a test, or the caller decides."""
        around = words(stem(event.place.filename)) + words(self.scripts.name(event.model))
        inner = [w for call in passes.inner for name in (call.name, call.owner) for w in words(name)]
        if MEANT & {*around, *inner} or SAMPLED & set(inner):
            return True
        files = {event.place.filename, *(call.filename for call in event.calls)}
        return any(map(is_test_file, files)) or self.scripts.is_callers_choice(event)

    def called_beside(self, passes: Passes) -> frozenset[str]:
        """The names of everything that is called in the function, or else the file, that holds the loop."""
        holder = passes.inner[0] if passes.inner else None
        if holder is not None and holder.definition is not None and holds(holder, passes.loop):
            return holder.definition.calls
        summary = self.structure.run.project.summaries.get(passes.loop.place.filename)
        return frozenset() if summary is None else summary.calls


def candidates(loops: tuple[Loop, ...]) -> Iterator[int]:
    """The loops that may count passes: the innermost, or the one around a loop over data."""
    if loops:
        yield len(loops) - 1
    if len(loops) > 1 and not COUNTING.match(loops[-1].words):
        yield len(loops) - 2


def other_turns(event: events.Forward, at: int) -> Hashable:
    """What two passes have in common: the call, how it was reached, and the turns of all other loops."""
    key = event.model.key if isinstance(event.model, Obj | Sym) else id(event.model)
    turns = tuple((loop.place, None if at == n else loop.turn) for n, loop in enumerate(event.loops))
    return (event.place, key, tuple(call.place for call in event.calls), turns)


def is_repeated(one: events.Forward, other: events.Forward, at: int) -> bool:
    """Whether two turns of a loop call a model with the same input."""
    if at < len(one.loops) - 1:
        return one.source is not None and one.source is other.source
    pairs = list(zip(one.args.items, other.args.items, strict=False))
    equal = len(one.args.items) == len(other.args.items) == len(pairs)
    return bool(pairs) and equal and all(is_same_input(a.value, b.value) for a, b in pairs)


def is_same_input(one: Value, other: Value, depth: int = 0) -> bool:
    """Whether two values are one, or the same moves of one: `x.to(device)`."""
    if same(one, other):
        return True
    if not (isinstance(one, Flow) and isinstance(other, Flow)) or depth > DEEPEST:
        return False
    moved = one.name.rpartition(".")[2] in MOVES
    if not moved or (one.name, one.place) != (other.name, other.place):
        return False
    pairs = list(zip(one.inputs, other.inputs, strict=False))
    return bool(pairs) and all(is_same_input(a, b, depth + 1) for a, b in pairs)


def passes_of(event: events.Forward, at: int) -> Passes:
    loop = event.loops[at]
    holder = next((n for n in reversed(range(len(event.calls))) if holds(event.calls[n], loop)), 0)
    return Passes(loop, event.calls[holder:], at < len(event.loops) - 1)


def holds(call: events.Call, loop: Loop) -> bool:
    """Whether a loop stands in the function that is called."""
    if call.definition is None or call.filename != loop.place.filename:
        return False
    outer, inner = call.definition.span, loop.place.span
    starts = (outer.row, outer.column) <= (inner.row, inner.column)
    return starts and (inner.end_row, inner.end_column) <= (outer.end_row, outer.end_column)
