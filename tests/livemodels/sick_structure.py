"""BatchNorm that does not fit, recurs, is shared, or that its module does not know."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from livemodels.case import EVAL, MLP, Cases, Classifier, ConvBlock, Head, images, settled, vectors

CASES = Cases()
RAISES = "train eval"


# BN204: the features or the dimensions do not fit


@CASES("BN204@1", broken=RAISES)
def other_number_of_channels():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Head(8))
    return net, images()


@CASES("BN204", broken=RAISES)
def two_dimensional_norm_of_vectors():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm2d(8),
        nn.Linear(8, 5),
    )
    return net, images()


@CASES("BN204@norm", broken=RAISES)
def one_dimensional_norm_of_images():
    class Net(Classifier):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(8)

        def forward(self, x):
            return self.head(self.norm(self.stem(x)))

    return Net(), images()


@CASES("BN204", broken=RAISES)
def sequence_with_features_last():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs = nn.Linear(6, 16, bias=False)
            self.norm = nn.BatchNorm1d(16)
            self.out = nn.Linear(16, 2)

        def forward(self, x):
            return self.out(self.norm(self.inputs(x)).mean(1))

    return Net(), [(torch.randn(16, 9, 6), torch.randint(2, (16,))) for _ in range(2)]


@CASES("BN204", arguments=EVAL, broken=RAISES)
def other_number_of_channels_when_it_is_evaluated():
    net = nn.Sequential(nn.Linear(10, 16, bias=False), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(16, 5))
    nn.init.constant_(net[1].running_var, 2.0)
    net[1].num_batches_tracked += 9
    return net.eval(), vectors()


# BN205: BatchNorm between a hidden state and the next one


class Cell(nn.Module):
    """A recurrent cell that normalises its state."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.inputs = nn.Linear(inputs, hidden)
        self.hidden = nn.Linear(hidden, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)

    def forward(self, x, h):
        return torch.tanh(self.norm(self.inputs(x) + self.hidden(h)))


def sequences(batch=16, steps=7, features=6):
    return [(torch.randn(batch, steps, features), torch.randint(2, (batch,))) for _ in range(3)]


@CASES("BN205", may="BN207 BN203")
def cell_with_a_normalised_state():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = Cell(6, 12)
            self.out = nn.Linear(12, 2)

        def forward(self, x):
            h = x.new_zeros(x.size(0), 12)
            for t in range(x.size(1)):
                h = self.cell(x[:, t], h)
            return self.out(h)

    return Net(), sequences()


@CASES("BN205", may="BN207")
def gru_over_time():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(6, 12)
            self.norm = nn.BatchNorm1d(12)
            self.out = nn.Linear(12, 2)

        def forward(self, x):
            h, states = torch.zeros(len(x), 12), []
            for step in x.unbind(1):
                h = self.norm(self.cell(step, h))
                states.append(h)
            return self.out(torch.stack(states, 1).mean(1))

    return Net(), sequences()


@CASES("BN205", may="BN207")
def gates_of_a_convolutional_lstm():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1 + 4, 16, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(16)
            self.out = nn.Conv2d(4, 1, 1)

        def step(self, x, h, c):
            i, f, o, g = self.norm(self.conv(torch.cat([x, h], 1))).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            return torch.sigmoid(o) * torch.tanh(c), c

        def forward(self, frames):
            h = c = frames.new_zeros(frames.size(0), 4, *frames.shape[-2:])
            for t in range(frames.size(1)):
                h, c = self.step(frames[:, t], h, c)
            return self.out(h)

    return Net(), [(torch.randn(16, 4, 1, 6, 6), torch.randn(16, 1, 6, 6)) for _ in range(2)]


# BN207: one BatchNorm in several places


@CASES("BN207")
def list_times_three():
    layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()] * 3
    return nn.Sequential(ConvBlock(3, 8), *layers, Head(8)), images()


