"""Where findings about live models point: the rows and columns of layers, calls and loaders in their files.

In the programs below `⟦…⟧` stands around what a place has to be.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import itertools
import linecache
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch import nn

import bnlint
from bnlint.finding import Where
from bnlint.trace.locate import Origin, Places, called
from bnlint.trace.spots import Spot

EXACT = sys.version_info >= (3, 11)
"""Does Python know the columns of what runs?"""
NUMBER = itertools.count()
HEAD = """
from collections import OrderedDict
import torch
import torch.nn.functional as F
from torch import nn
"""


@pytest.fixture(autouse=True)
def _as_always(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def unmarked(text: str, filename: str) -> tuple[str, list[Where]]:
    """A program without its marks, and the places that were marked, in the order in which they begin."""
    text = HEAD + textwrap.dedent(text)
    clean, row, column, open_ones, found = "", 1, 1, [], []
    for sign in text:
        if sign == "⟦":
            open_ones.append((row, column))
        elif sign == "⟧":
            found.append(Where(filename, *open_ones.pop(), row, column))
        else:
            clean += sign
            row, column = (row + 1, 1) if sign == "\n" else (row, column + 1)
    return clean, sorted(found)


def load(folder: Path, text: str, name: str = "") -> tuple[ModuleType, list[Where]]:
    """A module of the program, and its marked places."""
    name = name or f"located_{next(NUMBER)}"
    path = folder / f"{name}.py"
    clean, places = unmarked(text, str(path))
    path.write_text(clean, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, places


def placed(module: ModuleType) -> Places:
    """The places of the model that the program's `run` checks."""

    def check(model, loader=()):
        return Places(model, Origin(sys._getframe(1)))

    return module.run(check)


def bare(where: Where) -> Where:
    """A place without the path of the layer."""
    return Where(where.filename, where.row, where.column, where.end_row, where.end_column)


# where a layer is built

