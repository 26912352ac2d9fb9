"""Healthy architectures: orders, outputs and sharing that only look wrong."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from livemodels.case import (
    EVAL,
    MLP,
    Cases,
    Classifier,
    ConvBlock,
    Head,
    data_loader,
    images,
    settled,
    vectors,
)

CASES = Cases()


def conv(inputs, outputs, kernel=3, **rest):
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **rest)


class Basic(nn.Module):
    """The block of a ResNet: the sum of two BatchNorm outputs, then ReLU."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.shortcut(x)
        return self.relu(y)


@CASES()
def resnet():
    return nn.Sequential(ConvBlock(3, 8), Basic(8, 8), Basic(8, 16, 2), Head(16)), images()


@CASES(arguments=EVAL)
def resnet_evaluated():
    loader = images()
    return settled(nn.Sequential(ConvBlock(3, 8), Basic(8, 8), Basic(8, 16, 2), Head(16)), loader), loader


@CASES()
def resnet_whose_residual_sum_is_the_answer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = conv(3, 8), conv(8, 3)
            self.bn1, self.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(3)

        def forward(self, noisy):
            return noisy - self.bn2(self.up(functional.relu(self.bn1(self.down(noisy)))))

    return Net(), [(torch.randn(16, 3, 8, 8), torch.randn(16, 3, 8, 8)) for _ in range(3)]


@CASES()
def preactivation_resnet():
    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(width), conv(width, width)
            self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width)

        def forward(self, x):
            y = self.conv1(functional.relu(self.bn1(x)))
            return x + self.conv2(functional.relu(self.bn2(y)))

    net = nn.Sequential(conv(3, 8), Block(8), Block(8), nn.BatchNorm2d(8), nn.ReLU(), Head(8))
    return net, images()


@CASES()
def densenet():
    class Layer(nn.Module):
        def __init__(self, inputs, growth):
            super().__init__()
            self.norm1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, 2 * growth, 1)
            self.norm2, self.conv2 = nn.BatchNorm2d(2 * growth), conv(2 * growth, growth)

        def forward(self, x):
            y = self.conv1(torch.relu(self.norm1(x)))
            return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], 1)

    net = nn.Sequential(
        ConvBlock(3, 8),
        nn.MaxPool2d(2),
        Layer(8, 4),
        Layer(12, 4),
        nn.Sequential(nn.BatchNorm2d(16), nn.ReLU(inplace=True), conv(16, 8, 1), nn.AvgPool2d(2)),
        Layer(8, 4),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        Head(12),
    )
    return net, images()


@CASES()
def linear_bottlenecks():
    class Inverted(nn.Module):
        def __init__(self, inputs, outputs, expand=2):
            super().__init__()
            hidden = inputs * expand
            self.block = nn.Sequential(
                conv(inputs, hidden, 1),
                nn.BatchNorm2d(hidden),
                nn.ReLU6(inplace=True),
                conv(hidden, hidden, groups=hidden),
                nn.BatchNorm2d(hidden),
                nn.ReLU6(inplace=True),
                conv(hidden, outputs, 1),
                nn.BatchNorm2d(outputs),
            )
            self.skip = inputs == outputs

        def forward(self, x):
            return x + self.block(x) if self.skip else self.block(x)

    return nn.Sequential(
        ConvBlock(3, 8),
        Inverted(8, 8),
        Inverted(8, 12),
        Inverted(12, 12),
        ConvBlock(12, 16, 1),
        nn.Dropout(0.2),
        Head(16),
    ), images()


class RepBlock(nn.Module):
    """RepVGG's: conv 3x3, conv 1x1 and identity, each with BatchNorm, are summed."""

    def __init__(self, width):
        super().__init__()
        self.dense = nn.Sequential(conv(width, width), nn.BatchNorm2d(width))
        self.point = nn.Sequential(conv(width, width, 1), nn.BatchNorm2d(width))
        self.identity = nn.BatchNorm2d(width)

    def forward(self, x):
        return functional.relu(self.dense(x) + self.point(x) + self.identity(x))


