"""Home-made layers against the reference: each planted fault has one code and its cause, right ones have none."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import bnlint
from bnlint import reference
from bnlint.homemade.batches import batch
from bnlint.homemade.formulas import RIGHT, mistakes
from bnlint.report import FindingsError, formats, load

LAYER = """
class Norm(nn.Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.ones(num_features))
        self.beta = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x):
        dims, shape = [0, *range(2, x.dim())], [1, -1] + [1] * (x.dim() - 2)
        if self.training:
            m = x.numel() // x.shape[1]
            if m == 1:
                raise ValueError("one value per channel")
            mean = x.mean(dims)
            var = ((x - mean.view(shape)) ** 2).mean(dims)
            with torch.no_grad():
                self.running_mean.copy_((1 - self.momentum) * self.running_mean + self.momentum * mean)
                self.running_var.copy_((1 - self.momentum) * self.running_var + self.momentum * var * m / (m - 1))
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + self.eps)
        return self.gamma.view(shape) * x_hat + self.beta.view(shape)
"""
VAR = "var = ((x - mean.view(shape)) ** 2).mean(dims)"
HAT = "x_hat = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + self.eps)"
OUT = "return self.gamma.view(shape) * x_hat + self.beta.view(shape)"
MEAN_MOVES = "self.running_mean.copy_((1 - self.momentum) * self.running_mean + self.momentum * mean)"
VAR_MOVES = (
    "self.running_var.copy_((1 - self.momentum) * self.running_var + self.momentum * var * m / (m - 1))"
)
UPDATE = f"            with torch.no_grad():\n                {MEAN_MOVES}\n                {VAR_MOVES}\n"
UPDATE_IN_GRAPH = f"            {MEAN_MOVES}\n            {VAR_MOVES}\n".replace(".copy_(", " = (")
EVAL = "mean, var = self.running_mean, self.running_var"
GAMMA = "nn.Parameter(torch.ones(num_features))"
MEAN_BUFFER = 'self.register_buffer("running_mean", torch.zeros(num_features))'
VAR_BUFFER = 'self.register_buffer("running_var", torch.ones(num_features))'
MOMENTA = {
    "1 - self.momentum) * self.r": "self.momentum) * self.r",
    "+ self.momentum * ": "+ (1 - self.momentum) * ",
}
OWN = "x.mean(dims), x.var(dims, correction=0)"

FAULTS = {
    "unbiased": ("BN501", "unbiased variance", {VAR: "var = x.var(dims)", "var * m / (m - 1)": "var"}),
    "std + eps": ("BN501", r"divides by std \+ eps", {"torch.sqrt(var.view(shape) + self.eps)": "(var.view(shape).sqrt() + self.eps)"}),
    "no eps": ("BN501", "eps is missing", {" + self.eps": ""}),
    "fixed eps": ("BN501", "`eps` is ignored.*: 1e-05 is added", {"self.eps, self.momentum = eps,": "self.eps, self.momentum = 1e-5,"}),
    "fixed eps of Keras": ("BN501", "`eps` is ignored.*: 0.001 is added", {"self.eps, self.momentum = eps,": "self.eps, self.momentum = 1e-3,"}),
    "eps squared": ("BN501", "the square of eps", {"+ self.eps": "+ self.eps**2"}),
    "no root": ("BN501", "square root is missing", {"torch.sqrt(var.view(shape) + self.eps)": "(var.view(shape) + self.eps)"}),
    "not centred": ("BN501", "mean is not subtracted", {HAT: "x_hat = x / torch.sqrt(var.view(shape) + self.eps)"}),
    "only centred": ("BN501", "does not divide", {HAT: "x_hat = x - mean.view(shape)"}),
    "mean of squares": ("BN501", "mean of the squares", {VAR: "var = (x ** 2).mean(dims)"}),
    "layer norm": ("BN501", "layer normalisation", {HAT: f"{HAT}\n        if self.training:\n            own = list(range(1, x.dim()))\n            x_hat = (x - x.mean(own, keepdim=True)) / torch.sqrt(x.var(own, correction=0, keepdim=True) + self.eps)"}),
    "instance norm": ("BN501", "instance normalisation", {"Norm(": "Norm2d(", HAT: f"{HAT}\n        if self.training:\n            x_hat = (x - x.mean((2, 3), keepdim=True)) / torch.sqrt(x.var((2, 3), correction=0, keepdim=True) + self.eps)"}),
    "batch only": ("BN501", "over the batch only", {"Norm(": "Norm2d(", HAT: f"{HAT}\n        if self.training:\n            x_hat = (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + self.eps)"}),
    "wrong dimensions": ("BN501", r"over the dimensions \[0, 1, 2\] instead of \[0, 2, 3\]", {"Norm(": "Norm2d(", HAT: f"{HAT}\n        if self.training:\n            own = (0, 1, 2)\n            x_hat = (x - x.mean(own)) / torch.sqrt(x.var(own, correction=0) + self.eps)"}),
    "running in training": ("BN501", "with the running statistics", {HAT: f"{EVAL}\n        {HAT}"}),
    "no shift": ("BN501", "`beta` has no effect", {" + self.beta.view(shape)": ""}),
    "no scale": ("BN501", "`gamma` has no effect", {"self.gamma.view(shape) * ": ""}),
    "shift first": ("BN501", "shift is added before", {"x_hat + self.beta.view(shape)": "(x_hat + self.beta.view(shape))"}),
    "starts at zero": ("BN501", "`gamma` does not start at 1", {GAMMA: "nn.Parameter(torch.zeros(num_features))"}),
    "rectified": ("BN501", "ReLU", {OUT: f"{OUT.replace('return ', 'return (')}).relu()"}),
    "two mistakes": ("BN501", "std.* and the mean is not", {HAT: "x_hat = x / (var.view(shape).sqrt() + self.eps)"}),
    "unbiased, eps fixed": ("BN501", "unbiased variance", {VAR: "var = x.var(dims)", "var * m / (m - 1)": "var", ", eps=1e-5": "", "= eps,": "= 1e-8,"}),
    "twice": ("BN501", "it is 2 times what it should be, plus 0.5", {OUT: f"{OUT.replace('return', 'return 0.5 + 2 * (')})"}),
    "frozen": ("BN501", "with the running statistics", {"if self.training:": "if False:", GAMMA: "torch.ones(num_features)"}),
    "unknown mistake": ("BN501", "no known mistake", {OUT: OUT.replace("x_hat", "x_hat ** 3")}),
    "detached": ("BN502", "mean and variance are detached", {HAT: f"mean, var = mean.detach(), var.detach()\n        {HAT}"}),
    "detached variance": ("BN502", "the variance is detached", {HAT: f"var = var.data\n        {HAT}"}),
    "detached mean": ("BN502", "the mean is detached", {HAT: f"mean = mean.data\n        {HAT}"}),
    "detached scale": ("BN502", "`gamma` gets no gradient", {"self.gamma.view": "self.gamma.data.view"}),
    "no gradients": ("BN502", "carries no gradient", {"    def forward": "    @torch.no_grad()\n    def forward"}),
    "detached input": ("BN502", "input gets no gradient", {"        dims, shape": "        x = x.detach()\n        dims, shape"}),
    "written over": ("BN502", "backward raises RuntimeError", {OUT: "y = x_hat * self.gamma.view(shape)\n        x_hat.mul_(2)\n        return y + self.beta.view(shape)"}),
    "biased": ("BN503", "variance is biased", {" * m / (m - 1)": ""}),
    "samples": ("BN503", "samples N", {"m / (m - 1)": "len(x) / (len(x) - 1)"}),
    "keras": ("BN503", "yours 0.9 is our 0.1", MOMENTA),
    "keras default": ("BN503", "by default .* 0.9 ", {"momentum=0.1": "momentum=0.9"}),
    "fixed momentum": ("BN503", "momentum is ignored", {"self.momentum = eps, momentum": "self.momentum = eps, 0.2"}),
    "hard-coded momentum": ("BN503", "counts for 0.9", {", momentum=0.1": "", "self.momentum = eps, momentum": "self.momentum = eps, 0.9"}),
    "never updated": ("BN503", "`running_mean` is never updated", {MEAN_MOVES: "pass", VAR_MOVES: "pass"}),
    "variance never updated": ("BN503", "`running_var` is never updated", {VAR_MOVES: "pass"}),
    "variance starts at 0": ("BN503", "`running_var` starts at 0", {VAR_BUFFER: VAR_BUFFER.replace("ones", "zeros")}),
    "overwritten": ("BN503", "overwritten", {MEAN_MOVES: "self.running_mean.copy_(mean)", VAR_MOVES: "self.running_var.copy_(var * m / (m - 1))"}),
    "grows": ("BN503", "grows without end", {MEAN_MOVES: "self.running_mean.add_(self.momentum * mean)"}),
    "forgets": ("BN503", "forgets", {MEAN_MOVES: "self.running_mean.copy_(self.momentum * mean)"}),
    "keeps std": ("BN503", "standard deviation", {"var * m / (m - 1)": "(var * m / (m - 1)).sqrt()", EVAL: "mean, var = self.running_mean, self.running_var ** 2"}),
    "about the running mean": ("BN503", "about the running mean", {"self.momentum * var * m / (m - 1)": "self.momentum * ((x - self.running_mean.view(shape)) ** 2).mean(dims)"}),
    "first batch": ("BN503", "the first batch", {UPDATE: f"            if self.running_mean.any():\n                pass\n            else:\n                self.running_mean.copy_(mean.data)\n                self.running_var.copy_((var * m / (m - 1)).data)\n{UPDATE}"}),
    "in the graph": ("BN503", "stay in the graph", {UPDATE: UPDATE_IN_GRAPH}),
    "batch in eval": ("BN504", "what it does in train mode", {EVAL: f"mean, var = {OWN}"}),
    "no mode": ("BN504", "what it does in train mode", {"if self.training:": "if True:"}),
    "gradient mode": ("BN504", "is_grad_enabled", {"if self.training:": "if torch.is_grad_enabled():"}),
    "batch variance in eval": ("BN504", "the batch's variance", {EVAL: "mean, var = self.running_mean, x.var(dims, correction=0)"}),
    "swapped": ("BN504", "changed places", {EVAL: "var, mean = self.running_mean, self.running_var"}),
    "input in eval": ("BN504", "the output is the input", {EVAL: "return x"}),
    "bare in eval": ("BN504", "not applied", {OUT: f"{OUT} if self.training else x_hat"}),
    "corrected in eval": ("BN504", r"m / \(m - 1\)", {EVAL: "m = x.numel() // x.shape[1]\n            mean, var = self.running_mean, self.running_var * m / (m - 1)"}),
    "refuses one in eval": ("BN504", "refuses one value", {EVAL: f"{EVAL}\n        assert x.numel() > x.shape[1]"}),
    "raises in eval": ("BN504", "raises RuntimeError", {EVAL: "mean, var = self.running_mean[:-1], self.running_var[:-1]"}),
    "attributes": ("BN505", "plain attribute", {MEAN_BUFFER: "self.running_mean = torch.zeros(num_features)", VAR_BUFFER: "self.running_var = torch.ones(num_features)"}),
    "half attribute": ("BN505", "`running_var` as a plain", {VAR_BUFFER: "self.running_var = torch.ones(num_features)"}),
    "not persistent": ("BN505", "persistent", {MEAN_BUFFER: MEAN_BUFFER.replace("s))", "s), persistent=False)")}),
    "parameters": ("BN505", "takes gradients", {VAR_BUFFER: "self.running_var = nn.Parameter(torch.ones(num_features))"}),
    "plain scale": ("BN506", "`gamma` as a plain tensor", {GAMMA: "torch.ones(num_features)"}),
    "frozen scale": ("BN506", "requires_grad=False", {GAMMA: "nn.Parameter(torch.ones(num_features), requires_grad=False)"}),
    "one value": ("BN507", "NaN", {'            if m == 1:\n                raise ValueError("one value per channel")\n': ""}),
    "one value, safe": ("BN507", "variance is 0", {'            if m == 1:\n                raise ValueError("one value per channel")\n': "", "(m - 1)": "max(m - 1, 1)"}),
    "moves in eval": ("BN508", "changes `running_mean`", {OUT: f"y = {OUT.removeprefix('return ')}\n        if not self.training:\n            self.running_mean.lerp_(x.mean(dims), 0.1)\n        return y"}),
    "moves first in eval": ("BN508", "changes `running_mean`", {EVAL: f"self.running_mean.lerp_(x.mean(dims), 0.1)\n            {EVAL}"}),
}  # fmt: skip
"""What is planted: the code that it has, what is said of its cause, and the edits that plant it."""


def built(source: str, changes: dict[str, str]) -> type:
    for old, new in changes.items():
        assert old in source, old
        source = source.replace(old, new)
    names = {"torch": torch, "nn": nn, "__name__": "planted"}
    exec(source, names)
    return next(one for name, one in names.items() if name.startswith("Norm"))


@pytest.mark.parametrize(("code", "cause", "changes"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_named(code, cause, changes):
    report = bnlint.conforms(built(LAYER, changes))
    assert [finding.code for finding in report] == [code]
    (finding,) = report
    assert re.search(cause, finding.message)
    assert len(finding.message) <= 290
    if code in {"BN501", "BN502", "BN503", "BN504"}:
        assert finding.measured["difference"] > 1e-4


RIGHT_ONES = {
    "as written": {},
    "unbiased var of torch": {VAR: "var = x.var(dims, correction=0)", "var * m / (m - 1)": "x.var(dims)"},
    "mean of squares": {VAR: "var = (x * x).mean(dims) - mean * mean"},
    "rsqrt": {HAT: "x_hat = (x - mean.view(shape)) * torch.rsqrt(var.view(shape) + self.eps)"},
    "buffers replaced": {MEAN_MOVES: MEAN_MOVES.replace(".copy_(", " = (")},
    "other names": {"running_mean": "moving_avg", "running_var": "moving_variance", "gamma": "g", "beta": "b"},
    "random start": {GAMMA: "nn.Parameter(torch.rand(num_features))"},
    "other arguments": {"eps=1e-5, momentum=0.1": "momentum=0.1, epsilon=1e-3", "= eps,": "= epsilon,"},
    "the number is not first": {"num_features, eps=1e-5, momentum=0.1": "eps=1e-5, momentum=0.1, num_features=64"},
    "arguments by name only": {"num_features, eps": "*, num_features, eps"},
    "arguments by position only": {"momentum=0.1": "momentum=0.1, /"},
    "a shape": {"num_features, ": "shape, ", "num_features": "(len(shape), shape[0])[-1]"},
    "no arguments": {", eps=1e-5, momentum=0.1": "", "= eps, momentum": "= 1e-3, 0.01"},
    "decay": {**MOMENTA, "momentum=0.1": "decay=0.9", "= eps, momentum": "= eps, decay"},
    "no scale, no shift": {"self.gamma = nn.Parameter(torch.ones(num_features))": "pass", "self.beta = nn.Parameter(torch.zeros(num_features))": "pass", OUT: "return x_hat"},
    "keeps what it computed": {OUT: f"self.mean, self.var, self.out = mean, var, {OUT.removeprefix('return ')}\n        return self.out"},
    "two values": {OUT: f"{OUT}, mean"},
    "training as an argument": {"self, x)": "self, x, training=True)", "self.training": "training"},
    "four dimensions only": {"        dims, shape": "        assert x.dim() == 4\n        dims, shape"},
    "parameters that take no gradients": {VAR_BUFFER: "self.running_var = nn.Parameter(torch.ones(num_features), requires_grad=False)"},
    "images in columns": {"[1, -1] + [1] * (x.dim() - 2)": "(1, -1, 1, 1)"},
    "in place": {HAT: "x_hat = x - mean.view(shape)\n        x_hat /= torch.sqrt(var.view(shape) + self.eps)"},
}  # fmt: skip


@pytest.mark.parametrize("changes", RIGHT_ONES.values(), ids=RIGHT_ONES)
def test_a_right_layer_passes(changes):
    report = bnlint.conforms(built(LAYER, changes))
    assert report.findings == ()
    assert report.skipped == ()
    assert report.checked == 1
    report.raise_for_findings()


TORCHS = [
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.LazyBatchNorm1d,
    nn.LazyBatchNorm2d,
]
OURS = [reference.BatchNorm1d, reference.BatchNorm2d, reference.BatchNorm3d]


@pytest.mark.parametrize("cls", TORCHS + OURS)
def test_those_of_torch_and_the_reference_pass(cls):
    assert bnlint.conforms(cls).findings == ()


def trained(layer):
    for _ in range(3):
        layer(torch.randn(8, layer.num_features, 2, 2))
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm2d(3),
        nn.BatchNorm2d(1),
        nn.BatchNorm1d(7, eps=1e-3, momentum=None),
        nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, bias=False),
        nn.BatchNorm2d(6, momentum=0.01).eval().requires_grad_(requires_grad=False),
        nn.BatchNorm2d(6).half(),
        nn.BatchNorm3d(2, momentum=1.0),
        nn.Sequential(nn.BatchNorm2d(5)),
        trained(nn.BatchNorm2d(9)),
    ],
    ids=str,
)
def test_a_layer_that_is_built_is_tried_as_a_copy(layer):
    before = {name: values.clone() for name, values in layer.state_dict().items()}
    modes = [module.training for module in layer.modules()]
    assert bnlint.conforms(layer).findings == ()
    assert [module.training for module in layer.modules()] == modes
    for name, values in layer.state_dict().items():
        assert torch.equal(values, before[name])
        assert values.dtype == before[name].dtype


def test_a_built_layer_has_its_faults():
    layer = built(LAYER, MOMENTA)(4, momentum=0.9)
    layer(torch.randn(8, 4))
    (finding,) = bnlint.conforms(layer)
    assert finding.code == "BN503"
    assert "yours 0.9 is our 0.1" in finding.message


def test_a_layer_that_hangs_in_a_graph_is_tried():
    layer = built(LAYER, FAULTS["in the graph"][2])(4)
    layer(torch.randn(8, 4, requires_grad=True))
    assert [finding.code for finding in bnlint.conforms(layer)] == ["BN503"]
    assert layer.running_mean.grad_fn is not None


def test_a_stateless_layer_is_no_fault_and_not_passed_in_silence():
    cls = built(LAYER, {", momentum=0.1": "", "self.eps, self.momentum = eps, momentum": "self.eps = eps", MEAN_BUFFER: "pass", VAR_BUFFER: "pass", MEAN_MOVES: "pass", VAR_MOVES: "pass", EVAL: f"mean, var = {OWN}"})  # fmt: skip
    report = bnlint.conforms(cls)
    assert report.findings == ()
    assert any("keeps none" in line for line in report.skipped)


def test_one_that_takes_a_momentum_and_keeps_nothing_is_a_fault():
    cls = built(LAYER, {MEAN_BUFFER: "pass", VAR_BUFFER: "pass", MEAN_MOVES: "pass", VAR_MOVES: "pass", EVAL: f"mean, var = {OWN}"})  # fmt: skip
    (finding,) = bnlint.conforms(cls)
    assert finding.code == "BN504"
    assert "keeps no running statistics" in finding.message


class Plain:
    """As lectures write it: no module, and `training` is an attribute."""

    unbiased = False

    def __init__(self, dim, eps=1e-5, momentum=0.1):
        self.eps, self.momentum, self.training = eps, momentum, True
        self.gamma, self.beta = torch.ones(dim), torch.zeros(dim)
        self.running_mean, self.running_var = torch.zeros(dim), torch.ones(dim)

    def __call__(self, x):
        if self.training:
            assert len(x) > 1
            mean, var = x.mean(0, keepdim=True), x.var(0, keepdim=True, unbiased=self.unbiased)
            with torch.no_grad():
                self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
                self.running_var = (1 - self.momentum) * self.running_var + self.momentum * x.var(
                    0, keepdim=True
                )
        else:
            mean, var = self.running_mean, self.running_var
        self.out = self.gamma * (x - mean) / torch.sqrt(var + self.eps) + self.beta
        return self.out

    def parameters(self):
        return [self.gamma, self.beta]


class PlainUnbiased(Plain):
    unbiased = True


def test_a_class_that_is_no_module():
    assert bnlint.conforms(Plain).findings == ()
    assert any("no nn.Module" in line for line in bnlint.conforms(Plain).skipped)
    assert [finding.code for finding in bnlint.conforms(PlainUnbiased)] == ["BN501"]


class Words(Plain):
    """The mode is a word, and the output comes with a cache."""

    def forward(self, x, mode="train"):
        if mode not in {"train", "test"}:
            raise ValueError(mode)
        self.training = mode == "train"
        return Plain.__call__(self, x), x

    __call__ = forward


def test_a_mode_that_is_a_word():
    assert bnlint.conforms(Words).findings == ()


def test_statistics_and_scale_that_the_first_input_makes():
    lazy = built(
        LAYER,
        {
            "(self, num_features, ": "(self, ",
            "        self.gamma = nn.Parameter(torch.ones(num_features))\n        self.beta = nn.Parameter(torch.zeros(num_features))\n": "        self.gamma = None\n\n    def build(self, num_features):\n        self.gamma = nn.Parameter(torch.ones(num_features))\n        self.beta = nn.Parameter(torch.zeros(num_features))\n",
            "    def forward(self, x):\n": "    def forward(self, x):\n        if self.gamma is None:\n            self.build(x.shape[1])\n",
        },
    )  # fmt: skip
    assert bnlint.conforms(lazy).findings == ()


class TestWhatCannotBeTried:
    def check(self, cls, said):
        report = bnlint.conforms(cls)
        assert report.findings == ()
        assert report.checked == 0
        assert re.search(said, "\n".join(report.skipped))
        with pytest.raises(FindingsError, match=said):
            report.raise_for_findings()
        assert re.search(said, str(report))

    def test_an_argument_that_nobody_can_guess(self):
        self.check(
            built(LAYER, {"num_features, eps": "num_features, teacher, eps"}),
            r"tried Norm\(5.*missing.*'teacher'",
        )

    def test_a_forward_that_raises(self):
        self.check(
            built(LAYER, {"        dims, shape": "        raise OSError('no disk')\n        dims, shape"}),
            "OSError: no disk",
        )

    def test_a_forward_that_ends_the_process(self):
        self.check(
            built(LAYER, {"        dims, shape": "        raise SystemExit\n        dims, shape"}),
            "ends the process",
        )

    def test_another_shape(self):
        self.check(built(LAYER, {OUT: "return x.flatten()"}), "returned the shape")

    def test_no_tensor(self):
        self.check(built(LAYER, {OUT: "return 'y'"}), "returned str, not a tensor")

    def test_a_layer_that_cannot_be_copied(self):
        layer = built(LAYER, {})(3)
        layer.lock = (one for one in ())
        self.check(layer, "cannot be tried: TypeError")

    @pytest.mark.parametrize("thing", [3, "BatchNorm", None, trained])
    def test_what_is_no_layer(self, thing):
        with pytest.raises(TypeError, match="a class or a layer"):
            bnlint.conforms(thing)


class Meddler(nn.BatchNorm1d):
    def forward(self, x):
        torch.manual_seed(7)
        random.seed(7)
        torch.set_default_dtype(torch.float16)
        torch.set_grad_enabled(mode=False)
        y = super().forward(x)
        torch.set_grad_enabled(mode=True)
        return y + 0 * torch.rand(1) + 0 * random.random()


@pytest.mark.parametrize("cls", [Meddler, nn.BatchNorm1d])
@pytest.mark.parametrize("grad", [True, False])
def test_the_process_is_as_it_was(cls, grad):
    torch.manual_seed(1)
    random.seed(1)
    expected = torch.rand(3), random.random()
    torch.manual_seed(1)
    random.seed(1)
    with torch.set_grad_enabled(grad):
        bnlint.conforms(cls)
        assert torch.is_grad_enabled() is grad
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.rand(3), expected[0])
    assert random.random() == expected[1]


def test_inference_mode_is_no_obstacle():
    with torch.inference_mode():
        assert bnlint.conforms(nn.BatchNorm1d).findings == ()
        assert torch.is_inference_mode_enabled()


class Scaled(torch.autograd.Function):
    """The identity, with a gradient that is too large."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.factor * gradient, None