BUILT = {
    "assigned": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.other = nn.BatchNorm2d(4)
                self.bn = ⟦nn.BatchNorm2d(8)⟧
        """,
    ),
    "annotated": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn: nn.Module = ⟦nn.BatchNorm2d(8)⟧
        """,
    ),
    "several lines": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = ⟦nn.BatchNorm2d(
                    8,
                    momentum=0.1,
                )⟧
        """,
    ),
    "letters of other scripts": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self, größe="日本語"):
                super().__init__()
                größe = "日本語"; self.bn = ⟦nn.BatchNorm2d(8)⟧; self.ä = "ö"
        """,
    ),
    "unpacked": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.bn = nn.Conv2d(3, 8, 3), ⟦nn.BatchNorm2d(8)⟧
        """,
    ),
    "two names": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = self.norm = ⟦nn.BatchNorm2d(8)⟧
        """,
    ),
    "add_module": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.add_module("bn", ⟦nn.BatchNorm2d(8)⟧)
        """,
    ),
    "setattr": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                setattr(self, "bn", ⟦nn.BatchNorm2d(8)⟧)
        """,
    ),
    "another method": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.build()
            def build(self):
                self.bn = ⟦nn.BatchNorm2d(8)⟧
        """,
    ),
    "another name for self": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(this):
                super().__init__()
                this.bn = ⟦nn.BatchNorm2d(8)⟧
        """,
    ),
    "Sequential": (
        "body.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Conv2d(3, 8, 3), ⟦nn.BatchNorm2d(8)⟧, nn.ReLU())
        """,
    ),
    "nested Sequential": (
        "body.1.0",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(
                    nn.Conv2d(3, 8, 3),
                    nn.Sequential(⟦nn.BatchNorm2d(8)⟧, nn.ReLU()),
                )
        """,
    ),
    "OrderedDict of pairs": (
        "body.norm",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(OrderedDict([
                    ("conv", nn.Conv2d(3, 8, 3)),
                    ("norm", ⟦nn.BatchNorm2d(8)⟧),
                ]))
        """,
    ),
    "OrderedDict of a dict": (
        "body.norm",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(OrderedDict({"conv": nn.Conv2d(3, 8, 3), "norm": ⟦nn.BatchNorm2d(8)⟧}))
        """,
    ),
    "OrderedDict of names": (
        "body.norm",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 8, 3), norm=⟦nn.BatchNorm2d(8)⟧))
        """,
    ),
    "ModuleList": (
        "norms.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norms = nn.ModuleList([nn.BatchNorm2d(8), ⟦nn.BatchNorm2d(8)⟧])
        """,
    ),
    "ModuleDict": (
        "norms.b",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norms = nn.ModuleDict({"a": nn.BatchNorm2d(8), "b": ⟦nn.BatchNorm2d(8)⟧})
        """,
    ),
    "plain list": (
        "norms.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norms = [nn.BatchNorm2d(8), ⟦nn.BatchNorm2d(8)⟧]
        """,
    ),
    "comprehension": (
        "norms.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norms = nn.ModuleList([⟦nn.BatchNorm2d(8)⟧ for _ in range(3)])
        """,
    ),
    "generator": (
        "norms.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norms = nn.ModuleList(⟦nn.BatchNorm2d(8)⟧ for _ in range(3))
        """,
    ),
    "pairs of a comprehension": (
        "body.2.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(*[nn.Sequential(nn.ReLU(), ⟦nn.BatchNorm2d(8)⟧) for _ in range(3)])
        """,
    ),
    "a repeated list": (
        "body.4",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.ReLU(), *[nn.Conv2d(8, 8, 3), ⟦nn.BatchNorm2d(8)⟧] * 3)
        """,
    ),
    "behind something unpacked": (
        "body.2",
        """
        def some():
            return [nn.ReLU(), nn.ReLU()]
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = ⟦nn.Sequential(*some(), nn.BatchNorm2d(8))⟧
        """,
    ),
    "a list that is filled": (
        "norms.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norms, self.convs = nn.ModuleList(), nn.ModuleList([])
                for _ in range(2):
                    self.convs.append(nn.Conv2d(8, 8, 3))
                    self.norms.append(⟦nn.BatchNorm2d(8)⟧)
        """,
    ),
    "blocks of a list that is filled": (
        "layers.1.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = []
                for _ in range(2):
                    self.layers.append(nn.Sequential(nn.ReLU(), ⟦nn.BatchNorm2d(8)⟧))
        """,
    ),
    "a list that is filled in two ways": (
        "layers.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = ⟦nn.ModuleList()⟧
                self.layers.append(nn.Conv2d(8, 8, 3))
                self.layers.append(nn.BatchNorm2d(8))
        """,
    ),
    "added to a part": (
        "body.bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = nn.BatchNorm2d(4)
                self.body = nn.Sequential()
                self.body.add_module("conv", nn.Conv2d(3, 8, 3))
                self.body.add_module("bn", ⟦nn.BatchNorm2d(8)⟧)
        """,
    ),
    "set in a dict": (
        "norms.b",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.norms = nn.ModuleDict()
                self.norms["a"] = nn.BatchNorm2d(4)
                self.norms["b"] = ⟦nn.BatchNorm2d(8)⟧
        """,
    ),
    "a list of a loop": (
        "body.1",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                layers = []
                for _ in range(2):
                    layers.append(nn.BatchNorm2d(8))
                self.body = ⟦nn.Sequential(*layers)⟧
        """,
    ),
    "a helper": (
        "body.1",
        """
        def block(c):
            return nn.Sequential(nn.Conv2d(3, c, 3), nn.BatchNorm2d(c))
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = ⟦block(8)⟧
        """,
    ),
    "a block": (
        "stem.0.bn",
        """
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = ⟦nn.BatchNorm2d(8)⟧
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = nn.BatchNorm2d(3)
                self.stem = nn.Sequential(Block(), Block())
        """,
    ),
    "inherited": (
        "bn",
        """
        class Base(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = ⟦nn.BatchNorm2d(8)⟧
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3)
        """,
    ),
    "overwritten": (
        "bn",
        """
        class Base(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = nn.BatchNorm2d(8)
        class Net(Base):
            def __init__(self):
                super().__init__()
                self.bn = ⟦nn.BatchNorm2d(16)⟧
        """,
    ),
    "either class": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self, flat=False):
                super().__init__()
                if flat:
                    self.bn = nn.BatchNorm1d(8)
                else:
                    self.bn = ⟦nn.BatchNorm2d(8)⟧
        """,
    ),
    "either one of a class": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self, flat=False):
                super().__init__()
                if flat:
                    self.bn = nn.BatchNorm2d(4)
                else:
                    self.bn = nn.BatchNorm2d(8)
        def run(check):
            return check(⟦Net()⟧)
        """,
    ),
    "a class in a function": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = nn.BatchNorm2d(4)
        def make():
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.bn = ⟦nn.BatchNorm2d(8)⟧
            return Net()
        def run(check):
            return check(make())
        """,
    ),
    "a class in a class": (
        "bn",
        """
        class Outer:
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.bn = ⟦nn.BatchNorm2d(8)⟧
        Net = Outer.Net
        """,
    ),
    "defined twice": (
        "bn",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = nn.BatchNorm2d(4)
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = ⟦nn.BatchNorm2d(8)⟧
        """,
    ),
    "the model is the layer": (
        "",
        """
        net = ⟦nn.BatchNorm2d(8)⟧
        def run(check):
            return check(net)
        """,
    ),
    "a variable": (
        "1",
        """
        net = nn.Sequential(nn.Conv2d(3, 8, 3), ⟦nn.BatchNorm2d(8)⟧)
        def run(check):
            return check(net)
        """,
    ),
    "a variable of the function": (
        "0",
        """
        net = nn.Sequential(nn.BatchNorm2d(4))
        def run(check):
            net = nn.Sequential(⟦nn.BatchNorm2d(8)⟧)
            report = check(
                net,
            )
            return report
        """,
    ),
    "right there": (
        "0",
        """
        def run(check):
            return check(nn.Sequential(⟦nn.BatchNorm2d(8)⟧))
        """,
    ),
    "by name": (
        "0",
        """
        def run(check):
            net = nn.Sequential(⟦nn.BatchNorm2d(8)⟧)
            return check(model=net)
        """,
    ),
    "returned": (
        "1",
        """
        def make(c=8):
            return nn.Sequential(nn.Conv2d(3, c, 3), ⟦nn.BatchNorm2d(c)⟧)
        net = make()
        def run(check):
            return check(net)
        """,
    ),
    "a variable that is returned": (
        "1",
        """
        def make(c=8):
            body = nn.Sequential(nn.Conv2d(3, c, 3), ⟦nn.BatchNorm2d(c)⟧)
            return body
        def run(check):
            return check(make().to("cpu"))
        """,
    ),
    "passed through": (
        "0",
        """
        net = nn.Sequential(⟦nn.BatchNorm2d(8)⟧)
        def run(check):
            return check(net.double().eval())
        """,
    ),
    "moved on assignment": (
        "0",
        """
        net = nn.Sequential(⟦nn.BatchNorm2d(8)⟧).to("cpu").train()
        def run(check):
            return check(net)
        """,
    ),
    "a variable that is assigned twice": (
        "0",
        """
        net = nn.Sequential(nn.BatchNorm2d(4))
        net = nn.Sequential(nn.BatchNorm2d(8))
        def run(check):
            return ⟦⟧check(net)
        """,
    ),
}


