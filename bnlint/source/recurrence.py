"""BatchNorm on the way from a hidden state to the next one: in recurrent cells and in loops over time."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Final, Literal

from bnlint.facts import Recurrent
from bnlint.finding import Step
from bnlint.source import summary as ir
from bnlint.source.interpret import OutOfFuel
from bnlint.source.names import words
from bnlint.source.sharing import is_picked
from bnlint.source.statements import expressions, names_in, statements
from bnlint.source.structure import where_of
from bnlint.source.values import (
    Args,
    ArgVal,
    ClassVal,
    External,
    Flow,
    Func,
    ListVal,
    Loop,
    Obj,
    Place,
    Value,
    alternatives,
)

if TYPE_CHECKING:
    from bnlint.source.events import Normalised
    from bnlint.source.structure import Structure

HIDDEN: Final = re.compile(
    r"_?(prev_|previous_|last_|next_|new_)?(h|hx|hy|hc|hidden|state|states)(_?(\d|t|tm1|prev|next|new|cur|last|state|out))*",
    re.IGNORECASE,
)
"""Names of hidden states."""
RECURRENT: Final = re.compile(r"RNN|LSTM|GRU|(Rnn|Lstm|Gru)(?![a-z])|Recurrent")
"""Names of classes that make the steps of a recurrent network."""
TIME: Final = frozenset(
    {"t", "ts", "time", "times", "timestep", "timesteps", "seq", "sequence", "seqlen", "frame", "frames"}
    | {"step", "steps", "unbind"}
)
"""Words of a loop over the steps of a sequence."""
SIZES: Final = frozenset({"size", "shape", "len"})
"""Words of a loop over something of a tensor, whatever that is."""
TAKING: Final = frozenset({"select", "narrow", "index_select"})
"""Methods that take a part of a tensor."""
OVER: Final = ("enumerate", "zip", "tqdm")
"""What goes over what it is given."""
MOST_STEPS: Final = 400
"""Operations behind a tensor that are looked at."""


def recurrent(structure: Structure) -> Iterator[Recurrent]:
    """One fact for each BatchNorm layer on a recurrent path."""
    record = structure.run.events.record
    if not record.normalised:
        return
    found: dict[object, Recurrent] = {}
    for fact in (*in_loops(structure, record.normalised), *in_cells(structure)):
        found.setdefault(fact.norm.where, fact)
    yield from found.values()


def of(
    structure: Structure, event: Normalised, how: Literal["loop", "cell"], over: Step
) -> Iterator[Recurrent]:
    """The fact about one application of a BatchNorm, if there is one object for all steps."""
    norm = None if is_picked(event.guards) else structure.layer(event.layer)
    if norm is not None:
        yield Recurrent(norm, where_of(event.flow.place), how, over, structure.frozen(event))


# loops over time


def in_loops(structure: Structure, events: list[Normalised]) -> Iterator[Recurrent]:
    """BatchNorm layers whose input in one turn depends on what they gave in the turn before."""
    first: dict[Hashable, Normalised] = {}
    for event in events:
        if not event.loops:
            continue
        before = first.setdefault((event.root, event.layer.key, event.flow.place), event)
        loop = None if before is event else between(before, event)
        written = None if loop is None else loop_at(loop.place, event.within)
        if loop is None or written is None or not goes_over_time(written, loop):
            continue
        if id(before.flow) in behind(*event.flow.inputs):
            over = Step(where_of(loop.place), "this loop goes over time; each turn hands on its state")
            yield from of(structure, event, "loop", over)


def between(before: Normalised, event: Normalised) -> Loop | None:
    """The loop of whose turns two applications belong to different ones."""
    for then, now in zip(before.loops, event.loops, strict=False):
        if then.place == now.place and then.turn < now.turn:
            return now
    return None


def loop_at(place: Place, functions: tuple[ir.Function, ...]) -> ir.For | None:
    """The `for` that stands somewhere in the functions that were running."""
    for function in functions:
        for stmt in statements(function.body):
            if isinstance(stmt, ir.For) and stmt.span == place.span:
                return stmt
    return None


def goes_over_time(loop: ir.For, running: Loop) -> bool:
    """Whether a loop's names say so, and each turn takes its own part of a tensor."""
    targets = names_of(loop.target)
    named = set(words(running.words)).union(*map(words, targets))
    if not named & TIME and not (named & SIZES and any(map(HIDDEN.fullmatch, written_in(loop.body)))):
        return False
    return is_of_tensor(running.source) or takes_part(loop.body, targets)


def written_in(body: ir.Block) -> Iterator[str]:
    """The variables that a block writes."""
    for stmt in statements(body):
        if isinstance(stmt, ir.Assign):
            for target in stmt.targets:
                yield from names_of(target)


