"""Averages over time: one model's parameters move, bit by bit, towards those of another.

`t = m * t + (1 - m) * p` in its many spellings: a target that is scaled and then added to, a mix that is
written back into one of its parts, `lerp_`. Buffers that are written beside are remembered as well.
Nothing is judged here: `averaged` does that once all is seen.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bnlint.source.values import Args, Obj, Place, Sym, Taken, Value, alternatives, contradicts

if TYPE_CHECKING:
    from bnlint.source.events import Call
    from bnlint.source.interpret import Interpreter

OPERATORS: Final = {
    "add": "+",
    "sub": "-",
    "subtract": "-",
    "mul": "*",
    "multiply": "*",
    "div": "/",
    "divide": "/",
    "lerp": "lerp",
}
"""The methods of tensors that compute with another one."""
WHOLE: Final = frozenset({"buffers", "state_dict"})
"""What holds the running statistics."""


@dataclass(slots=True, eq=False)
class Averaged:
    """The parameters of `source` were averaged into those of `target`."""

    target: Obj
    source: Obj | Sym
    place: Place
    calls: tuple[Call, ...]


class Averages:
    """Keeps what is averaged while a program is interpreted."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.found: list[Averaged] = []
        self.fed: set[Hashable] = set()
        self.copies: dict[Hashable, Obj] = {}
        self.scaled: dict[Hashable, Place] = {}

    # what happens

    def method(self, base: Taken, name: str, args: Args) -> Value | None:
        """`t.mul_(m)`, `t.add_(p, alpha=1 - m)`, `t.lerp_(p, 1 - m)`; None where it is something else."""
        op = OPERATORS.get(name.removesuffix("_"))
        if op is None or not args.items:
            return None
        given = [self.here(arg.value) for arg in args.items]
        other = next((value for value in given if isinstance(value, Taken)), given[0])
        if isinstance(other, Taken) and len(given) > 1:
            other = share(other)  # `alpha`, or the weight of `lerp`
        made = combined(op, base, other)
        if not name.endswith("_"):
            return None if made is None else replace(made, fresh=True)
        if made is None:
            self.fill(base)
            return None
        self.write(base, made)
        return made

    def update(self, op: str, target: Taken, value: Value) -> bool:
        """`t *= m`, `t += (1 - m) * p`: False where it is no average."""
        made = combined(op, target, self.here(value))
        return made is not None and self.write(target, made)

    def here(self, value: Value) -> Value:
        """What a value is on this way through the program, as far as that is a model's state."""
        guards = self.run.state.guards
        value = self.run.force(value)
        ways = [v for g, v in alternatives(value) if isinstance(v, Taken) and not contradicts(g, guards)]
        return ways[0] if ways else value

    def write(self, target: Taken, value: Value) -> bool:
        """State is written into a model: whether that was a step of an average."""
        if not isinstance(target.model, Obj | Sym) or target.fresh:
            return False
        if target.what in WHOLE:
            self.fill(target)
            return False
        steps = [self.step(target, v) for _, v in alternatives(self.run.force(value)) if isinstance(v, Taken)]
        return any(steps)

    def step(self, target: Taken, value: Taken) -> bool:
        parts = [part for part in value.parts or (value,) if isinstance(part.model, Obj | Sym)]
        own = [part for part in parts if key_of(part) == key_of(target)]
        others = {key_of(part): part for part in parts if key_of(part) != key_of(target)}
        is_scaled = any(part.form == "share" for part in own)
        if is_scaled and not others:
            self.scaled[key_of(target)] = self.place(target)
            return True
        if own and not is_scaled:
            is_scaled = self.scaled.get(key_of(target)) == self.place(target)
        if not is_scaled or len(others) != 1:
            return False
        (source,) = others.values()
        self.found_one(target, source)
        return True

    def found_one(self, target: Taken, source: Taken) -> None:
        if isinstance(target.model, Obj) and isinstance(source.model, Obj | Sym):
            calls = self.run.events.calls()
            self.found.append(Averaged(target.model, source.model, self.place(source), calls))

    def place(self, taken: Taken) -> Place:
        """The loop over the parameters, where there is one."""
        return self.run.loops[-1].place if self.run.loops else taken.place

    def fill(self, target: Taken) -> None:
        """Something is written into the buffers of a model."""
        if target.what in WHOLE and isinstance(target.model, Obj | Sym) and not target.fresh:
            self.fed.add(target.model.key)

    def loaded(self, key: Hashable) -> None:
        """A whole state is loaded: what was averaged before gets statistics again."""
        if key in self.targets():
            self.fed.add(key)

    def targets(self) -> set[Hashable]:
        """The models that others are averaged into."""
        return {one.target.key for one in self.found}


def key_of(taken: Taken) -> Hashable:
    return taken.model.key if isinstance(taken.model, Obj | Sym) else id(taken.model)


def share(taken: Taken) -> Taken:
    """A weighted part of state."""
    parts = tuple(replace(part, form="share") for part in taken.parts)
    return replace(taken, form="mix" if parts else "share", parts=parts, time=0)


def combined(op: str, left: Value, right: Value) -> Taken | None:
    """What an operator makes of state taken out of models; None where that is something else."""
    taken = [value for value in (left, right) if isinstance(value, Taken)]
    if op in "*/" and len(taken) == 1:
        return share(taken[0])
    if op not in {"+", "-", "lerp"} or len(taken) != 2:
        return None
    one, other = taken
    if one.what != other.what or {"array", "list"} & {one.form, other.form}:
        return None
    if op != "+":  # a difference is a step from one to the other
        one, other = share(one), share(other)
    return replace(one, form="mix", parts=(*(one.parts or (one,)), *(other.parts or (other,))), time=0)