@pytest.mark.parametrize("name", BUILT)
def test_where_a_layer_is_built(name, tmp_path):
    path, text = BUILT[name]
    text = textwrap.dedent(text)
    if "def run" not in text:
        text += "\ndef run(check):\n    return check(Net())\n"
    module, (expected,) = load(tmp_path, text)
    found = placed(module).built(path)
    assert found.module == path
    if (expected.row, expected.column) == (expected.end_row, expected.end_column):  # the line alone
        assert (found.filename, found.row, found.column) == (expected.filename, expected.row, 1)
    else:
        assert bare(found) == expected


# where something is called


CALLED = {
    "a call": (
        "BN202",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.bn = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
            def forward(self, x):
                return ⟦self.bn(self.conv(x).relu())⟧.tanh().mean((2, 3))
        """,
    ),
    "a call on several lines": (
        "BN202",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.bn = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
            def forward(self, x):
                x = torch.relu(self.conv(x))
                x = ⟦self.bn(
                    x,
                )⟧
                return x.mean((2, 3)) * 2
        """,
    ),
    "several calls on a line, behind other letters": (
        "BN202",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.bn1 = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(3)
                self.bn2 = nn.BatchNorm2d(8)
            def forward(self, x):
                é = "日本"; x = ⟦self.bn2(self.conv(self.bn1(x)).relu())⟧; return x.mean((2, 3)) * 2
        """,
    ),
    "in a Sequential": (
        "BN202",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.ReLU(), ⟦nn.BatchNorm2d(8)⟧)
            def forward(self, x):
                return self.body(x).mean((2, 3)) * 2
        """,
    ),
    "a function": (
        "BN106",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3)
                self.weight = nn.Parameter(torch.ones(8))
                self.register_buffer("running_mean", torch.zeros(8))
                self.register_buffer("running_var", torch.ones(8))
            def forward(self, x):
                x = ⟦F.batch_norm(
                    self.conv(x), self.running_mean, self.running_var, self.weight, training=True
                )⟧
                return x.mean((2, 3)) * 2
        """,
    ),
    "a layer that forward makes": (
        "BN208",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(3, 8, 3)
            def forward(self, x):
                norm = nn.BatchNorm2d(8)
                return ⟦norm(self.conv(x))⟧.mean((2, 3)) * 2
        """,
    ),
    "a shared layer": (
        "BN207",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.more = nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)
                self.bn = nn.BatchNorm2d(8)
            def forward(self, x):
                x = self.bn(self.conv(x)).relu()
                x = ⟦self.bn(self.more(x))⟧.relu()
                return x.mean((2, 3)) * 2
        """,
    ),
    "an argument by name": (
        "BN404",
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = nn.BatchNorm2d(
                    3,
                    momentum=⟦0.99⟧,
                )
            def forward(self, x):
                return self.bn(x).mean((2, 3)) * 2
        """,
    ),
    "an argument by position": (
        "BN405",
        """
        class Net(nn.Module):
            def __init__(self, eps=0.1):
                super().__init__()
                self.bn = nn.BatchNorm2d(3, ⟦eps⟧)
            def forward(self, x):
                return self.bn(x).mean((2, 3)) * 2
        """,
    ),
    "an argument of a helper that counts otherwise": (
        "BN404",
        """
        def norm(c, momentum):
            return nn.BatchNorm2d(c, momentum=1 - momentum)
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = ⟦norm(3, momentum=0.01)⟧
            def forward(self, x):
                return self.bn(x).mean((2, 3)) * 2
        """,
    ),
    "the last block": (
        "BN201",
        """
        class Block(nn.Module):
            def __init__(self, cin, cout):
                super().__init__()
                self.conv, self.bn = nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout)
            def forward(self, x):
                return self.bn(self.conv(x))
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(Block(3, 8), nn.ReLU(), ⟦Block(8, 3)⟧)
            def forward(self, x):
                return self.body(x)
        """,
    ),
}


