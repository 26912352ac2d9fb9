"""Modes: what the engine says of a forward must contain what really happens there."""

from __future__ import annotations

import tempfile
from itertools import cycle
from pathlib import Path

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from programs import Program

HEADER = """\
from torch import nn
from somewhere import coin, data, x
class Net(nn.Module): pass
from contextlib import contextmanager
from copy import deepcopy
net = Net(1)
model = Net(2)
a = b = c = True
class Holder:
    def __init__(self, net):
        self.net = net
    def switch(self, mode):
        self.net.train(mode)
    def run(self):
        self.net(x)
@contextmanager
def evaluating(one):
    was = one.training
    one.eval()
    yield one
    one.train(was)
holder = Holder(net)
nets = {"first": net, "second": model}
copied_net = deepcopy(model)
"""
NETS = ("net", "model", "some_net", "holder.net", 'nets["first"]', 'nets["second"]', "copied_net")
FLAGS = ("a", "b", "c")
DEPTH = 3
HELPERS = ("help_one", "help_two")


class Net:
    """Stands for a module: it has a mode, and notes it whenever it is called."""

    def __init__(self, number, seen):
        self.number, self.seen, self.training = number, seen, True

    def train(self, mode=True):  # noqa: FBT002  as torch has it
        self.training = bool(mode)
        return self

    def eval(self):
        return self.train(mode=False)

    def __deepcopy__(self, memo):
        copy = Net(self.number, self.seen)
        copy.training = self.training
        return copy

    def __call__(self, row):
        self.seen.append((row, self.number, "train" if self.training else "eval"))


@st.composite
def condition(draw, depth=0):
    """An expression that is true or false: known, unknown, or made of such."""
    kinds = ["flag", "flag", "constant", "coin", "training"]
    kind = draw(st.sampled_from([*kinds, "not", "and", "or", "equal"] if depth < 2 else kinds))
    if kind == "flag":
        return draw(st.sampled_from(FLAGS))
    if kind == "constant":
        return draw(st.sampled_from(("True", "False")))
    if kind == "coin":
        return "coin()"
    if kind == "training":
        return f"{draw(st.sampled_from(('net', 'model')))}.training"
    inner = draw(condition(depth + 1))
    if kind == "not":
        return f"(not {inner})"
    return f"({inner} {'==' if kind == 'equal' else kind} {draw(condition(depth + 1))})"


@st.composite
def statement(draw, depth, helpers, *, loop):
    """A statement as lines without indentation of their own."""
    name = draw(st.sampled_from(NETS))
    simple = ["assign", "alias", "eval", "train", "train to", "forward", "forward", "save", "restore"]
    simple += ["hold", "enter", "copy", "switch", "run"]
    simple += ["call"] if helpers else ["leave"]
    simple += ["jump"] if loop else []
    blocks = ["if", "if", "if else", "for", "each", "with", "finally"]
    kind = draw(st.sampled_from([*simple, *blocks] if depth < DEPTH else simple))
    match kind:
        case "assign":
            return [f"{draw(st.sampled_from(FLAGS))} = {draw(condition())}"]
        case "alias":
            return [f"some_net = net if {draw(condition())} else model"]
        case "eval" | "train":
            return [f"{name}.{kind}()"]
        case "train to":
            return [f"{name}.train({draw(condition())})"]
        case "forward":
            return [f"{name}(x)"]
        case "save":
            return [f"saved = {name}.training"]
        case "restore":
            return [f"{name}.train(saved)"]
        case "hold":
            return [f"holder.net = {name}"]
        case "enter":
            return [f'nets["{draw(st.sampled_from(("first", "second")))}"] = {name}']
        case "copy":
            return [f"copied_net = deepcopy({name})"]
        case "switch":
            return [f"holder.switch({draw(condition())})"]
        case "run":
            return ["holder.run()"]
        case "call":
            return [f"{draw(st.sampled_from(helpers))}({draw(condition())}, {name})"]
        case "leave":
            return [f"if {draw(condition())}:", "    return"]
        case "jump":
            return [f"if {draw(condition())}:", f"    {draw(st.sampled_from(('break', 'continue')))}"]
    inside = loop or kind in {"for", "each"}
    body = draw(block(depth + 1, helpers, loop=inside))
    if kind == "for":
        source = draw(st.sampled_from(("range(1)", "range(2)", "data()")))
        return [f"for _ in {source}:", *body]
    if kind == "with":
        return [f"with evaluating({name}):", *body]
    if kind == "finally":
        return ["try:", *body, "finally:", f"    {name}.{draw(st.sampled_from(('train', 'eval')))}()"]
    if kind == "each":
        return ["for some_net in [net, model]:", *body]
    lines = [f"if {draw(condition())}:", *body]
    return lines if kind == "if" else [*lines, "else:", *draw(block(depth + 1, helpers, loop=loop))]


@st.composite
def block(draw, depth, helpers, *, loop):
    many = draw(st.lists(statement(depth, helpers, loop=loop), min_size=1, max_size=4))
    return [f"    {line}" for lines in many for line in lines]


@st.composite
def programs(draw):
    lines = [*HEADER.splitlines(), *(f"{flag} = {draw(condition(2))}" for flag in FLAGS)]
    lines += ["some_net = net", "saved = True"]
    for helper in HELPERS:
        lines += [
            f"def {helper}(c, some_net):",
            "    a = b = c",
            "    saved = a",
            "    copied_net = some_net",
        ]
        lines += draw(block(2, (), loop=False))
    body = draw(block(0, HELPERS, loop=False))
    return "\n".join([*lines, *(line[4:] for line in body), ""])


def happened(text, coins):
    """Run a program for real, with models that note their modes; what is not known has two elements."""
    seen = []
    toss = cycle(coins)
    rows = enumerate(text.splitlines(), 1)
    lines = [line.replace("(x)", f"({row})") for row, line in rows]
    names = {
        "Net": lambda number: Net(number, seen),
        "coin": lambda: next(toss),
        "data": lambda: range(2),
    }
    exec("\n".join(["", "", "", *lines[3:]]), names)
    return seen


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.lists(st.booleans(), min_size=1, max_size=12))
def test_modes_contain_what_really_happens(text, coins):
    seen = happened(text, coins)
    with tempfile.TemporaryDirectory() as folder:
        program = Program(Path(folder), {"main.py": text})
    note("\n".join(f"{row:3} {line}" for row, line in enumerate(text.splitlines(), 1)))
    for row, number, mode in dict.fromkeys(seen):
        events = program.forwards(row)
        assert events, f"no forward is known in row {row}"
        possible = {m.mode for e in events if e.model.args.value(0).value == number for m in e.modes}
        assert possible & {mode, "unknown"}, f"row {row}: model {number} is in {mode} mode, not in {possible}"
