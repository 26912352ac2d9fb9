"""Healthy models in rarer shapes."""

from __future__ import annotations

import threading
from collections import UserDict
from typing import NamedTuple

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.utils import fusion, prune
from torch.optim.swa_utils import AveragedModel, update_bn
from torch.utils.data import DataLoader, IterableDataset

from livemodels.case import EVAL, MLP, Cases, Classifier, ConvBlock, Head, dataset, images, settled, vectors
from livemodels.sick_structure import sequences

CASES = Cases()


# over time, in parts, under conditions: one BatchNorm is applied more than once, and that is right


@CASES()
def encoder_of_each_frame():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(ConvBlock(1, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.rnn, self.out = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 2)

        def forward(self, video):
            frames = [self.encoder(video[:, t]) for t in range(video.size(1))]
            y, _ = self.rnn(torch.stack(frames, 1))
            return self.out(y[:, -1])

    return Net(), [(torch.randn(16, 5, 1, 8, 8), torch.randint(2, (16,))) for _ in range(2)]


@CASES(may="BN207")
def inputs_of_a_cell_are_normalised():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.cell, self.out = nn.BatchNorm1d(6), nn.GRUCell(6, 12), nn.Linear(12, 2)

        def forward(self, x):
            h = x.new_zeros(len(x), 12)
            for t in range(x.size(1)):
                h = self.cell(self.norm(x[:, t]), h)
            return self.out(h)

    return Net(), sequences(32)


@CASES()
def frames_folded_into_the_batch():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Classifier()

        def forward(self, video):
            return self.net(video.flatten(0, 1)).view(*video.shape[:2], -1).mean(1)

    return Net(), [(torch.randn(16, 3, 3, 8, 8), torch.randint(5, (16,))) for _ in range(2)]


@CASES()
def domains_with_norms_of_their_own():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.out = nn.Linear(10, 16, bias=False), nn.Linear(16, 5)
            self.norms = nn.ModuleList(nn.BatchNorm1d(16) for _ in range(3))

        def forward(self, x, domain):
            return self.out(self.norms[domain](self.linear(x)).relu())

    return Net(), [{"x": x, "domain": i % 2} for i, (x, _) in enumerate(vectors(32, batches=4))]


@CASES(may="BN301")
def ghost_batches():
    class Ghost(nn.Module):
        def __init__(self, features, size=16):
            super().__init__()
            self.norm, self.size = nn.BatchNorm1d(features), size

        def forward(self, x):
            return torch.cat([self.norm(part) for part in x.split(self.size)])

    return nn.Sequential(nn.Linear(10, 16, bias=False), Ghost(16), nn.ReLU(), nn.Linear(16, 5)), vectors(64)


@CASES()
def triplets():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = Classifier(classes=8)

        def forward(self, anchor, positive, negative):
            return [functional.normalize(self.embed(x)) for x in (anchor, positive, negative)]

    return Net(), [tuple(torch.randn(3, 16, 3, 8, 8)) for _ in range(2)]


# orders and outputs


@CASES()
def conditional_batchnorm():
    class Conditional(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm = nn.BatchNorm2d(width, affine=False)
            self.scale = nn.Embedding(5, 2 * width)

        def forward(self, x, label):
            gain, shift = self.scale(label)[..., None, None].chunk(2, 1)
            return self.norm(x) * (1 + gain) + shift

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs = nn.Linear(8, 32)
            self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), Conditional(8)
            self.out = nn.Conv2d(8, 3, 3, padding=1)

        def forward(self, noise, label):
            x = functional.interpolate(self.inputs(noise).view(-1, 8, 2, 2), scale_factor=2)
            return torch.tanh(self.out(self.norm(self.conv(x), label).relu()))

    return Generator(), [{"noise": torch.randn(16, 8), "label": torch.randint(5, (16,))} for _ in range(3)]


@CASES()
def embedding_beside_the_logits():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(ConvBlock(3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.embed = nn.Sequential(nn.Linear(8, 12, bias=False), nn.BatchNorm1d(12))
            self.classifier = nn.Linear(12, 5)

        def forward(self, x):
            embedding = self.embed(self.body(x))
            return {"embedding": embedding, "logits": self.classifier(embedding)}

    return Net(), images(32)


@CASES()
def autoencoder_that_returns_its_code():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode = nn.Sequential(nn.Linear(10, 4, bias=False), nn.BatchNorm1d(4))
            self.decode = nn.Sequential(
                nn.Linear(4, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10)
            )

        def forward(self, x):
            code = self.encode(x)
            return self.decode(code), code

    return Net(), [torch.randn(32, 10) for _ in range(3)]


@CASES()
def concatenated_activations():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.narrow, self.wide = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
            self.norm, self.head = nn.BatchNorm2d(8), Head(8)

        def forward(self, x):
            both = torch.cat([self.narrow(x).relu(), self.wide(x).relu()], 1)
            return self.head(self.norm(both))

    return Net(), images()


@CASES()
def gate_between_convolution_and_batchnorm():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.conv = ConvBlock(3, 8), nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
            self.norm, self.head = nn.BatchNorm2d(8), Head(8)

        def forward(self, x):
            x = self.stem(x)
            y = self.conv(x)
            return self.head(self.norm(y * self.gate(x)).relu())

    return Net(), images()


@CASES()
def stochastic_depth():
    class Net(Classifier):
        def forward(self, x):
            x = self.stem(x)
            y = self.block(x)
            if self.training:
                y = y * (torch.rand(len(y), 1, 1, 1) < 0.8) / 0.8
            return self.head(x + y)

    return Net(), images()


@CASES()
def loss_between_normalised_targets():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.norm = nn.Sequential(MLP(10, 1)), nn.BatchNorm1d(1, affine=False)

        def forward(self, x, y):
            return functional.mse_loss(self.net(x), self.norm(y[:, None]))

    return Net(), [(torch.randn(32, 10), 50 + 10 * torch.randn(32)) for _ in range(3)]


# modes


@CASES(arguments=EVAL, may="BN303")
def wrapper_in_train_around_a_model_in_eval():
    loader = images()
    return nn.DataParallel(settled(Classifier(), loader)), loader


@CASES(arguments=EVAL)
def averaged_model_with_its_own_statistics():
    loader = images()
    net = settled(Classifier(), loader)
    averaged = AveragedModel(net)
    averaged.update_parameters(net)
    update_bn(loader, averaged)
    return averaged.eval(), loader


@CASES(arguments=EVAL)
def fused():
    loader = images()
    net = settled(Classifier(), loader)
    net.stem[0] = fusion.fuse_conv_bn_eval(net.stem[0], net.stem[1])
    net.stem[1] = nn.Identity()
    return net, loader


@CASES()
def convolutions_frozen_and_norms_trained():
    net = Classifier()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.requires_grad_(requires_grad=False)
    return net, images()


@CASES(may="BN103")
def whole_network_in_eval_and_only_its_head_trains():
    net = settled(Classifier(), images())
    net.requires_grad_(requires_grad=False)
    net.head[2] = nn.Linear(8, 3)
    return net, images(classes=3)


# models and batches that are hard to handle


@CASES()
def pruned():
    net = Classifier()
    prune.l1_unstructured(net.stem[0], "weight", 0.3)
    return net, images()


@CASES()
def graph_module():
    return fx.symbolic_trace(Classifier()), images()


@CASES()
def cannot_be_copied():
    class Net(Classifier):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()
            self.stream = (number for number in range(3))

        def forward(self, x):
            with self.lock:
                self.last = super().forward(x)  # no leaf, which deepcopy refuses
            return self.last

    net = Net()
    net.last = None
    return net, images()


@CASES()
def forward_of_any_arguments():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Classifier()

        def forward(self, *args, **kwargs):
            return self.net(*args, **kwargs)

    return Net(), images()


@CASES()
def forward_by_keyword_only():
    class Net(Classifier):
        def forward(self, *, pixel_values, labels=None):
            logits = super().forward(pixel_values)
            return logits if labels is None else (functional.cross_entropy(logits, labels), logits)

    return Net(), [{"pixel_values": x, "labels": y} for x, y in images()]


class Sample(NamedTuple):
    image: torch.Tensor
    label: torch.Tensor


@CASES()
def batches_in_namedtuples():
    return Classifier(), [Sample(x, y) for x, y in images()]


@CASES()
def batches_in_a_mapping():
    class Net(Classifier):
        def forward(self, pixels, labels=None):
            return super().forward(pixels)

    return Net(), [UserDict(pixels=x, labels=y) for x, y in images()]


@CASES(arguments={"forward": lambda model, batch: model(batch)})
def batch_taken_whole():
    class Net(Classifier):
        def forward(self, batch):
            return super().forward(batch["image"]["left"])

    return Net(), [{"image": {"left": x}, "label": y} for x, y in images()]


@CASES(arguments={"max_batches": 2})
def endless_stream():
    class Stream(IterableDataset):
        def __iter__(self):
            while True:
                yield torch.randn(10), 1

    return MLP(), DataLoader(Stream(), batch_size=32)


@CASES()
def shuffled_by_a_generator_of_its_own():
    generator = torch.Generator().manual_seed(3)
    return MLP(), DataLoader(dataset(96, 10), 32, shuffle=True, generator=generator)


@CASES()
def half_precision_weights():
    class Cast(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Classifier().to(torch.bfloat16)
            for module in self.net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.float()

        def forward(self, x):
            return self.net(x.to(torch.bfloat16)).float()

    return Cast(), images()


@CASES(arguments=EVAL)
def no_batchnorm_at_all():
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 5)).eval()
    return net, vectors(2)