@CASES()
def repvgg():
    return nn.Sequential(ConvBlock(3, 8), RepBlock(8), RepBlock(8), Head(8)), images()


@CASES()
def squeeze_and_excitation():
    class Excited(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv, self.bn = conv(width, width), nn.BatchNorm2d(width)
            self.gate = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(width, 2, 1),
                nn.ReLU(),
                nn.Conv2d(2, width, 1),
                nn.Sigmoid(),
            )

        def forward(self, x):
            y = self.bn(self.conv(x))
            return functional.silu(x + y * self.gate(y))

    return nn.Sequential(ConvBlock(3, 8), Excited(8), Excited(8), Head(8)), images()


@CASES()
def attention_gate_is_the_last_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = ConvBlock(3, 8)
            self.attend = nn.Sequential(conv(8, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())
            self.classify = nn.Conv2d(8, 4, 1)

        def forward(self, x):
            x = self.body(x)
            return self.classify(x) * self.attend(x)

    return Net(), [(torch.randn(16, 3, 8, 8), torch.randint(4, (16, 8, 8))) for _ in range(2)]


class UNet(nn.Module):
    """A small U-Net with a convolution at its end."""

    def __init__(self, classes=4):
        super().__init__()
        self.inc = nn.Sequential(ConvBlock(3, 8), ConvBlock(8, 8))
        self.down = nn.Sequential(nn.MaxPool2d(2), ConvBlock(8, 16))
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.merge = ConvBlock(16, 8)
        self.out = nn.Conv2d(8, classes, 1)

    def forward(self, x):
        skip = self.inc(x)
        return self.out(self.merge(torch.cat([skip, self.up(self.down(skip))], dim=1)))


def masks(batches=2):
    return [(torch.randn(16, 3, 8, 8), torch.randint(4, (16, 8, 8))) for _ in range(batches)]


@CASES()
def unet():
    return UNet(), masks()


@CASES(arguments=EVAL)
def unet_evaluated_after_a_few_steps():
    net, loader = UNet(), masks()
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    for _ in range(25):
        for inputs, target in loader:
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs), target).backward()
            optimizer.step()
    return net.eval(), loader


@CASES()
def gan_generator():
    net = nn.Sequential(
        nn.Unflatten(1, (8, 1, 1)),
        nn.ConvTranspose2d(8, 16, 4, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 3, 4, 2, 1),
        nn.Tanh(),
    )
    return net, [torch.randn(16, 8) for _ in range(3)]


# outputs that are no answers


@CASES()
def feature_pyramid_that_ends_in_batchnorm():
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList(ConvBlock(3 if i == 0 else 8, 8, stride=2) for i in range(3))

        def forward(self, x):
            maps = []
            for stage in self.stages:
                x = stage(x)
                maps.append(x)
            return maps

    return Backbone(), [torch.randn(16, 3, 24, 24) for _ in range(2)]


@CASES()
def backbone_that_returns_a_dict_of_maps():
    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer1, self.layer2 = ConvBlock(3, 8), Basic(8, 16, 2)

        def forward(self, x):
            low = self.layer1(x)
            return {"layer1": low, "layer2": self.layer2(low)}

    return Backbone(), [torch.randn(16, 3, 12, 12) for _ in range(2)]


@CASES()
def backbone_with_labels_beside_its_images():
    return nn.Sequential(ConvBlock(3, 8), Basic(8, 16, 2)), images()