RUN = """
def run(check):
    return check(Net(), [torch.randn(16, 3, 6, 6)])
"""


def only(report: bnlint.Report, code: str) -> Where:
    """The place of the only finding of a rule."""
    (found,) = (one for one in report if one.code == code)
    return found.where


@pytest.mark.parametrize("name", CALLED)
def test_where_something_is_called(name, tmp_path):
    code, text = CALLED[name]
    text = textwrap.dedent(text) + RUN
    module, (expected,) = load(tmp_path, text)
    found = only(module.run(bnlint.check), code)
    if EXACT or code not in {"BN202", "BN106", "BN208", "BN207"} or name == "in a Sequential":
        assert bare(found) == expected
    else:
        assert (found.filename, found.row) == (expected.filename, expected.row)


def test_without_columns_the_row_is_known():
    code = SimpleNamespace(co_filename="net.py")  # as that of Python 3.10
    assert called(Spot(code, 8, 7), "bn") == Where("net.py", 7, module="bn")
    code.co_positions = lambda: iter([(7, 7, None, None)] * 9)  # as with -X no_debug_ranges
    assert called(Spot(code, 8, 7), "bn") == Where("net.py", 7, module="bn")


def test_a_class_of_another_file(tmp_path):
    block, (expected,) = load(
        tmp_path,
        """
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.bn = nn.BatchNorm2d(3, momentum=⟦0.99⟧)
            def forward(self, x):
                return self.bn(x).mean((2, 3)) * 2
        """,
    )
    module, _ = load(
        tmp_path,
        f"""
        from {block.__name__} import Block
        class Net(Block):
            pass
        def run(check):
            return check(nn.Sequential(Net()), [torch.randn(16, 3, 6, 6)])
        """,
    )
    found = only(module.run(bnlint.check), "BN404")
    assert (bare(found), found.module) == (expected, "0.bn")


