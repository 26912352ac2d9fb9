"""What is frozen: parameters that get no gradients, BatchNorm that was put into eval mode for good.

Modes live in the interpreter's state. Gradients do not: a program that switches them off and on again
freezes nothing for good, so that one `requires_grad = True` anywhere takes all claims back.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from bnlint.source import summary as ir
from bnlint.source.events import words_of
from bnlint.source.state import MODE, ModeRecord, SetAt
from bnlint.source.values import Args, Const, Guards, Obj, Place, Sym, Taken, Value, alternatives

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

NORMS: Final = "norms"
"""The kind of a condition `(kind, place)` that lets BatchNorm layers through, and nothing else."""
ASKS_FOR_NORMS: Final = re.compile(r"batch_?norm|(?<!\w)bn\d*(?!\w)|(?<!\w)norm(?!\w)", re.IGNORECASE)
NORM_NAME: Final = re.compile(r"(bn|batch_?norm|norm)_?\d*$", re.IGNORECASE)
"""What attributes that hold a BatchNorm are called."""
SETTING_UP: Final = re.compile(r"__init__|freeze|frozen|(^|[_ ])fix", re.IGNORECASE)
"""Names of functions that put something into the mode that it is meant to keep."""
DEEPEST: Final = 4
"""How many levels of parts are looked at for frozen ones."""


class Freeze(NamedTuple):
    """Parameters that get no gradients; `parts` counts what their module had registered by then."""

    place: Place
    norms: bool
    parts: int


class Undone(NamedTuple):
    """The `eval()` of a part that the switch of the whole model has undone."""

    part: Obj | Sym
    setting: SetAt
    norms: bool


@dataclass(slots=True, eq=False)
class Fit:
    """A trainer that is given a model: what it does with it is not written in the project.

    `resting` are the parts that were put into eval mode by themselves before.
    """

    model: Obj | Sym
    place: Place
    resting: frozenset[Hashable]


class Frozen:
    """Keeps what is frozen while a program is interpreted."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.found: dict[Hashable, Freeze] = {}
        self.released: set[Hashable] = set()
        self.fits: list[Fit] = []

    # gradients

    def flag_set(self, target: Value, value: Value, place: Place) -> None:
        """`requires_grad` is set: of a parameter it counts, of a module it is an attribute like any other."""
        for _, owner in alternatives(target):
            match owner:
                case Taken() | Sym(key=(_, "weight")):
                    self.set_gradients(owner, value, place)

    def set_gradients(self, target: Value, value: Value, place: Place) -> None:
        """`requires_grad_()` of the parameters that a module holds."""
        match target:
            case Taken(model=Obj() | Sym() as model, what="parameters"):
                self.note(model.key, model, value, place)
            case Sym(key=(key, "weight")):
                self.note(key, None, value, place)
            case Obj() | Sym():
                self.note(target.key, target, value, place)

    def note(self, key: Hashable, owner: Obj | Sym | None, value: Value, place: Place) -> None:
        if not isinstance(value, Const) or value.value:
            self.released.add(key)
            return
        norms = asks_for_norms(self.run.state.guards)
        if not norms and self.is_picked(key):
            return
        parts = len(self.run.objects.registered.get(owner.key, ())) if owner is not None else 0
        self.found.setdefault(key, Freeze(place, norms, parts))

    def is_picked(self, key: Hashable) -> bool:
        """Whether a condition decides which parameters, or which of the parts, are frozen."""
        base = self.run.frame.base
        turns = self.run.frame.jumps
        inside = turns[-1][0].guards if turns else frozenset()
        if isinstance(key, tuple) and key[-1] == "children":
            inside = base.guards if base is not None else frozenset()
        return bool(turns) and bool(self.run.state.guards - inside)

    def is_frozen(self, key: Hashable) -> Freeze | None:
        """How the parameters of a module were frozen for good, if they were."""
        for own in (key, (key, "children")):
            if own in self.found and own not in self.released:
                return self.found[own]
        return None

    # modes

    def undone(self, model: Obj | Sym, switched: ModeRecord) -> Iterator[Undone]:
        """The parts in eval mode that the last switch of the whole model has put into train mode."""
        if {m.mode for m in switched.modes} == {"train"}:
            yield from self.undone_in(model, switched, 0)

    def undone_in(self, part: Obj | Sym, switched: ModeRecord, depth: int) -> Iterator[Undone]:
        for setting in self.evals((part.key, "children"), switched):
            if asks_for_norms(setting.guards):
                yield Undone(part, setting, norms=True)
        for inner in self.run.objects.registered.get(part.key, ()) if depth < DEEPEST else ():
            if isinstance(inner, Obj):
                for setting in self.evals(inner.key, switched):
                    if is_for_good(setting, switched):
                        yield Undone(inner, setting, norms=False)
                yield from self.undone_in(inner, switched, depth + 1)

    def evals(self, key: Hashable, switched: ModeRecord) -> Iterator[SetAt]:
        """The `eval()` of something by itself, before it was switched with all the rest."""
        own: ModeRecord | None = self.run.state.get((key, MODE))
        if own is not None and own.time < switched.time:
            yield from (m for m in own.modes if m.mode == "eval")

    # trainers

    def fitted(self, args: Args, place: Place) -> None:
        """`trainer.fit(model)` of a framework."""
        model = args.value(0, "model")
        for _, value in () if model is None else alternatives(model):
            if isinstance(value, Obj | Sym):
                resting = (key for key in self.found if self.rests(key))
                self.fits.append(Fit(value, place, frozenset(resting)))

    def rests(self, key: Hashable) -> bool:
        """Whether frozen parts were put into eval mode as well."""
        keys = (key, key[0]) if isinstance(key, tuple) and key[-1] == "children" else (key, (key, "children"))
        records = [self.run.state.get((one, MODE)) for one in keys]
        return any(r is not None and any(m.mode == "eval" for m in r.modes) for r in records)


def is_for_good(setting: SetAt, switched: ModeRecord) -> bool:
    """Whether an `eval()` was meant to last: said while the model was set up, and once."""
    if SETTING_UP.search(setting.purpose):
        return True
    return not setting.turn and all(mode.turn for mode in switched.modes)


def asks_for_norms(guards: Guards) -> bool:
    """Whether only BatchNorm layers come where these conditions hold."""
    return any(type(key) is tuple and key[0] == NORMS for key, _ in guards)


def lets_norms_through(test: ir.Expr) -> bool:
    """Whether a test is about BatchNorm: the class of a layer, or a word in its name."""
    return ASKS_FOR_NORMS.search(words_of(test)) is not None
