"""The same bugs in rarer shapes."""

# ruff: noqa: FBT002 (what torch calls takes flags by position)

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SubsetRandomSampler

from livemodels.case import (
    EVAL,
    MLP,
    Cases,
    Classifier,
    ConvBlock,
    Head,
    dataset,
    images,
    settled,
    vectors,
)
from livemodels.sick_order import Ordered
from livemodels.sick_structure import sequences

CASES = Cases()


# the order


@CASES("BN202@bn")
def sigmoid_of_a_scaled_copy():
    class Net(Ordered):
        def feed(self, x):
            return x * torch.sigmoid(1.702 * x)

    return Net(), images()


@CASES("BN202@bn")
def mish_by_hand():
    class Net(Ordered):
        def feed(self, x):
            return x * torch.tanh(functional.softplus(x))

    return Net(), images()


@CASES("BN202@bn")
def maximum_with_zero():
    class Net(Ordered):
        def feed(self, x):
            return torch.maximum(x, torch.zeros_like(x))

    return Net(), images()


@CASES("BN202@bn")
def gated_linear_unit():
    class Net(Ordered):
        def __init__(self):
            super().__init__(nn.GLU(dim=1))
            self.conv = nn.Conv2d(3, 16, 3)

    return Net(), images()


@CASES("BN202")
def features_last_until_the_norm():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inputs, self.out = nn.Linear(6, 12), nn.Linear(12, 2)
            self.norm = nn.BatchNorm1d(12)

        def forward(self, x):
            y = functional.relu(self.inputs(x))
            y = self.norm(y.permute(0, 2, 1)).permute(0, 2, 1)
            return self.out(y.mean(dim=1))

    return Net(), sequences()


@CASES("BN202")
def activation_before_batchnorm_in_a_graph_module():
    return fx.symbolic_trace(Ordered(nn.Tanh())), images()


@CASES("BN202")
def unusual_order_in_one_branch_only():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.left = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(8))
            self.right = ConvBlock(3, 8)
            self.head = Head(16)

        def forward(self, x):
            return self.head(torch.cat([self.left(x), self.right(x)], 1))

    return Net(), images()


@CASES("BN203")
def bias_of_a_functional_convolution():
    class Net(Ordered):
        def forward(self, x):
            return self.head(
                self.bn(functional.conv2d(x, self.conv.weight, self.conv.bias, padding=1)).relu()
            )

    return Net(), images()


@CASES("BN206")
def alpha_dropout():
    net = nn.Sequential(
        nn.Linear(10, 16, bias=False), nn.AlphaDropout(0.3), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5)
    )
    return net, vectors(32)


@CASES("BN206")
def channel_dropout_and_pooling():
    class Net(Ordered):
        def feed(self, x):
            return functional.avg_pool2d(functional.dropout2d(x, 0.2, self.training), 2)

    return Net(bias=False), images()


@CASES("BN209")
def batchnorm_after_instance_norm():
    return Ordered(nn.InstanceNorm2d(8), bias=False), images()


@CASES("BN209", may="BN206")
def batchnorm_after_dropout_after_batchnorm():
    net = nn.Sequential(
        nn.Linear(10, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.Dropout(0.1),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 5),
    )
    return net, vectors(32)


# the output


@CASES("BN201")
def loss_and_logits():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 16), nn.ReLU())
            self.classifier = nn.Sequential(nn.Linear(16, 5, bias=False), nn.BatchNorm1d(5))

        def forward(self, x, labels):
            logits = self.classifier(self.body(x))
            return functional.cross_entropy(logits, labels), logits

    return Net(), vectors(32)


class ModelOutput(OrderedDict):
    """A dict whose entries are attributes too."""

    def __init__(self, **entries):
        super().__init__(entries)
        vars(self).update(entries)