# where batches come from

LOADERS = {
    "a variable": """
        loader = ⟦DataLoader(data, batch_size=2)⟧
        def run(check):
            return check(net, loader)
    """,
    "inline": """
        def run(check):
            return check(net, ⟦DataLoader(data, batch_size=2)⟧)
    """,
    "by name, on several lines": """
        def run(check):
            return check(
                model=net,
                loader=⟦DataLoader(
                    data,
                    batch_size=2,
                )⟧,
            )
    """,
    "a list": """
        def run(check):
            batches = ⟦[torch.randn(2, 3, 6, 6) for _ in range(4)]⟧
            return check(net, batches)
    """,
    "a function": """
        def batches(size=2):
            return ⟦DataLoader(data, batch_size=size)⟧
        def run(check):
            return check(net, batches())
    """,
    "one of two": """
        def run(check):
            train, test = ⟦DataLoader(data, batch_size=2)⟧, DataLoader(data, batch_size=4)
            return check(net, train)
    """,
    "a parameter": """
        def run(check, loader=DataLoader(data, batch_size=2)):
            return ⟦⟧check(net, loader)
    """,
    "one of a dict": """
        def run(check):
            loaders = {"train": DataLoader(data, batch_size=2)}
            return ⟦⟧check(net, loaders["train"])
    """,
}


@pytest.mark.parametrize("name", LOADERS)
def test_where_batches_come_from(name, tmp_path):
    head = """
        from torch.utils.data import DataLoader
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
        data = torch.randn(8, 3, 6, 6)
    """
    module, (expected,) = load(tmp_path, textwrap.dedent(head) + textwrap.dedent(LOADERS[name]))
    found = only(module.run(bnlint.check), "BN301")
    if expected.row == expected.end_row and expected.column == expected.end_column:
        assert (found.filename, found.row) == (expected.filename, expected.row)
    else:
        assert found == expected


# code that is in no file, or no more

PLAIN = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(3, momentum=⟦0.99⟧)
    def forward(self, x):
        return self.bn(x.relu()).mean((2, 3)) * 2
def run(check):
    return check(Net(), [torch.randn(16, 3, 6, 6)])