@CASES("BN207@norm")
def one_norm_after_two_convolutions():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(8)
            self.head = Head(8)

        def forward(self, x):
            x = functional.relu(self.norm(self.conv1(x)))
            return self.head(functional.relu(self.norm(self.conv2(x))))

    return Net(), images()


@CASES("BN207")
def one_norm_handed_to_many_blocks():
    class Block(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.linear = nn.Linear(16, 16, bias=False)
            self.norm = norm

        def forward(self, x):
            return x + self.norm(self.linear(x)).relu()

    norm = nn.BatchNorm1d(16)
    return nn.Sequential(nn.Linear(10, 16), *(Block(norm) for _ in range(3)), nn.Linear(16, 5)), vectors()


@CASES("BN207")
def one_norm_for_two_towers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.image = nn.Linear(10, 16, bias=False)
            self.text = nn.Linear(4, 16, bias=False)
            self.norm = nn.BatchNorm1d(16)
            self.out = nn.Linear(32, 2)

        def forward(self, image, text):
            both = self.norm(self.image(image)).relu(), self.norm(self.text(text)).relu()
            return self.out(torch.cat(both, 1))

    return Net(), [{"image": torch.randn(16, 10), "text": torch.randn(16, 4) + 5} for _ in range(3)]


@CASES("BN207", arguments=EVAL)
def list_times_two_when_it_is_evaluated():
    layers = nn.ModuleList([nn.Linear(10, 10, bias=False), nn.BatchNorm1d(10), nn.ReLU()] * 2)
    loader = vectors()
    return settled(nn.Sequential(*layers, nn.Linear(10, 5)), loader), loader


# BN208: BatchNorm that its module does not know


@CASES("BN208")
def plain_list():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 8, 8, 3, bias=False) for i in range(2))
            self.norms = [nn.BatchNorm2d(8) for _ in range(2)]
            self.head = Head(8)

        def forward(self, x):
            for conv, norm in zip(self.convs, self.norms, strict=True):
                x = norm(conv(x)).relu()
            return self.head(x)

    return Net(), images()


@CASES("BN208", may="BN207")
def dict_by_the_name_of_a_domain():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(10, 16, bias=False)
            self.norms = {"photo": nn.BatchNorm1d(16), "sketch": nn.BatchNorm1d(16)}
            self.out = nn.Linear(16, 5)

        def forward(self, x, domain="photo"):
            return self.out(self.norms[domain](self.linear(x)).relu())

    return Net(), vectors()


@CASES("BN208")
def made_in_forward():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(10, 16, bias=False)
            self.out = nn.Linear(16, 5)

        def forward(self, x):
            x = self.linear(x)
            return self.out(nn.BatchNorm1d(x.shape[1])(x).relu())

    return Net(), vectors()


@CASES("BN208")
def closure():
    def normalise(features):
        norm = nn.BatchNorm1d(features)
        return lambda x: norm(x).relu()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(10, 16, bias=False)
            self.normalise = normalise(16)
            self.out = nn.Linear(16, 5)

        def forward(self, x):
            return self.out(self.normalise(self.linear(x)))

    return Net(), vectors()


@CASES("BN208", may="BN101 BN406 BN408", arguments=EVAL)
def blocks_in_a_list_when_they_are_evaluated():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = ConvBlock(3, 8)
            self.stages = [nn.Sequential(ConvBlock(8, 8), ConvBlock(8, 8))]
            self.head = Head(8)

        def forward(self, x):
            x = self.stem(x)
            for stage in self.stages:
                x = stage(x)
            return self.head(x)

    loader = images()
    return settled(Net(), loader), loader


@CASES("BN208")
def trained_teacher_in_a_list():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = MLP()
            self.branches = [
                nn.Sequential(*copy.deepcopy(list(self.student)[:2]))
            ]  # they train, so they are no teacher
            self.mix = nn.Linear(16, 5)

        def forward(self, x):
            return self.student(x) + self.mix(self.branches[0](x).relu())

    return Net(), vectors()
