"""Batch normalisation that a module computes itself: the ways through a function, and what it makes of a batch."""

from __future__ import annotations

import textwrap

import pytest

import bnlint
from bnlint.source import summary as ir
from bnlint.source.extract import extract
from bnlint.source.paths import passes
from bnlint.source.statements import calls_in

PATHS = {
    "norm(x)": True,
    "return norm(x)": True,
    "return x": False,
    "pass": False,
    "if a:\n    raise ValueError\nreturn norm(x)": True,
    "if a:\n    return x\nreturn norm(x)": False,
    "if a:\n    y = norm(x)\nelse:\n    y = norm(x)\nreturn y": True,
    "if a:\n    y = norm(x)\nelse:\n    y = x\nreturn y": False,
    "if a:\n    y = norm(x)\nelse:\n    raise ValueError\nreturn y": True,
    "if norm(x):\n    return x\nreturn x": False,
    "with a:\n    return norm(x)": True,
    "with a:\n    y = x\nreturn y": False,
    "try:\n    y = norm(x)\nfinally:\n    a()\nreturn y": True,
    "for i in a:\n    x = norm(x)\nreturn x": True,
    "for i in a:\n    return x\nreturn norm(x)": False,
    "for i in a:\n    x = i\nreturn norm(x)": True,
    "return norm(x) if a else x": False,
    "return norm(x) if a else norm(x)": True,
    "return a(norm(x)) + 1": True,
    "return a and norm(x)": False,
    "f = lambda: norm(x)\nreturn f": False,
    "def f():\n    return norm(x)\nreturn x": False,
}


@pytest.mark.parametrize(("body", "expected"), PATHS.items())
def test_ways_through_a_function(body, expected):
    source = f"def forward(a, x):\n{textwrap.indent(body, '    ')}\n"
    (function,) = extract(source.encode(), "net.py").body
    assert isinstance(function, ir.Function)
    spans = {call.span for call in calls_in((*function.body,)) if call.func == ir.Name("norm")}
    assert passes(function.body, spans) is expected


LAYER = """
import torch
from torch import nn


class {cls}(nn.Module):
    def __init__(self, n, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(n))

    def forward(self, x):
{body}
"""


def finds(tmp_path, body: str, cls: str = "BatchNorm") -> bool:
    path = tmp_path / "layers.py"
    path.write_text(LAYER.format(cls=cls, body=textwrap.indent(textwrap.dedent(body).strip(), " " * 8)))
    return {finding.code for finding in bnlint.lint([path], isolated=True).findings} == {"BN106"}


NORMALISED = "return self.gamma * (x - mean) / torch.sqrt(var + self.eps)"


@pytest.mark.parametrize(
    "moments",
    [
        "mean, var = x.mean(0), x.var(0)",
        "mean, var = torch.mean(x, 0), torch.var(x, 0, unbiased=False)",
        "mean, var = x.mean(axis=(0, 2)), x.var(axis=(0, 2))",
        "mean, var = x.mean(0, 2, 3), x.var((0, 2, 3))",
        "var, mean = torch.var_mean(x, (0, 2, 3), keepdim=True)",
        "mean = x.mean(0)\nvar = (x - mean).pow(2).mean(0)",
        "mean = x.mean(0)\nvar = torch.square(x - mean).mean(0)",
        "mean = x.mean(0)\nvar = ((x - mean) * (x - mean)).mean(0)",
        "mean = x.mean(0)\nvar = (x * x).mean(0) - mean * mean",
        "mean = x.mean(0)\nvar = (x ** 2).mean(0) - mean ** 2",
        "x = x.float()\nmean, var = x.mean(0).view(1, -1), x.var(0)[None]",
        "axes = (0, 2, 3)\nmean, var = x.mean(axes), x.var(axes)",
        "mean, var = x.mean(), x.var()",
        "x = x.view(-1, x.size(-1))\nmean, var = x.mean(0), x.var(0)",
        "x = x.transpose(0, 1)\nmean, var = x.mean(1), x.var(1)",
    ],
)
def test_moments_of_the_batch(tmp_path, moments):
    assert finds(tmp_path, f"{moments}\n{NORMALISED}")