"""


def executed(filename: str) -> dict:
    text, _ = unmarked(PLAIN, filename)
    names = {"__name__": "__main__"}
    exec(compile(text, filename, "exec"), names)
    return names


@pytest.mark.parametrize("filename", ["<string>", "<stdin>", "", "/no/such/folder/net.py"])
def test_code_without_a_file_has_the_place_of_the_check(filename):
    report = executed(filename)["run"](bnlint.check)
    found, used = only(report, "BN404"), only(report, "BN202")
    rows = [row.strip() for row in unmarked(PLAIN, filename)[0].splitlines()]
    assert {(one.filename, one.module) for one in (found, used)} == {(filename, "bn")}
    assert rows[found.row - 1] == "return check(Net(), [torch.randn(16, 3, 6, 6)])"
    assert rows[used.row - 1] == "return self.bn(x.relu()).mean((2, 3)) * 2"
    assert "BN404" in str(report)
    assert "BN404" in report.to_html()
    assert "BN404" in report.to_json()


@pytest.mark.parametrize("filename", ["<ipython-input-3-0123456789ab>", "/tmp/ipykernel_4711/123456789.py"])
def test_a_cell_of_a_notebook(filename, monkeypatch):
    text, (expected,) = unmarked(PLAIN, filename)
    monkeypatch.setitem(
        linecache.cache, filename, (len(text), None, text.splitlines(keepends=True), filename)
    )
    report = executed(filename)["run"](bnlint.check)
    found = only(report, "BN404")
    assert (bare(found), found.module) == (expected, "bn")
    for shown in (str(report), report.to_html(), report.to_json()):
        assert "BN404" in shown


def test_cells_as_ipython_runs_them():
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell()
    text, _ = unmarked(PLAIN, "")  # of which a cell leaves out the first, empty line
    assert shell.run_cell(text).success
    assert shell.run_cell("import bnlint\n%time net = Net()").success
    ran = shell.run_cell("report = bnlint.check(net, torch.randn(2, 3, 6, 6))")
    assert ran.success
    report = shell.user_ns["report"]
    first, last = only(report, "BN404"), only(report, "BN301")
    assert first.filename != last.filename
    row = unmarked(PLAIN, "")[1][0]
    assert (first.row + 1, first.column, first.end_column) == (row.row, row.column, row.end_column)
    assert last.row == 1
    for shown in (str(report), report.to_html(), report.to_json()):
        assert "BN404" in shown


def test_a_file_that_is_gone(tmp_path):
    module, _ = load(tmp_path, PLAIN)
    Path(module.__file__).unlink()
    report = module.run(bnlint.check)
    found = only(report, "BN404")
    assert (found.filename, found.module) == (module.__file__, "bn")
    assert "BN404" in str(report)


def test_a_file_that_was_changed_since(tmp_path):
    module, (expected,) = load(tmp_path, PLAIN)
    assert bare(only(module.run(bnlint.check), "BN404")) == expected
    path = Path(module.__file__)
    path.write_text("# a new line\n" + path.read_text(), encoding="utf-8")
    found = only(module.run(bnlint.check), "BN404")
    assert bare(found) == Where(
        str(path), expected.row + 1, expected.column, expected.end_row + 1, expected.end_column
    )
    for text in ("", "class Net(", "\0", "class Other:\n    pass\n", "﻿\xff"):
        path.write_bytes(text.encode("latin-1", "replace"))
        report = module.run(bnlint.check)
        assert only(report, "BN404").filename == str(path)
        assert str(report)


# the source engine sees the same file

FIXTURES = Path(__file__).parent.parent / "fixtures"
SHAPES = (
    *((16, 3, 16, 16), (16, 16), (16, 3), (16, 8, 16), (16, 64), (16, 784), (16, 32), (16, 100), (16, 1, 64)),
    *((16, 16, 8, 8), (16, 5, 96), (16, 128), (16, 100, 1, 1), (16, 512), (16, 1, 64, 64), (16, 3, 8, 8, 8)),
)
ARGUMENTS = ((), (3,), (10,), (3, 4), (16, 16), (3, 16, 32))
OTHERWISE = {
    ("bn201_batchnorm_on_output/bad_mlp_helper.py", 18): "from the start of the statement",
    (
        "bn208_unregistered_batchnorm/bad_nested_lists.py",
        21,
    ): "the call of the layer that is made, not its making",
}
"""Where rows agree and columns do not, and why."""
ELSEWHERE = {
    (
        "bn202_activation_before_batchnorm/bad_configured.py",
        20,
    ): "a loop fills the list; here it becomes layers",
    (
        "bn202_activation_before_batchnorm/bad_containers.py",
        39,
    ): "a function makes the list; here it becomes layers",
    ("bn202_activation_before_batchnorm/bad_tried_out.py", 16): "the list is filled; here it becomes layers",
    (
        "bn203_bias_before_batchnorm/bad_helper.py",
        15,
    ): "a function builds it for several places; here it counts",
    (
        "bn206_dropout_before_batchnorm/bad_with_activation.py",
        16,
    ): "a loop fills the list; here it becomes layers",
    ("bn404_momentum_convention/bad_partial.py", 9): "a partial passes it; here the layer is built",
    (
        "bn201_batchnorm_on_output/bad_squashed_image.py",
        17,
    ): "a function builds it for several places; here it counts",
    (
        "bn208_unregistered_batchnorm/bad_blocks_in_list.py",
        16,
    ): "a variable holds it; here it is put into the list",
    (
        "bn208_unregistered_batchnorm/bad_nested_lists.py",
        12,
    ): "a variable holds it; here it becomes an attribute",
    ("bn405_epsilon_out_of_range/bad_partial.py", 15): "a partial passes it; here the layer is built",
    (
        "bn405_epsilon_out_of_range/bad_positional.py",
        17,
    ): "a function builds it for several places; here it counts",
}
"""Places that the source engine has elsewhere, and why."""


def suiting(model: nn.Module) -> torch.Tensor | None:
    """A batch that it takes."""
    for shape in SHAPES:
        with contextlib.suppress(Exception):
            batch = torch.randn(shape)
            model.train()(batch)
            return batch
    return None


ASKING = """