class TestFaultsOfAnySize:
    """The reference with one step changed, by how much hypothesis says."""

    @settings(deadline=None, max_examples=10)
    @given(st.floats(0.01, 100))
    def test_another_eps(self, factor):
        assume(abs(factor - 1) > 0.02)

        class Norm2d(reference.BatchNorm2d):
            def __init__(self, num_features, eps=1e-5, momentum=0.1):
                super().__init__(num_features, factor * eps, momentum)

        (finding,) = bnlint.conforms(Norm2d)
        assert finding.code == "BN501"
        assert "`eps` is ignored or changed" in finding.message or "square" in finding.message

    @settings(deadline=None, max_examples=10)
    @given(st.floats(0, 1))
    def test_another_momentum(self, share):
        assume(abs(share - 0.3) > 0.005)

        class Norm1d(reference.BatchNorm1d):
            def __init__(self, num_features, eps=1e-5, momentum=0.1):
                super().__init__(num_features, eps, share)

        (finding,) = bnlint.conforms(Norm1d)
        assert finding.code == "BN503"

    @settings(deadline=None, max_examples=10)
    @given(st.floats(0.05, 0.95))
    def test_a_momentum_that_is_hard_coded(self, share):
        class Norm1d(reference.BatchNorm1d):
            def __init__(self, num_features):
                super().__init__(num_features, momentum=share)

        assume(abs(share - 0.5) > 0.01)
        assert [finding.code for finding in bnlint.conforms(Norm1d)] == (["BN503"] if share > 0.5 else [])

    @settings(deadline=None, max_examples=10)
    @given(st.floats(-3, 3))
    def test_another_gradient(self, factor):
        assume(abs(factor - 1) > 0.01)

        class Norm3d(reference.BatchNorm3d):
            def forward(self, x):
                return super().forward(Scaled.apply(x, factor))

        (finding,) = bnlint.conforms(Norm3d)
        assert finding.code == "BN502"

    @settings(deadline=None, max_examples=10)
    @given(st.floats(0.1, 3))
    def test_another_output(self, factor):
        assume(abs(factor - 1) > 0.01)

        class Norm1d(reference.BatchNorm1d):
            def forward(self, x):
                return factor * super().forward(x)

        assert "BN501" in {finding.code for finding in bnlint.conforms(Norm1d)}

    @settings(deadline=None, max_examples=10)
    @given(
        st.integers(1, 12), st.floats(1e-7, 1e-2), st.one_of(st.none(), st.floats(0.01, 0.49)), st.booleans()
    )
    def test_none(self, channels, eps, momentum, affine):
        layer = nn.BatchNorm2d(channels, eps, momentum, affine)
        assert bnlint.conforms(layer).findings == ()