@pytest.mark.parametrize(
    "moments",
    [
        "mean, var = x.mean(1), x.var(1)",
        "mean, var = x.mean(-1), x.var(-1)",
        "mean, var = x.mean((2, 3)), x.var((2, 3))",
        "axes = tuple(range(x.dim()))\nmean, var = x.mean(axes), x.var(axes)",
        "x = x.transpose(0, 1)\nmean, var = x.mean(0), x.var(0)",
        "x = x.permute(2, 3, 0, 1)\nmean, var = x.mean((0, 1)), x.var((0, 1))",
        "x = x.view(x.size(0), 4, -1)\nmean, var = x.mean(0), x.var(0)",
        "x = x[0]\nmean, var = x.mean(0), x.var(0)",
        "y = self.gamma\nmean, var = y.mean(0), y.var(0)",
        "mean, var = x.mean(0), x.var(1)",
        "mean, var = x.mean(0), self.gamma",
        "for y in x:\n    mean, var = x.mean(0), x.var(0)",
        "if x.dim() == 2:\n    mean, var = x.mean(0), x.var(0)\nelse:\n    mean, var = x.mean(1), x.var(1)",
        "if x.dim() == 2:\n    return x\nmean, var = x.mean(0), x.var(0)",
        "self.mean = x.mean(0)\nmean, var = x.mean(0), x.var(0)",
        "running = 0.1\nmean, var = x.mean(0) * running, x.var(0)",
        "mean, var = x.mean(0), x.var(0)\nif self.training:\n    var = var * 2",
    ],
)
def test_other_moments_are_silent(tmp_path, moments):
    assert not finds(tmp_path, f"{moments}\n{NORMALISED}")


@pytest.mark.parametrize(
    "normalised",
    [
        "return (x - mean) * torch.rsqrt(var + self.eps) * self.gamma",
        "return (x - mean) * (self.gamma / torch.sqrt(var + self.eps))",
        "return (x - mean) * (self.gamma * (var + self.eps).rsqrt())",
        "return self.gamma * (x - mean).div((var + self.eps).sqrt())",
        "x -= mean\nx /= (var + self.eps) ** 0.5\nreturn x * self.gamma",
        "scale = 1 / torch.sqrt(var + self.eps)\nreturn self.gamma * ((x - mean) * scale)",
        "with torch.autocast('cuda'):\n    y = (x - mean) / (var + self.eps).sqrt()\nreturn y * self.gamma",
    ],
)
def test_ways_to_normalise(tmp_path, normalised):
    assert finds(tmp_path, f"mean, var = x.mean(0), x.var(0)\n{normalised}")


@pytest.mark.parametrize(
    "other",
    [
        "return x - mean",
        "return self.gamma / torch.sqrt(var + self.eps)",
        "return (x - mean) / var",
        "return (x - var) / torch.sqrt(mean)",
        "return (x - mean) * torch.sqrt(var)",
        "return [(y - mean) / torch.sqrt(var) for y in x]",
    ],
)
def test_other_uses_are_silent(tmp_path, other):
    assert not finds(tmp_path, f"mean, var = x.mean(0), x.var(0)\n{other}")


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        ("BatchNorm", True),
        ("CBN", True),
        ("MyBN2d", True),
        ("batch_norm", True),
        ("BatchNormLayer", True),
        ("Norm", False),
        ("Subnet", False),
        ("GraphNorm", False),
        ("MetaBN", False),
        ("GhostBN", False),
        ("BNLoss", False),
        ("TENTBatchNorm", False),
    ],
)
def test_names_say_what_is_meant(tmp_path, cls, expected):
    assert finds(tmp_path, f"mean, var = x.mean(0), x.var(0)\n{NORMALISED}", cls) is expected


def test_a_test_of_code_is_silent(tmp_path):
    folder = tmp_path / "tests"
    folder.mkdir()
    assert not finds(folder, f"mean, var = x.mean(0), x.var(0)\n{NORMALISED}")