def check_{name}(check, batch, *arguments):
    return check({name}{call}, [batch])
"""


def found_live(folder: Path, path: Path, code: str) -> set[Where]:
    """The places that checks of all that a file defines have for a rule, and that are in this file."""
    text = path.read_text(encoding="utf-8")
    names = [one.name for one in ast.parse(text).body if isinstance(one, (ast.ClassDef, ast.FunctionDef))]
    variables = [
        target.id
        for one in ast.parse(text).body
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name)
    ]
    asking = [ASKING.format(name=name, call="(*arguments)") for name in names]
    asking += [ASKING.format(name=name, call="") for name in variables]
    name = f"fixture_{next(NUMBER)}"
    copy = folder / f"{name}.py"
    copy.write_text(text + "".join(asking), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, copy)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = set()
    for one in (*names, *variables):
        for arguments in ARGUMENTS if one in names else ((),):
            with contextlib.suppress(Exception):
                thing = getattr(module, one)
                model = thing(*arguments) if one in names else thing
                batch = suiting(model) if isinstance(model, nn.Module) else None
                if batch is not None:
                    report = getattr(module, f"check_{one}")(bnlint.check, batch, *arguments)
                    found |= {bare(each.where) for each in report if each.code == code}
                break
    return {replace(where, filename=str(path)) for where in found if where.filename == str(copy)}


@pytest.mark.filterwarnings("ignore")
def test_both_engines_point_at_the_same_places(tmp_path):
    agreed, differ, elsewhere = [], set(), set()
    patterns = ("bn20[1236789]_*/bad_*.py", "bn404_*/bad_*.py", "bn405_*/bad_*.py")
    for path in sorted(found for pattern in patterns for found in FIXTURES.glob(pattern)):
        code, short = path.parent.name[:5].upper(), f"{path.parent.name}/{path.name}"
        by_source = {bare(one.where) for one in bnlint.lint([path], isolated=True, select=[code])}
        for where in found_live(tmp_path, path, code):
            if where.row not in {one.row for one in by_source}:
                elsewhere.add((short, where.row))
            elif where not in by_source and EXACT:
                differ.add((short, where.row))
            else:
                agreed.append(where)
    assert elsewhere == set(ELSEWHERE)
    assert differ == (set(OTHERWISE) if EXACT else set())
    assert len(agreed) >= 60