def is_of_tensor(source: Value | None) -> bool:
    """Whether a loop goes over the parts of a tensor."""
    match source:
        case Flow():
            return True
        case Obj(cls=External(path=path), args=args) if path.endswith(OVER):
            return any(is_of_tensor(arg.value) for arg in args.positional())
    return False


def takes_part(body: ir.Block, targets: set[str]) -> bool:
    """Whether a block reads the part of something that a loop's variable counts: `x[:, t]`, `x.select(1, t)`.

    A part of `self` is a layer, and what is written is no input.
    """
    filled = {id(t) for stmt in statements(body) if isinstance(stmt, ir.Assign) for t in stmt.targets}
    for part in expressions(body):
        match part:
            case ir.Item(base=ir.Name(), key=key) if id(part) not in filled:
                if any(isinstance(index, ir.Name) and index.id in targets for index in indices(key)):
                    return True
            case ir.Call(func=ir.Get(attr=attr), args=args) if attr in TAKING:
                if any(targets & names_of(arg.value) for arg in args):
                    return True
    return False


def indices(key: ir.Expr) -> Iterator[ir.Expr | None]:
    """What an index names: each of its dimensions, or where a slice of it begins."""
    for index in key.items if isinstance(key, ir.Display) else (key,):
        yield index.lower if isinstance(index, ir.Slice) else index


def behind(*values: Value) -> dict[int, Flow]:
    """The tensors that some tensors were computed from, themselves among them, by their identity."""
    found: dict[int, Flow] = {}
    pending = list(values)
    while pending and len(found) < MOST_STEPS:
        for _, flow in alternatives(pending.pop()):
            if isinstance(flow, Flow) and id(flow) not in found:
                found[id(flow)] = flow
                pending.extend(flow.inputs)
    return found


# cells


def in_cells(structure: Structure) -> Iterator[Recurrent]:
    """BatchNorm layers of recurrent cells that the next state depends on, and that depend on the last one."""
    for obj, _ in list(structure.instances):
        if isinstance(obj.cls, ClassVal) and RECURRENT.search(obj.cls.klass.name):
            yield from in_cell(structure, obj, obj.cls)


def in_cell(structure: Structure, obj: Obj, cls: ClassVal) -> Iterator[Recurrent]:
    forward = structure.run.objects.find(cls, "forward")
    if not isinstance(forward, Func):
        return
    inputs = [p.name for p in forward.function.params[1:]]
    states = [name for name in inputs if HIDDEN.fullmatch(name)]
    if not states or len(inputs) == 1:
        return
    record = structure.run.events.record.normalised
    since = len(record)
    result = step(structure, obj, forward)
    made = {id(event.flow): event for event in record[since:]}
    over = Step(where_of(obj.place), f"`{cls.klass.name}` makes one state from the last one")
    for name, value in () if result is None or not made else next_states(structure, forward.function, result):
        wanted = [s for s in states if len(states) == 1 or number(s) == number(name)]
        for key in behind(value).keys() & made.keys():
            before = behind(*made[key].flow.inputs).values()
            if any(flow.kind == "input" and flow.name in wanted for flow in before):
                yield from of(structure, made[key], "cell", over)


def step(structure: Structure, obj: Obj, forward: Func) -> Value | None:
    """What a cell's forward returns for unknown tensors, also in place of a state that it may go without."""
    run = structure.run
    inputs = tuple(
        ArgVal(p.name, Flow("input", p.name, (), obj.place), obj.place)
        for p in forward.function.params[1:]
        if p.kind in {"both", "position", "keyword"} and (p.default is None or HIDDEN.fullmatch(p.name))
    )
    try:
        with structure.alone():
            run.inside_forward = True
            return run.run(forward, Args(inputs), obj, obj.place)
    except OutOfFuel:
        return None


def next_states(structure: Structure, forward: ir.Function, result: Value) -> Iterator[tuple[str, Value]]:
    """What a forward returns under the name of a state, with its name."""
    returned = [stmt.value for stmt in statements(forward.body) if isinstance(stmt, ir.Return)]
    for _, value in alternatives(result):
        for expr in returned:
            if expr is not None:
                yield from named_states(structure, expr, value)


def named_states(structure: Structure, expr: ir.Expr, value: Value) -> Iterator[tuple[str, Value]]:
    match expr, value:
        case ir.Name(id=name), _ if HIDDEN.fullmatch(name):
            yield name, value
        case ir.Display(items=exprs), ListVal():
            items = structure.run.items(value)
            for inner, held in zip(exprs, items.held if items else (), strict=False):
                yield from named_states(structure, inner, held.value)


def names_of(expr: ir.Expr) -> set[str]:
    """The variables in an expression."""
    return set(names_in((ir.Return(expr, ir.Span(1, 0, 1, 0)),)))


def number(name: str) -> str:
    """The digits in a name: `h1` belongs to `h1_next`, and `h2` does not."""
    return re.sub(r"\D", "", name)
