"""One BatchNorm object in several places: what of a forward is on one path, and which layers feed it."""

from __future__ import annotations

import textwrap

import pytest

import bnlint

HEAD = """
import copy
import torch
from torch import nn
from torch.nn import functional as F
from elsewhere import number, merge


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.bn(self.conv(x))


class Net(nn.Module):
    def __init__(self, n, flag, track=True):
        super().__init__()
        self.n, self.flag = n, flag
        self.a = nn.Conv2d(8, 8, 3, bias=False)
        self.b = nn.Conv2d(8, 8, 3, bias=False)
        self.block = Block(8)
        self.convs = nn.ModuleList([nn.Conv2d(8, 8, 3, bias=False) for _ in range(n)])
        self.two = nn.ModuleList([nn.Conv2d(8, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)])
        self.mixed = nn.ModuleList([nn.Conv2d(8, 8, 3, bias=False), nn.ReLU(), nn.Conv2d(8, 8, 3, bias=False)])
        self.bns = nn.ModuleList([nn.BatchNorm2d(8) for _ in range(n)])
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x, y):
"""
FORWARDS = {
    "two layers": ("return self.bn(self.b(self.bn(self.a(x))))", True),
    "two layers behind what hands on": (
        "return self.bn(self.a(x).relu()) + self.bn(F.pad(self.b(y), (1, 1)))",
        True,
    ),
    "a layer and a block": ("return self.bn(self.block(self.bn(self.a(x))))", True),
    "a layer and a sum with another": ("x = self.bn(self.a(x))\nreturn self.bn(self.b(x) + x)", True),
    "the input and a layer": ("return self.bn(self.a(self.bn(x)))", True),
    "one layer": ("return self.bn(self.a(x)), self.bn(self.a(y))", False),
    "one layer again": ("return self.bn(self.a(self.bn(self.a(x))))", False),
    "two inputs": ("return self.bn(x), self.bn(y)", False),
    "a layer and its sum": ("x = self.a(x)\nreturn self.bn(x), self.bn(x + self.b(y))", False),
    "itself": ("return self.bn(self.bn(self.a(x)))", False),
    "something unknown": ("return self.bn(self.a(x)), self.bn(merge(x))", False),
    "a product of unknown weights": ("return self.bn(self.a(x)), self.bn(x @ y)", False),
    "if or else": (
        "if self.flag:\n    return self.bn(self.a(x))\nelse:\n    return self.bn(self.b(x))",
        False,
    ),
    "two conditions": (
        "if self.flag:\n    x = self.bn(self.a(x))\nif self.n:\n    x = self.bn(self.b(x))\nreturn x",
        False,
    ),
    "one condition": (
        "if self.flag:\n    x = self.bn(self.a(x))\nx = x + 1\nif self.flag:\n    x = self.bn(self.b(x))\nreturn x",
        True,
    ),
    "always, and under a condition": (
        "x = self.bn(self.a(x))\nif self.flag:\n    x = self.bn(self.b(x))\nreturn x",
        True,
    ),
    "loop over layers": ("for conv in self.convs:\n    x = self.bn(conv(x))\nreturn x", True),
    "loop over an enumeration": (
        "for i, conv in enumerate(self.convs):\n    x = self.bn(conv(x))\nreturn x",
        True,
    ),
    "loop over pairs": ("for conv, bn in zip(self.convs, self.bns):\n    x = bn(conv(x))\nreturn x", False),
    "counted loop": ("for i in range(self.n):\n    x = self.bn(self.convs[i](x))\nreturn x", True),
    "counted loop over few": ("for i in range(self.n):\n    x = self.bn(self.two[i](x))\nreturn x", True),
    "counted pairs": ("for i in range(self.n):\n    x = self.bns[i](self.convs[i](x))\nreturn x", False),
    "an index that is not known": (
        "return self.bn(self.two[number()](self.bn(self.two[number()](x))))",
        False,
    ),
    "counted loop over layers that differ": (
        "for i in range(self.n):\n    x = self.bn(self.mixed[i](x))\nreturn x",
        False,
    ),
    "some BatchNorm": ("x = self.bns[number()](self.a(x))\nreturn self.bns[number()](self.b(x))", False),
    "one layer in a loop": ("for _ in range(self.n):\n    x = self.bn(self.a(x))\nreturn x", False),
    "some turn of a loop": (
        "for i, conv in enumerate(self.convs):\n    x = conv(x)\n    if i == 3:\n        y = self.bn(x)\nreturn y",
        False,
    ),
}
LISTS = {
    "a list of unknown length": ("nn.Sequential(*[Block(8)] * n)", "medium"),
    "the length comes first": ("nn.Sequential(*n * [Block(8)])", "medium"),
    "a number without a name": ("nn.Sequential(*[Block(8)] * number())", "medium"),
    "a known length": ("nn.Sequential(*[Block(8)] * 2)", "high"),
    "of length one": ("nn.Sequential(*[Block(8)] * 1)", None),
    "of length none": ("nn.Sequential(*[Block(8)] * 0)", None),
    "a list that is unknown too": ("nn.Sequential(*[Block(8)] * n, *number())", "medium"),
    "modules": ("nn.ModuleList([Block(8)] * n)", "medium"),
    "one head for each": ("nn.ModuleList([block] * n)", None),
    "a comprehension of one": ("nn.Sequential(*[block for _ in range(n)])", "high"),
    "by name": ("nn.ModuleDict({'a': block, 'b': block})", None),
    "two places": ("nn.Sequential(block, nn.ReLU(), block)", "high"),
    "new ones": ("nn.Sequential(*[Block(8) for _ in range(n)])", None),
    "copies": ("nn.Sequential(*[copy.deepcopy(b) for b in [block] * 3])", None),
    "without BatchNorm": ("nn.Sequential(*[nn.Conv2d(8, 8, 3), nn.ReLU()] * n)", None),
    "without statistics": (
        "nn.Sequential(*[nn.Linear(8, 8), nn.BatchNorm1d(8, track_running_stats=False)] * n)",
        None,
    ),
}
CALLERS = {
    "nobody": ("", "medium"),
    "with several": ("Net(3)", "high"),
    "by name": ("Net(n=3)", "high"),
    "with one": ("Net(1)", None),
    "with one and none": ("Net(1), Net(n=0)", None),
    "with one and several": ("Net(1), Net(2)", "high"),
    "with one and what is not known": ("Net(1), Net(number())", "medium"),
    "with nothing": ("Net()", "medium"),
    "with everything": ("Net(*number())", "medium"),
}