@pytest.mark.parametrize("dims", [2, 3, 4, 5])
def test_the_formula_without_a_change_is_the_reference(dims):
    x = batch(dims, 0, 5)
    cls = {
        2: reference.BatchNorm1d,
        3: reference.BatchNorm1d,
        4: reference.BatchNorm2d,
        5: reference.BatchNorm3d,
    }[dims]
    gamma, beta = torch.rand(5, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    layer = cls(5, eps=1e-3, dtype=torch.float64)
    layer.load_state_dict({"weight": gamma, "bias": beta}, strict=False)
    assert torch.allclose(layer(x), RIGHT.output(x, gamma, beta, 1e-3), rtol=0, atol=1e-12)


def test_each_mistake_gives_other_numbers():
    x = batch(4, 0, 5)
    gamma, beta = torch.rand(5, dtype=torch.float64) + 0.5, torch.rand(5, dtype=torch.float64)
    right = RIGHT.output(x, gamma, beta, 1e-3)
    for text, formula in mistakes(4):
        assert not torch.allclose(formula.output(x, gamma, beta, 1e-3), right, rtol=1e-3, atol=1e-3), text


def test_the_smallest_input_is_shown():
    (finding,) = bnlint.conforms(built(LAYER, FAULTS["unbiased"][2]))
    (step,) = finding.evidence
    assert "shape (2, 1): [0, 4]; [-0.707, 0.707], and [-0.9998, 0.9998] in the reference" in step.message
    (finding,) = bnlint.conforms(built(LAYER, FAULTS["biased"][2]))
    (step,) = finding.evidence
    assert (
        "shape (2, 1): [0, 4]; after this batch `running_var` is [1.9], and [3.1] in the reference"
        in step.message
    )


FOLDER = Path(__file__).parent.parent
FIXTURE = "fixtures.bn503_wrong_running_statistics.bad_keras_momentum"


def run(*args: str, cwd: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bnlint", "conforms", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


class TestCommand:
    def test_findings_and_their_place(self):
        done = run(f"{FIXTURE}:BatchNorm")
        assert done.returncode == 1
        assert "bad_keras_momentum.py:5:1: BN503 [error] wrong-running-statistics:" in done.stdout
        assert "class BatchNorm(nn.Module):" in done.stdout
        assert "Found 1 error in 1 layer." in done.stdout

    def test_nothing_found(self):
        done = run("torch.nn:BatchNorm2d")
        assert (done.returncode, done.stdout) == (0, "All clear: 1 layer checked.\n")

    def test_a_layer_of_the_current_folder_that_prints(self, tmp_path):
        (tmp_path / "mine.py").write_text("from torch import nn\nprint('loud')\nlayer = nn.BatchNorm1d(3)\n")
        done = run("mine:layer", "--output-format", "json", cwd=tmp_path)
        assert (done.returncode, json.loads(done.stdout)) == (0, [])
        assert "loud" in done.stderr

    def test_a_mild_finding_can_be_let_pass(self):
        name = "fixtures.bn507_accepted_single_value.bad_no_check_of_images:BatchNorm2d"
        assert run(name).returncode == 1
        assert run(name, "--fail-on", "error").returncode == 0

    @pytest.mark.parametrize("name", formats())
    def test_every_format_shows_it(self, name):
        report = bnlint.conforms(built(LAYER, MOMENTA))
        assert "BN503" in load(name).render(report.findings, report.view)
        assert "BN503" in str(report)
        (found,) = json.loads(report.to_json())
        assert found["measured"]["difference"] > 0.1

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["mine"], "expected PKG.MOD:NAME"),
            (["mine.py:Norm"], "name the module"),
            (["no_such_module:Norm"], "no_such_module: cannot be imported: ModuleNotFoundError"),
            (["torch.nn:BatchNorm4d"], "there is no BatchNorm4d, the nearest is BatchNorm3d"),
            (["torch:pi"], "a class or a layer, not float"),
            (["torch.nn:BatchNorm2d", "--output-format", "xml"], "xml is none of"),
            (["torch.nn:BatchNorm2d", "--fail-on", "always"], "always is none of"),
            (["torch.nn:Linear"], "Linear: could not be built and run on any input"),
            (["fixtures.bn501_wrong_output.good_unknown:BatchNorm"], "'teacher'"),
        ],
    )
    def test_what_goes_wrong_is_said(self, args, said):
        done = run(*args)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_module_that_ends_the_process(self, tmp_path):
        (tmp_path / "script.py").write_text("raise SystemExit(0)\n")
        done = run("script:Norm", cwd=tmp_path)
        assert done.returncode == 2
        assert "script: cannot be imported: SystemExit" in done.stderr
