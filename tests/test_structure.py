"""What models contain, as far as their construction can be followed."""

from __future__ import annotations

import pytest
from programs import Program

from bnlint.source.structure import Structure

HEAD = """
import functools
import torchvision
from torch import nn
from elsewhere import norm_of, Mixin, Base, ModelMixin


class Block(nn.Module):
    def __init__(self, norm=None, bn=False, act=None):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        if norm is not None:
            self.norm = norm(3)
        if bn:
            self.bn = nn.BatchNorm2d(3)
        if act is not None:
            self.act = act

    def forward(self, x):
        return self.act(self.conv(x))


class Extended(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


class Around(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class Sizes:
    def __init__(self):
        self.sizes = [norm_of(), 3]


class Sized(Block):
    def __init__(self):
        super().__init__()
        self.sizes = [norm_of(), 3]


class Mixed(Block, ModelMixin): pass


class Based(Block, Base): pass


def nested(depth):
    inner = Block(bn=True)
    for _ in range(depth):
        inner = nn.Sequential(Around(inner))
    return inner
"""
MODELS = {
    "plain": ("Block()", "no"),
    "flag off": ("Block(bn=False)", "no"),
    "flag on": ("Block(bn=True)", "yes"),
    "norm given": ("Block(nn.BatchNorm2d)", "yes"),
    "another norm given": ("Block(nn.InstanceNorm2d)", "no"),
    "norm given in parts": ("Block(functools.partial(nn.BatchNorm2d, eps=1e-3))", "yes"),
    "norm made by a function": ("Block(lambda n: nn.BatchNorm2d(n))", "yes"),
    "extended": ("Around(Extended(3))", "yes"),
    "deep inside": ("nested(6)", "yes"),
    "unknown sizes": ("Sized()", "no"),
    "unknown mixin": ("Mixed()", "no"),
    "unknown base": ("Based()", "unknown"),
    "a library's": ("torchvision.models.resnet18()", "yes"),
    "a library's without": ("torchvision.models.vgg11()", "no"),
    "a library's inside": ("Around(torchvision.models.resnet18())", "yes"),
    "a part of a library's without": ("Around(torchvision.models.vgg11().features)", "no"),
    "a part of a library's": ("torchvision.models.resnet18().layer1", "unknown"),
}


def structure(tmp_path, text, *, strict=False):
    program = Program(tmp_path, {"main.py": f"{HEAD}\nmodel = {text}\n"})
    return Structure(program.run, strict=strict), program.value("model")


@pytest.mark.parametrize(("text", "expected"), MODELS.values(), ids=MODELS)
def test_batchnorm(tmp_path, text, expected):
    found, model = structure(tmp_path, text)
    assert found.has_batchnorm(model) == expected


def test_a_new_head_counts(tmp_path):
    found, model = structure(
        tmp_path, "torchvision.models.vgg11()\nmodel.classifier = nn.Sequential(nn.BatchNorm1d(3))"
    )
    assert found.has_batchnorm(model) == "yes"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("torchvision.models.vgg11()", "yes"), ("torchvision.models.convnext_tiny()", "no"), ("Block()", "no")],
)
def test_dropout(tmp_path, text, expected):
    found, model = structure(tmp_path, text)
    assert found.has_dropout(model) == expected


@pytest.mark.parametrize(
    ("text", "lenient", "strict"),
    [
        ("Around(norm_of(3))", "no", "unknown"),
        ("Sized()", "no", "no"),  # nothing calls it
        ("Block(act=norm_of())", "no", "no"),  # it activates, by its name
    ],
)
def test_an_unknown_attribute_is_a_layer_for_the_strict(tmp_path, text, lenient, strict):
    for flag, expected in ((False, lenient), (True, strict)):
        found, model = structure(tmp_path, text, strict=flag)
        assert found.has_batchnorm(model) == expected


def test_a_class_that_builds_itself_twice_is_looked_into_a_few_times(tmp_path):
    program = Program(
        tmp_path,
        {
            "main.py": """
            from torch import nn


            class Hourglass(nn.Module):
                def __init__(self, n):
                    super().__init__()
                    self.up = nn.Conv2d(8, 8, 1)
                    if n > 1:
                        self.low = Hourglass(n - 1)
                        self.high = Hourglass(n - 1)
                    else:
                        self.low = self.high = nn.BatchNorm2d(8)


            net = Hourglass(size)
            """
        },
    )
    assert Structure(program.run).has_dropout(program.value("net")) == "no"