@CASES("BN201")
def logits_in_a_model_output():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 16), nn.ReLU())
            self.classifier = nn.Sequential(nn.Linear(16, 5, bias=False), nn.BatchNorm1d(5))

        def forward(self, inputs, labels=None):
            logits = self.classifier(self.body(inputs))
            loss = None if labels is None else functional.cross_entropy(logits, labels)
            return ModelOutput(loss=loss, logits=logits)

    return Net(), [{"inputs": x, "labels": y} for x, y in vectors(32)]


@CASES("BN201")
def super_resolution_by_pixel_shuffle():
    net = nn.Sequential(
        ConvBlock(3, 8),
        nn.Conv2d(8, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.PixelShuffle(2),
        nn.Sigmoid(),
    )
    return net, [(torch.rand(16, 3, 6, 6), torch.rand(16, 3, 12, 12)) for _ in range(3)]


# structure


@CASES("BN204", broken="train eval")
def channels_after_a_concatenation():
    class Net(Classifier):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(8)

        def forward(self, x):
            y = self.stem(x)
            return self.head(self.norm(torch.cat([y, x], 1)))

    return nn.DataParallel(Net()), images()


@CASES("BN205", may="BN203 BN207")
def convolutional_gru_over_frames():
    class Cell(nn.Module):
        def __init__(self, inputs, hidden):
            super().__init__()
            self.gates = nn.Conv2d(inputs + hidden, 2 * hidden, 3, padding=1)
            self.candidate = nn.Sequential(
                nn.Conv2d(inputs + hidden, hidden, 3, padding=1), nn.BatchNorm2d(hidden), nn.Tanh()
            )

        def forward(self, x, h):
            z, r = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
            return (1 - z) * h + z * self.candidate(torch.cat([x, r * h], 1))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = Cell(1, 4), nn.Conv2d(4, 1, 1)

        def forward(self, frames):
            h = frames.new_zeros(len(frames), 4, *frames.shape[3:])
            for frame in frames.transpose(0, 1):
                h = self.cell(frame, h)
            return self.out(h)

    return Net(), [(torch.randn(16, 5, 1, 6, 6), torch.randn(16, 1, 6, 6)) for _ in range(2)]


@CASES("BN207")
def one_block_three_times():
    block = ConvBlock(8, 8)
    return nn.Sequential(ConvBlock(3, 8), block, block, block, Head(8)), images()


@CASES("BN207")
def two_names_for_one_norm():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.bn1 = self.bn2 = nn.BatchNorm2d(8)
            self.head = Head(8)

        def forward(self, x):
            x = self.bn1(self.conv1(x)).relu()
            return self.head(self.bn2(self.conv2(x)).relu())

    return Net(), images()


@CASES("BN207")
def blocks_of_a_multiplied_list():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = ConvBlock(3, 8)
            self.blocks = nn.ModuleList([ConvBlock(8, 8)] * 3)
            self.head = Head(8)

        def forward(self, x):
            x = self.stem(x)
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    return Net(), images()


class Holder:
    """Something that is no module."""

    def __init__(self, features):
        self.norm = nn.BatchNorm1d(features)

    def __call__(self, x):
        return self.norm(x).relu()


class AroundHolder(nn.Module):
    def __init__(self, holder):
        super().__init__()
        self.linear, self.out = nn.Linear(10, 16, bias=False), nn.Linear(16, 5)
        self.holder = holder

    def forward(self, x):
        return self.out(self.holder(self.linear(x)))


@CASES("BN208")
def held_by_an_object():
    return AroundHolder(Holder(16)), vectors()


@CASES("BN208")
def held_by_a_partial():
    def normalise(norm, x):
        return norm(x).relu()

    return AroundHolder(functools.partial(normalise, nn.BatchNorm1d(16))), vectors()


@CASES("BN208")
def held_by_a_dict_of_lists():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.out = nn.Linear(10, 16, bias=False), nn.Linear(16, 5)
            self.parts = defaultdict(list)
            self.parts["norms"].append((nn.BatchNorm1d(16), "first"))

        def forward(self, x):
            return self.out(self.parts["norms"][0][0](self.linear(x)).relu())

    return Net(), vectors()


@CASES("BN208", may="BN101 BN406 BN408", arguments=EVAL)
def held_by_a_dataclass_when_it_is_evaluated():
    @dataclass
    class Parts:
        norm: nn.Module

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.out = nn.Linear(10, 16, bias=False), nn.Linear(16, 5)
            self.parts = Parts(nn.BatchNorm1d(16))

        def forward(self, x):
            return self.out(self.parts.norm(self.linear(x)).relu())

    return Net().eval(), vectors(32)


# modes


@CASES("BN101@extra.1", arguments=EVAL, may="BN406 BN408")
def block_that_was_added_after_eval():
    class Net(Classifier):
        def forward(self, x):
            return self.head(self.extra(self.block(self.stem(x))))

    loader = images()
    net = Net()
    net.extra = nn.Identity()
    settled(net, loader)
    net.extra = ConvBlock(8, 8)
    nn.init.constant_(net.extra[1].running_mean, 0.1)
    return net, loader


@CASES("BN101", arguments=EVAL)
def scripted_part_in_train():
    loader = images()
    net = settled(Classifier(), loader)
    net.block = torch.jit.script(net.block.train())
    return net, loader


@CASES("BN101", arguments=EVAL)
def graph_module_in_train():
    loader = vectors(32)
    return fx.symbolic_trace(settled(MLP(), loader)).train(), loader


@CASES("BN103")
def adapters_on_a_frozen_network():
    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = settled(Classifier(), images()).requires_grad_(requires_grad=False)
            self.down, self.up = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)

        def forward(self, x):
            y = self.net.stem(x)
            return self.net.head(self.net.block(y + self.up(self.down(y))))

    return Adapted().train(), images()


