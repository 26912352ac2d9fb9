"""BatchNorm on the way from state to state: which loops go over time, and which names are states."""

from __future__ import annotations

import textwrap

import pytest

import bnlint

LOOPS = {
    "for t in range(x.size(1)):\n    h = self.norm(self.fc(h + x[:, t]))": True,
    "for t in range(self.n):\n    h = self.norm(self.fc(h + x[t]))": True,
    "for i in range(seq_len):\n    h = self.norm(self.fc(h + x[:, i : i + 1]))": True,
    "for i in range(x.shape[1]):\n    h = self.norm(self.fc(h + x.select(1, i)))": True,
    "for x_t in x:\n    h = self.norm(self.fc(h + x_t))": True,
    "for i, part in enumerate(x.unbind(1)):\n    h = self.norm(self.fc(h + part))": True,
    "for frame, y in zip(x, x):\n    h = self.norm(self.fc(h + frame))": True,
    "for t in range(self.n):\n    h = self.fc(h + x[t])\n    h = self.norm(h) if self.use else h": True,
    "for t in range(self.n):\n    h = self.fc(h + x[t])\n    y = self.norm(h)": False,
    "for t in range(self.n):\n    h = self.norm(self.fc(h))": False,
    "for t in range(self.n):\n    out[t] = h = self.norm(self.fc(h))": False,
    "for t in range(self.n):\n    h = self.norm(self.layers[t](h))": False,
    "for t in range(self.n):\n    h = self.norm(self.fc(h + x[0 : t + 1]))": False,
    "for t in range(self.n):\n    h = self.norm(self.fc(h + x.select(1, 0)))": False,
    "for i in range(self.n):\n    h = self.norm(self.fc(h + x[:, i]))": False,
    "for i in range(x.size(1)):\n    y = self.norm(self.fc(y + x[:, i]))": False,
    "for part in x.chunk(4):\n    h = self.norm(self.fc(h + part))": False,
    "for step in range(self.n):\n    h = self.norm(self.fc(h + x))": False,
    "for t in range(self.n):\n    h = self.norms[t](self.fc(h + x[t]))": False,
    "for t in range(self.n):\n    h = self.fc(h + self.norm(x[t]))": False,
    "for t in range(self.n):\n    h = self.norm(self.fc(x[t]))": False,
    "for t in range(self.n):\n    h = self.plain(self.fc(h + x[t]))": False,
    "while self.n:\n    h = self.norm(self.fc(h + x))": False,
}
LOOP = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, n, use):
        super().__init__()
        self.n, self.use = n, use
        self.fc = nn.Linear(8, 8, bias=False)
        self.layers = nn.ModuleList([nn.Linear(8, 8, bias=False) for _ in range(n)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(8) for _ in range(n)])
        self.norm = nn.BatchNorm1d(8)
        self.plain = nn.LayerNorm(8)

    def forward(self, x, seq_len):
        y = h = out = torch.zeros(1, 8)
"""
CELL = """
import torch
from torch import nn


class {name}(nn.Module):
    def __init__(self):
        super().__init__()
        self.new, self.old = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.norm = nn.BatchNorm1d(8)

    def forward({params}):
"""
ON_THE_WAY = "{to} = torch.tanh(self.new(x) + self.norm(self.old({of})))\nreturn {to}"
CELLS = {
    "a state": ("GRUCell", "self, x, h", ON_THE_WAY.format(of="h", to="h"), True),
    "under another name": (
        "MyLSTM",
        "self, x, hidden",
        ON_THE_WAY.format(of="hidden", to="new_hidden"),
        True,
    ),
    "one that may be left out": (
        "RNN",
        "self, x, h_prev=None",
        ON_THE_WAY.format(of="h_prev", to="h_t"),
        True,
    ),
    "by keyword": ("RecurrentStep", "self, x, *, state", ON_THE_WAY.format(of="state", to="state"), True),
    "with what the step gives": (
        "LstmCell",
        "self, x, h",
        "h = self.norm(self.old(h))\nreturn self.new(h), (h, x)",
        True,
    ),
    "no cell by its name": ("Cell", "self, x, h", ON_THE_WAY.format(of="h", to="h"), False),
    "a word that only begins so": ("Grunt", "self, x, h", ON_THE_WAY.format(of="h", to="h"), False),
    "no state by its name": ("GRUCell", "self, x, y", ON_THE_WAY.format(of="y", to="h"), False),
    "no state comes back": ("GRUCell", "self, x, h", ON_THE_WAY.format(of="h", to="out"), False),
    "many states at once": (
        "GRU",
        "self, x, hidden_states",
        ON_THE_WAY.format(of="hidden_states", to="hidden_states"),
        False,
    ),
    "another state": ("GRU", "self, x, h1, h2", "h2 = self.old(h2) + self.norm(h1)\nreturn h1, h2", False),
    "its own of several": ("GRU", "self, x, h1, h2", "h2 = self.new(x) + self.norm(h2)\nreturn h1, h2", True),
    "the input alone": ("GRU", "self, x, h", "h = self.norm(self.new(x)) + self.old(h)\nreturn h", False),
    "the answer alone": ("GRU", "self, x, h", "h = self.new(x) + self.old(h)\nreturn self.norm(h), h", False),
    "nothing but the state": ("RNN", "self, h", "h = self.norm(self.old(h))\nreturn h", False),
    "nothing comes back": ("RNN", "self, x, h", "self.h = self.norm(self.old(h))\nreturn", False),
}


def found(tmp_path, text):
    file = tmp_path / "net.py"
    file.write_text(text, encoding="utf-8")
    report = bnlint.lint([file], isolated=True, select=["BN205"])
    assert not report.skipped
    return report.findings


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_over_time(loop, tmp_path):
    findings = found(tmp_path, f"{LOOP}{textwrap.indent(loop, ' ' * 8)}\n        return h, y")
    assert len(findings) == LOOPS[loop]
    for finding in findings:
        rows = [step.where.row for step in finding.evidence]
        assert rows == [13, 18]
        assert rows[-1] < finding.where.row <= 20


@pytest.mark.parametrize("name", CELLS)
def test_cells(name, tmp_path):
    cls, params, body, is_bug = CELLS[name]
    text = CELL.format(name=cls, params=params) + textwrap.indent(body, " " * 8)
    findings = found(tmp_path, text)
    assert len(findings) == is_bug
    for finding in findings:
        assert [step.where.row for step in finding.evidence] == [10, 6]
        assert finding.evidence[1].message == f"`{cls}` makes one state from the last one"


def test_a_loop_in_a_method_that_forward_calls(tmp_path):
    text = LOOP.replace(
        "        y = h", "        return self.unroll(x, x)\n\n    def unroll(self, x, h):\n        y = h"
    )
    loop = "for t in range(self.n):\n    h = self.norm(self.fc(h + x[t]))\nreturn h"
    assert len(found(tmp_path, text + textwrap.indent(loop, " " * 8))) == 1