@CASES()
def bnneck():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(ConvBlock(3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.bottleneck = nn.BatchNorm1d(8)
            self.bottleneck.bias.requires_grad_(requires_grad=False)
            self.classifier = nn.Linear(8, 5, bias=False)

        def forward(self, x):
            feature = self.body(x)
            return self.classifier(self.bottleneck(feature)), feature

    return Net(), images(32)


@CASES(arguments=EVAL)
def face_embedding_that_ends_in_batchnorm():
    net = nn.Sequential(
        ConvBlock(3, 8),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 24, bias=False),
        nn.BatchNorm1d(24),
    )
    loader = [torch.randn(16, 3, 12, 12) for _ in range(3)]
    return settled(net, loader), loader


def pairs(batch=32, batches=2):
    return [(torch.randn(batch, 10), torch.randn(batch, 10)) for _ in range(batches)]


class SelfSupervised(nn.Module):
    """An encoder and a projection head for two views."""

    def __init__(self, projector):
        super().__init__()
        self.encoder = MLP(10, 16)
        self.projector = projector

    def forward(self, first, second):
        return self.projector(self.encoder(first)), self.projector(self.encoder(second))


@CASES()
def simclr_head():
    head = nn.Sequential(
        nn.Linear(16, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 12, bias=False),
        nn.BatchNorm1d(12),
    )
    return SelfSupervised(head), pairs()


@CASES(may="BN103")
def byol():
    class Byol(nn.Module):
        def __init__(self):
            super().__init__()
            self.online, self.target = MLP(10, 16), MLP(10, 16)
            self.predictor = MLP(16, 16)
            self.target.load_state_dict(self.online.state_dict())
            self.target.requires_grad_(requires_grad=False)

        def forward(self, first, second):
            with torch.no_grad():
                goal = self.target(second)
            return 2 - 2 * functional.cosine_similarity(self.predictor(self.online(first)), goal).mean()

    return Byol(), pairs()


@CASES()
def simsiam():
    class SimSiam(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(MLP(10, 16), nn.BatchNorm1d(16, affine=False))
            self.encoder[0][3] = nn.Linear(16, 16, bias=False)
            self.predictor = MLP(16, 16)

        def forward(self, x1, x2):
            z1, z2 = self.encoder(x1), self.encoder(x2)
            return self.predictor(z1), self.predictor(z2), z1.detach(), z2.detach()

    return SimSiam(), pairs()


@CASES()
def barlow_twins():
    class Barlow(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = MLP(10, 16)
            self.projector = nn.Sequential(
                nn.Linear(16, 24, bias=False), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 24, bias=False)
            )
            self.bn = nn.BatchNorm1d(24, affine=False)

        def forward(self, first, second):
            z1, z2 = self.projector(self.encoder(first)), self.projector(self.encoder(second))
            c = self.bn(z1).T @ self.bn(z2) / len(z1)
            return (c.diagonal() - 1).pow(2).sum() + 0.005 * (c - c.diag().diag()).pow(2).sum()

    return Barlow(), pairs()


# orders that are right


@CASES()
def batchnorm_on_the_inputs():
    return nn.Sequential(nn.BatchNorm2d(3), Classifier()), images()


@CASES()
def whitening_of_the_inputs():
    return nn.Sequential(
        nn.BatchNorm1d(10, affine=False), nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 5)
    ), vectors(32)


@CASES()
def relu_pool_linear_batchnorm():
    net = nn.Sequential(
        ConvBlock(3, 8),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 5),
    )
    return net, images(32)


@CASES()
def dropout_before_a_linear():
    net = nn.Sequential(
        MLP(10, 16),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(16, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 5),
    )
    return net, vectors(32)


@CASES()
def dropout_after_batchnorm():
    net = nn.Sequential(
        nn.Linear(10, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 5)
    )
    return net, vectors(32)


@CASES()
def dropout_of_zero_before_batchnorm():
    net = nn.Sequential(
        nn.Linear(10, 16, bias=False), nn.Dropout(0.0), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5)
    )
    return net, vectors(32)


@CASES()
def batchnorm_of_an_embedding():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(50, 8)
            self.norm = nn.BatchNorm1d(8)
            self.out = nn.Linear(8, 2)

        def forward(self, tokens):
            return self.out(self.norm(self.embed(tokens).transpose(1, 2)).mean(-1))

    return Net(), [(torch.randint(50, (16, 9)), torch.randint(2, (16,))) for _ in range(3)]


