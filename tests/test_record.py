"""What is recorded of a forward: which operations are before a BatchNorm, its mode and its statistics."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules import module as hooks
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from bnlint.trace.record import Application, Recorder


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def recorded(model: nn.Module, *batches, statistics: bool = True, call=None) -> list[Application]:
    """The applications of BatchNorm in forwards of a model."""
    recorder = Recorder(model, lambda _: None, statistics=statistics)
    for batch in batches:
        recorder.begin(batch)
        with recorder:
            output = (call or model)(batch)
        recorder.end(output)
    return recorder.seen.applications


def chain(one: Application) -> list[str]:
    """The kinds of what is before a BatchNorm, nearest first, up to where several tensors meet."""
    found, node = [], one.node
    while len(node.inputs) == 1:
        node = node.inputs[0]
        found.append(node.kind)
    return found if not node.inputs else [*found, [each.kind for each in node.inputs]]


class Between(nn.Module):
    """A convolution, some operations, and a BatchNorm."""

    def __init__(self, *steps) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.steps = steps
        self.parts = nn.ModuleList([one for one in steps if isinstance(one, nn.Module)])

    def forward(self, x):
        x = self.conv(x)
        for step in self.steps:
            x = step(x)
        return self.bn(x)


# any number of operations


def in_place(x):
    x += 1
    return x


OPERATIONS = {
    "relu": (F.relu, ["activation"]),
    "torch.relu": (torch.relu, ["activation"]),
    "x.relu()": (torch.Tensor.relu, ["activation"]),
    "relu_": (torch.relu_, ["activation"]),
    "x.relu_()": (torch.Tensor.relu_, ["activation"]),
    "F.relu inplace": (lambda x: F.relu(x, inplace=True), ["activation"]),
    "ReLU": (nn.ReLU(), ["activation"]),
    "ReLU inplace": (nn.ReLU(inplace=True), ["activation"]),
    "ReLU6": (nn.ReLU6(), ["activation"]),
    "LeakyReLU": (nn.LeakyReLU(0.1), ["activation"]),
    "PReLU": (nn.PReLU(), ["activation"]),
    "ELU": (nn.ELU(), ["activation"]),
    "SELU": (nn.SELU(), ["activation"]),
    "GELU": (nn.GELU(), ["activation"]),
    "SiLU": (nn.SiLU(), ["activation"]),
    "Mish": (nn.Mish(), ["activation"]),
    "Hardswish": (nn.Hardswish(), ["activation"]),
    "Softplus": (nn.Softplus(), ["activation"]),
    "tanh": (torch.tanh, ["activation"]),
    "sigmoid": (lambda x: x.sigmoid(), ["activation"]),
    "clamp": (lambda x: x.clamp(min=0), ["activation"]),
    "clip": (lambda x: torch.clip(x, 0.0, 6.0), ["activation"]),
    "clamp below": (lambda x: x.clamp(-1, 1), ["other"]),
    "swish": (lambda x: x * torch.sigmoid(x), ["activation"]),
    "swish the other way": (lambda x: x.sigmoid() * x, ["activation"]),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), ["activation"]),
    "dropout": (lambda x: F.dropout(x, 0.5), ["dropout"]),
    "Dropout2d": (nn.Dropout2d(0.1), ["dropout"]),
    "layer norm": (lambda x: F.layer_norm(x, x.shape[1:]), ["norm"]),
    "GroupNorm": (nn.GroupNorm(2, 4), ["norm"]),
    "Conv2d": (nn.Conv2d(4, 4, 1), ["conv"]),
    "Conv2d without bias": (nn.Conv2d(4, 4, 3, padding=1, bias=False), ["conv"]),
    "conv2d": (lambda x: F.conv2d(x, torch.ones(4, 4, 1, 1)), ["conv"]),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 4, 1), ["conv"]),
    "linear": (lambda x: F.linear(x, torch.eye(x.shape[-1])), ["linear"]),
    "max pool": (lambda x: F.max_pool2d(x, 1), ["pool"]),
    "AvgPool2d": (nn.AvgPool2d(3, 1, 1), ["pool"]),
    "mean": (lambda x: x.mean((2, 3), keepdim=True) , ["pool"]),
    "amax": (lambda x: torch.amax(x, dim=(-1,), keepdim=True), ["pool"]),
    "mean of channels": (lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1), ["other", "reshape"]),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2), ["resample"]),
    "flatten and back": (lambda x: x.flatten(1).view_as(x), ["reshape", "reshape"]),
    "permute": (lambda x: x.permute(0, 1, 3, 2), ["reshape"]),
    "transpose": (lambda x: x.transpose(2, 3), ["reshape"]),
    "contiguous": (lambda x: x.contiguous(), ["reshape"]),
    "clone": (torch.clone, ["reshape"]),
    "detach": (lambda x: x.detach(), ["reshape"]),
    "data": (lambda x: x.data, ["reshape"]),
    "float": (lambda x: x.double().float(), ["reshape", "reshape"]),
    "slice": (lambda x: x[:, :], ["reshape"]),
    "flip": (lambda x: x.flip(1), ["reshape"]),
    "pad": (lambda x: F.pad(x, (1, 1)), ["reshape"]),
    "squeeze": (lambda x: x.unsqueeze(0).squeeze(0), ["reshape", "reshape"]),
    "split": (lambda x: x.split(4, 1)[0], ["reshape"]),
    "chunk": (lambda x: x.chunk(1, dim=1)[0], ["reshape"]),
    "unbind": (lambda x: x.unsqueeze(0).unbind(0)[0], ["reshape", "reshape"]),
    "Identity": (nn.Identity(), []),
    "noise": (lambda x: x + torch.randn_like(x), ["add"]),
    "noise of its type": (lambda x: x * x.new_ones(4, 1, 1), ["multiply"]),
    "add a number": (lambda x: x + 1, ["add"]),
    "in place": (in_place, ["add"]),
    "from a number": (lambda x: 1 - x, ["add"]),
    "scale": (lambda x: x * 0.5, ["multiply"]),
    "scale in place": (lambda x: x.mul_(2), ["multiply"]),
    "divide": (lambda x: x / 255, ["multiply"]),
    "exp": (torch.exp, ["other"]),
    "softmax": (lambda x: F.softmax(x, 1), ["softmax"]),
    "Sequential": (nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh())), ["activation", "conv", "activation"]),
    "BatchNorm": (nn.BatchNorm2d(4), ["batchnorm"]),
}  # fmt: skip
"""Operations, and the kinds that they are recorded as."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_a_kind(name):
    step, kinds = OPERATIONS[name]
    applied = recorded(Between(step), torch.randn(4, 4, 4, 4))
    assert chain(applied[-1])[::-1] == ["input", "conv", *kinds]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=6))
def test_chains_of_operations(names):
    steps = [OPERATIONS[name][0] for name in names]
    expected = [kind for name in names for kind in OPERATIONS[name][1]]
    try:
        applied = recorded(Between(*steps), torch.randn(4, 4, 4, 4))
    except RuntimeError as problem:
        assume("inplace" not in str(problem))  # torch changes no view of several in place
        raise
    assert chain(applied[-1])[::-1] == ["input", "conv", *expected]
    assert len(applied) == 1 + names.count("BatchNorm")
