"""Where findings about live models point: the rows and columns of layers, calls and loaders in their files.

In the programs below `⟦…⟧` stands around what a place has to be.
"""

from __future__ import annotations

import importlib.util
import itertools
import linecache
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")

from torch import nn

import bnlint
from bnlint.finding import Where
from bnlint.trace.locate import Origin, Places

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