class BatchOnly(nn.Module):
    """Normalises by the batch, always."""

    def __init__(self, features, eps=1e-5):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.eps = eps

    def forward(self, x):
        mean = x.mean(dim=0, keepdim=True)
        var = x.var(dim=0, keepdim=True, unbiased=False)
        return self.gamma * (x - mean) / torch.sqrt(var + self.eps) + self.beta


@CASES("BN106", may="BN101 BN403", arguments=EVAL)
def statistics_of_the_batch_by_hand():
    return nn.Sequential(
        nn.Linear(10, 16, bias=False), BatchOnly(16), nn.ReLU(), nn.Linear(16, 5)
    ).eval(), vectors(32)


@CASES("BN107", may="BN303")
def part_that_switches_its_children_and_returns_nothing():
    class Part(ConvBlock):
        def train(self, mode=True):
            self.training = mode
            for child in self.children():
                child.train(mode)

    return nn.DataParallel(nn.Sequential(Part(3, 8), Head(8))), images()


@CASES("BN107", may="BN101")
def eval_that_does_nothing():
    class Net(Classifier):
        def eval(self):
            return self

    return Net(), images()


# batches


class Numbers(Dataset):
    """A data set of one's own."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= self.length:
            raise IndexError
        return torch.full((10,), float(index)) / self.length + torch.randn(10), index % 5


@CASES("BN302")
def own_data_set_of_one_too_many():
    return MLP(), DataLoader(Numbers(32 * 12 + 1), 32, shuffle=True)


@CASES("BN302")
def sampler_of_one_too_many():
    return MLP(), DataLoader(Numbers(500), 32, sampler=SubsetRandomSampler(range(32 * 10 + 1)))


@CASES("BN302", broken="train")
def batch_sampler_that_keeps_one():
    samples = dataset(33, 10)
    return MLP(), DataLoader(
        samples, batch_sampler=BatchSampler(SubsetRandomSampler(range(33)), 16, drop_last=False)
    )


@CASES("BN301")
def stream_of_small_batches():
    class Stream(IterableDataset):
        def __iter__(self):
            for _ in range(60):
                yield torch.randn(10), 1

    return MLP(), DataLoader(Stream(), batch_size=6)


# settings and statistics


@CASES("BN401")
def statistics_in_a_dict():
    class Norm(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
            self.running = {"mean": torch.zeros(features), "var": torch.ones(features)}

        def forward(self, x):
            return functional.batch_norm(
                x, self.running["mean"], self.running["var"], self.weight, self.bias, self.training
            )

    return nn.Sequential(nn.Linear(10, 16, bias=False), Norm(16), nn.ReLU(), nn.Linear(16, 5)), vectors(32)


@CASES("BN401@block.1")
def state_of_a_part_is_left_out():
    class Part(ConvBlock):
        def _save_to_state_dict(self, destination, prefix, keep_vars):
            pass

        def state_dict(self, *args, **kwargs):
            return kwargs.get("destination", OrderedDict())

    net = Classifier()
    net.block = Part(8, 8)
    return net, images()


@CASES("BN403", may="BN101", arguments=EVAL)
def subclass_that_does_not_track():
    class Norm(nn.BatchNorm2d):
        def __init__(self, features):
            super().__init__(features, track_running_stats=False)

    loader = images()
    net = Classifier()
    net.stem[1] = Norm(8)
    return settled(net, loader), loader


@CASES("BN404")
def momentum_of_a_functional_norm():
    class Net(Ordered):
        def forward(self, x):
            y = functional.batch_norm(
                self.conv(x),
                self.bn.running_mean,
                self.bn.running_var,
                self.bn.weight,
                self.bn.bias,
                self.training,
                momentum=0.9,
            )
            return self.head(y.relu())

    return Net(bias=False), images()


@CASES("BN404", may="BN303")
def momentum_of_a_subclass_that_is_synchronised():
    class Norm(nn.BatchNorm2d):
        def __init__(self, features):
            super().__init__(features, momentum=0.95)

    net = Classifier()
    net.stem[1] = Norm(8)
    return nn.SyncBatchNorm.convert_sync_batchnorm(net), images()


@CASES("BN405")
def eps_of_a_functional_norm():
    class Net(Ordered):
        def forward(self, x):
            y = functional.batch_norm(
                self.conv(x),
                self.bn.running_mean,
                self.bn.running_var,
                self.bn.weight,
                self.bn.bias,
                self.training,
                eps=0.5,
            )
            return self.head(y.relu())

    return Net(bias=False), images()


@CASES("BN406", arguments=EVAL, may="BN408")
def momentum_of_zero_never_learned():
    loader = vectors(32)
    net = MLP()
    net[1].momentum = 0.0
    nn.init.uniform_(net[1].weight, 0.5, 1.5)
    for x, _ in loader:
        net(x)
    return net.eval(), loader


@CASES("BN406", arguments=EVAL, may="BN303")
def fresh_and_compiled():
    return torch.compile(nn.DataParallel(Classifier())).eval(), images()


@CASES("BN407")
def infinity_in_the_last_batch():
    loader = vectors(32, batches=5)
    loader[-1][0][3, 4] = -torch.inf
    return MLP(), loader


@CASES("BN407@block.1", arguments=EVAL, may="BN408")
def mean_is_infinite_deep_inside():
    loader = images()
    net = settled(Classifier(), loader)
    net.block[1].running_mean[0] = -torch.inf
    return net, loader


@CASES("BN408", arguments=EVAL)
def inputs_that_were_divided_by_255():
    net = settled(Classifier(), [(255 * torch.rand_like(x), y) for x, y in images()])
    return net, [(torch.rand_like(x), y) for x, y in images()]


@CASES("BN408@block.1", arguments=EVAL)
def one_layer_has_the_statistics_of_another_network():
    loader = images()
    net = settled(Classifier(), loader)
    net.block[1].running_mean += 10 * net.block[1].running_var.sqrt()
    return net, loader