def found(tmp_path, text):
    file = tmp_path / "net.py"
    file.write_text(text, encoding="utf-8")
    report = bnlint.lint([file], isolated=True, select=["BN207"])
    assert not report.skipped
    return report.findings


@pytest.mark.parametrize("name", FORWARDS)
def test_places_on_one_path_behind_different_layers(name, tmp_path):
    body, is_bug = FORWARDS[name]
    findings = found(tmp_path, HEAD + textwrap.indent(body, " " * 8))
    assert len(findings) == is_bug


@pytest.mark.parametrize("name", LISTS)
def test_what_a_container_holds_twice(name, tmp_path):
    made, confidence = LISTS[name]
    body = f"return x\n\n\ndef build(n):\n    block, other = Block(8), nn.BatchNorm2d(8)\n    return other, {made}"
    head, _, rest = body.partition("\n")
    findings = found(tmp_path, f"{HEAD}{' ' * 8}{head}\n{rest}\n")
    assert [f.confidence for f in findings] == [confidence] * (confidence is not None)


@pytest.mark.parametrize(
    ("number", "given", "confidence"),
    [
        ("n - 2", 3, None),
        ("n - 2", 4, "high"),
        ("n // 2", 3, None),
        ("n * 2", 1, "high"),
        ("n - 1 - 1", 3, None),
        ("n - 1 - 1", 4, "high"),
        ("3 - n", 9, "medium"),
        ("len(n)", 9, "medium"),
        ("n // 0", 9, "medium"),
        ("number()", 1, "medium"),
    ],
)
def test_arithmetic_with_what_the_project_gives(number, given, confidence, tmp_path):
    text = f"""
    from elsewhere import number
    from torch import nn


    class Net(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.body = nn.Sequential(*[nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8)] * ({number}))


    Net({given})
    """
    findings = found(tmp_path, textwrap.dedent(text))
    assert [f.confidence for f in findings] == [confidence] * (confidence is not None)


@pytest.mark.parametrize("name", CALLERS)
def test_the_project_says_how_often_a_list_is_repeated(name, tmp_path):
    calls, confidence = CALLERS[name]
    text = """
    from elsewhere import number
    from torch import nn


    class Net(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.body = nn.Sequential(*[nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8)] * n)
    """
    findings = found(tmp_path, f"{textwrap.dedent(text)}\n\n{calls}\n")
    assert [f.confidence for f in findings] == [confidence] * (confidence is not None)


def test_a_forward_is_judged_by_itself(tmp_path):
    text = """
    from torch import nn

    bn = nn.BatchNorm1d(8)


    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.bn = nn.Linear(8, 8, bias=False), bn

        def forward(self, x):
            return self.bn(self.fc(x))


    class Other(One):
        pass
    """
    assert not found(tmp_path, textwrap.dedent(text))


def test_shows_where_it_is_built_and_where_it_stands_first(tmp_path):
    (finding,) = found(tmp_path, HEAD + " " * 8 + "x = self.bn(self.a(x))\n        return self.bn(self.b(x))")
    rows = HEAD.count("\n")
    assert finding.where.row == rows + 2
    assert [step.where.row for step in finding.evidence] == [rows - 2, rows + 1]
    assert "`Conv2d`" in finding.message