@CASES()
def temporal_convolutions():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(
                nn.Sequential(
                    nn.Conv1d(6 if i == 0 else 8, 8, 3, padding=2**i, dilation=2**i, bias=False),
                    nn.BatchNorm1d(8),
                    nn.ReLU(),
                )
                for i in range(3)
            )
            self.out = nn.Conv1d(8, 4, 1)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return self.out(x)

    return Net(), [(torch.randn(16, 6, 20), torch.randint(4, (16, 20))) for _ in range(3)]


@CASES()
def lstm_over_normalised_inputs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(6)
            self.lstm = nn.LSTM(6, 12, batch_first=True)
            self.after = nn.BatchNorm1d(12)
            self.out = nn.Linear(12, 2)

        def forward(self, x):
            y, _ = self.lstm(self.norm(x.transpose(1, 2)).transpose(1, 2))
            return self.out(self.after(y[:, -1]))

    return Net(), [(torch.randn(32, 7, 6), torch.randint(2, (32,))) for _ in range(2)]


@CASES()
def cell_with_a_norm_for_each_step():
    class Net(nn.Module):
        def __init__(self, steps=5):
            super().__init__()
            self.cell = nn.GRUCell(6, 12)
            self.norms = nn.ModuleList(nn.BatchNorm1d(12) for _ in range(steps))
            self.out = nn.Linear(12, 2)

        def forward(self, x):
            h = x.new_zeros(x.size(0), 12)
            for t, norm in enumerate(self.norms):
                h = norm(self.cell(x[:, t], h))
            return self.out(h)

    return Net(), [(torch.randn(32, 5, 6), torch.randint(2, (32,))) for _ in range(2)]


@CASES()
def other_normalisations_only():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.InstanceNorm2d(8, track_running_stats=True),
        Head(8),
        nn.LayerNorm(5),
    )
    return net, images(4)


# one object in several places, and it is right


@CASES()
def siamese_on_the_same_kind_of_data():
    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = Classifier(classes=16)

        def forward(self, left, right):
            return functional.pairwise_distance(self.embed(left), self.embed(right))

    return Siamese(), [
        {"left": torch.randn(16, 3, 8, 8), "right": torch.randn(16, 3, 8, 8)} for _ in range(3)
    ]


@CASES()
def head_shared_over_levels_with_norms_of_their_own():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList(ConvBlock(3 if i == 0 else 8, 8, stride=2) for i in range(3))
            self.conv = conv(8, 8)
            self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
            self.predict = nn.Conv2d(8, 5, 1)

        def forward(self, x):
            found = []
            for stage, norm in zip(self.stages, self.norms, strict=True):
                x = stage(x)
                found.append(self.predict(functional.relu(norm(self.conv(x)))))
            return found

    return Net(), images(size=24)


@CASES()
def refinement_with_shared_weights():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = ConvBlock(3, 8)
            self.conv, self.norm = conv(8, 8), nn.BatchNorm2d(8)
            self.head = Head(8)

        def forward(self, x):
            x = self.stem(x)
            for _ in range(3):
                x = functional.relu(x + self.norm(self.conv(x)))
            return self.head(x)

    return Net(), images()


@CASES(may="BN209")
def transformer_with_tied_weights():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(40, 16)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.norm = nn.BatchNorm1d(16)
            self.out = nn.Linear(16, 40, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, tokens):
            x = self.layer(self.layer(self.embed(tokens)))
            return self.out(self.norm(x.transpose(1, 2)).transpose(1, 2))

    return Net(), [(torch.randint(40, (16, 6)), torch.randint(40, (16, 6))) for _ in range(2)]


@CASES()
def norms_without_memory_are_shared():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(10, 16, bias=False), nn.Linear(16, 16, bias=False)
            self.norm = nn.BatchNorm1d(16, affine=False, track_running_stats=False)
            self.out = nn.Linear(16, 5)

        def forward(self, x):
            return self.out(self.norm(self.second(self.norm(self.first(x)).relu())).relu())

    return Net(), vectors(32)


@CASES(arguments=EVAL)
def convnet_on_single_images():
    loader = data_loader(8, 3, 12, 12, batch=1)
    return settled(Classifier(), images(32)), loader
