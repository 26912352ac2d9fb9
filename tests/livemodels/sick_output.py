"""Models whose answer comes out of BatchNorm."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from livemodels.case import EVAL, Cases, ConvBlock, Head, images, settled, vectors

CASES = Cases()


@CASES("BN201", may="BN203")
def logits():
    return nn.Sequential(ConvBlock(3, 8), Head(8), nn.BatchNorm1d(5)), images()


@CASES("BN201", may="BN203")
def probabilities():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 16), nn.ReLU())
            self.fc = nn.Linear(16, 5)
            self.bn = nn.BatchNorm1d(5)

        def forward(self, x):
            return functional.log_softmax(self.bn(self.fc(self.body(x))), dim=1)

    return Net(), vectors(32)


@CASES("BN201")
def masks_that_are_interpolated():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = ConvBlock(3, 8, stride=2)
            self.classify = ConvBlock(8, 4, 1)  # the block used again as the head

        def forward(self, x):
            y = self.classify(self.down(x))
            return functional.interpolate(y, size=x.shape[2:], mode="bilinear")

    return Net(), [(torch.randn(16, 3, 12, 12), torch.randint(4, (16, 12, 12))) for _ in range(2)]


@CASES("BN201", may="BN203")
def binary_probability_that_is_squeezed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 16), nn.ReLU())
            self.fc = nn.Linear(16, 1)
            self.bn = nn.BatchNorm1d(1)

        def forward(self, x):
            return torch.sigmoid(self.bn(self.fc(self.body(x)))).squeeze(-1)

    return Net(), [(torch.randn(32, 10), torch.randint(2, (32,)).float()) for _ in range(3)]


@CASES("BN201")
def logits_beside_features():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(ConvBlock(3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.classifier = nn.Sequential(nn.Linear(8, 5, bias=False), nn.BatchNorm1d(5))

        def forward(self, x):
            features = self.body(x)
            return self.classifier(features), features

    return Net(), images()


@CASES("BN201@classifier.1", may="BN203")
def masks_in_a_dict():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = ConvBlock(3, 8)
            self.classifier = nn.Sequential(nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4))
            self.auxiliary = nn.Conv2d(8, 4, 1)

        def forward(self, x):
            y = self.backbone(x)
            return {"out": self.classifier(y), "aux": self.auxiliary(y)}

    return Net(), [(torch.randn(16, 3, 8, 8), torch.randint(4, (16, 8, 8))) for _ in range(2)]


@CASES("BN201")
def images_of_a_generator():
    net = nn.Sequential(
        nn.Unflatten(1, (8, 1, 1)),
        nn.ConvTranspose2d(8, 8, 4, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False),
        nn.BatchNorm2d(3),
        nn.Tanh(),
    )
    return net, [(torch.randn(16, 8), torch.rand(16, 3, 8, 8) * 2 - 1) for _ in range(3)]


@CASES("BN201", may="BN203")
def regression():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(10, 16)
            self.out = nn.Linear(16, 1)
            self.norm = nn.BatchNorm1d(1)

        def forward(self, x):
            return self.norm(self.out(self.hidden(x).relu()))

    return Net(), [(torch.randn(32, 10), 50 + 10 * torch.randn(32, 1)) for _ in range(3)]


@CASES("BN201", may="BN203 BN303")
def perceptron_from_a_list_of_sizes_in_data_parallel():
    layers, sizes = [], (10, 16, 16, 5)
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.DataParallel(nn.Sequential(*layers[:-1])), vectors(32)


@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor


@CASES("BN201")
def logits_in_a_dataclass():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 16), nn.ReLU())
            self.fc = nn.Linear(16, 5, bias=False)
            self.bn = nn.BatchNorm1d(5)

        def forward(self, x):
            hidden = self.body(x)
            return Output(self.bn(self.fc(hidden)), hidden)

    return Net(), vectors(32)


class Detection(NamedTuple):
    scores: torch.Tensor
    boxes: torch.Tensor


@CASES("BN201")
def scores_in_a_namedtuple():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = ConvBlock(3, 8, stride=2)
            self.scores = nn.Conv2d(8, 5, 1, bias=False)
            self.norm = nn.BatchNorm2d(5)
            self.boxes = nn.Conv2d(8, 4, 1)

        def forward(self, x):
            x = self.body(x)
            return Detection(self.norm(self.scores(x)).flatten(2).permute(0, 2, 1), self.boxes(x))

    return Net(), images()


@CASES("BN201", may="BN203")
def logits_compiled():
    return torch.compile(
        nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 5), nn.BatchNorm1d(5))
    ), vectors(32)


@CASES("BN201", may="BN203", arguments=EVAL)
def logits_when_they_are_evaluated():
    loader = images()
    return settled(nn.Sequential(ConvBlock(3, 8), Head(8), nn.BatchNorm1d(5)), loader), loader


@CASES("BN201", may="BN203")
def logits_in_a_list_of_tuples():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList([ConvBlock(3, 8, stride=2), ConvBlock(8, 8, stride=2)])
            self.exits = nn.ModuleList([nn.Sequential(Head(8), nn.BatchNorm1d(5)) for _ in range(2)])

        def forward(self, x):
            found = []
            for number, (stage, leave) in enumerate(zip(self.stages, self.exits, strict=True)):
                x = stage(x)
                found.append((number, leave(x)))
            return found

    return Net(), images()


@CASES("BN201@norm")
def logits_behind_a_scripted_body():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.jit.script(
                nn.Sequential(ConvBlock(3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            )
            self.out = nn.Linear(8, 5, bias=False)
            self.norm = nn.BatchNorm1d(5)

        def forward(self, x):
            return self.norm(self.out(self.body(x)))

    return Net(), images(32)
