"""Running statistics that are lost, wrong, or never learned, and settings that make them so."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, TensorDataset

from livemodels.case import (
    EVAL,
    MLP,
    Cases,
    Classifier,
    ConvBlock,
    Head,
    data_loader,
    fitted,
    images,
    settled,
    vectors,
)

CASES = Cases()
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def mlp(norm):
    return nn.Sequential(nn.Linear(10, 16, bias=False), norm, nn.ReLU(), nn.Linear(16, 5))


# BN401: what is saved lacks them


class PlainNorm(nn.Module):
    """A home-made batch normalisation whose statistics are no buffers."""

    def __init__(self, features, momentum=0.1):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(features))
        self.beta = nn.Parameter(torch.zeros(features))
        self.momentum = momentum
        self.running_mean = torch.zeros(features)
        self.running_var = torch.ones(features)

    def forward(self, x):
        if self.training:
            mean, var = x.mean(0), x.var(0, unbiased=False)
            with torch.no_grad():
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (var - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        return (x - mean) / torch.sqrt(var + 1e-5) * self.gamma + self.beta


class RebindingNorm(PlainNorm):
    """The same, with new tensors at each step."""

    def forward(self, x):
        if self.training:
            mean, var = x.mean(0), x.var(0, unbiased=False)
            keep = 1 - self.momentum
            self.running_mean = keep * self.running_mean + self.momentum * mean.detach()
            self.running_var = keep * self.running_var + self.momentum * var.detach()
        else:
            mean, var = self.running_mean, self.running_var
        return (x - mean) * torch.rsqrt(var + 1e-5) * self.gamma + self.beta


@CASES("BN401")
def statistics_are_plain_attributes():
    return mlp(PlainNorm(16)), vectors(32)


@CASES("BN401")
def statistics_are_rebound_attributes():
    return mlp(RebindingNorm(16)), vectors(32)


@CASES("BN401", may="BN406", arguments=EVAL)
def statistics_are_plain_attributes_when_evaluated():
    loader = vectors(32, batches=20)
    net = mlp(PlainNorm(16))
    for inputs, _ in loader * 2:
        net(inputs)
    return net.eval(), loader


@CASES("BN401")
def statistics_are_attributes_of_a_functional_norm():
    class Norm(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(features))
            self.bias = nn.Parameter(torch.zeros(features))
            self.mean, self.var = torch.zeros(features), torch.ones(features)

        def forward(self, x):
            return functional.batch_norm(x, self.mean, self.var, self.weight, self.bias, self.training)

    return mlp(Norm(16)), vectors(32)


@CASES("BN401@1")
def statistics_are_not_persistent():
    class Norm(nn.BatchNorm1d):
        def __init__(self, features):
            super().__init__(features)
            for name in STATISTICS:
                self.register_buffer(name, getattr(self, name), persistent=False)

    return mlp(Norm(16)), vectors(32)


@CASES("BN401")
def state_dict_gives_parameters_only():
    class Net(Classifier):
        def state_dict(self, *args, **kwargs):
            state = super().state_dict(*args, **kwargs)
            learned = {name for name, _ in self.named_parameters()}
            return {key: value for key, value in state.items() if key in learned}

    return Net(), images()


@CASES("BN401")
def state_dict_hook_drops_them():
    net = Classifier()

    def hook(module, state, prefix, metadata):
        for key in [key for key in state if "running_" in key]:
            del state[key]

    net._register_state_dict_hook(hook)
    return net, images()


# BN402: what is loaded lacks them


def parameters_only(model):
    return {**EVAL, "state_dict": {name: value.detach().clone() for name, value in model.named_parameters()}}


def without_statistics(model):
    return {**EVAL, "state_dict": {k: v.clone() for k, v in model.state_dict().items() if "running" not in k}}


@CASES("BN402|BN401", arguments=parameters_only)
def checkpoint_of_parameters():
    loader = images()
    return settled(Classifier(), loader), loader


@CASES("BN402|BN401", arguments=without_statistics, may="BN303")
def checkpoint_without_running_statistics():
    loader = vectors(32)
    return settled(nn.DataParallel(MLP()), loader), loader


@CASES("BN402|BN401", arguments=lambda model: {"state_dict": parameters_only(model)["state_dict"]})
def checkpoint_of_parameters_to_train_on():
    return Classifier(), images()


# BN403: not tracked, and evaluated


@CASES("BN403", arguments=EVAL, may="BN101")
def untracked_and_evaluated():
    return mlp(nn.BatchNorm1d(16, track_running_stats=False)).eval(), vectors(32)


@CASES("BN403", arguments=EVAL, may="BN101")
def untracked_deep_inside():
    loader = images()
    net = settled(Classifier(), loader)
    net.block[1] = nn.BatchNorm2d(8, track_running_stats=False).eval()
    return net, loader


@CASES("BN403", arguments=EVAL, may="BN406 BN408")
def flag_flipped_after_construction():
    loader = vectors(32)
    net = mlp(nn.BatchNorm1d(16))
    net[1].track_running_stats = False
    return fitted(net, loader).eval(), loader


@CASES("BN403")
def flag_flipped_and_trained():
    net = Classifier()
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False
    return net, images()


# BN404, BN405: settings


@CASES("BN404@1")
def momentum_of_keras():
    return mlp(nn.BatchNorm1d(16, momentum=0.9)), vectors(32)


@CASES("BN404")
def momentum_of_tensorflow_in_a_residual_network():
    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.bn = nn.BatchNorm2d(width, eps=1e-3, momentum=0.99)

        def forward(self, x):
            return functional.relu(x + self.bn(self.conv(x)))

    return nn.Sequential(ConvBlock(3, 8), Block(8), Block(8), Head(8)), images()


@CASES("BN404")
def momentum_set_after_construction():
    net = torch.compile(Classifier())
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.997
    return net, images()


@CASES("BN405@1")
def momentum_in_the_place_of_eps():
    return mlp(nn.BatchNorm1d(16, 0.8)), vectors(32)


@CASES("BN405")
def large_eps():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, eps=0.1), nn.ReLU(), Head(8)
    ), images()


@CASES("BN405", arguments=EVAL, broken="train")
def eps_of_zero():
    loader = vectors(32)
    net = settled(mlp(nn.BatchNorm1d(16)), loader)
    net[1].eps = 0.0  # with which torch does not train at all
    return net, loader


@CASES("BN405")
def eps_above_all_variances():
    loader = [(1e-4 * x, y) for x, y in vectors(64)]
    return mlp(nn.BatchNorm1d(16)), loader


# BN406: never learned


@CASES("BN406", arguments=EVAL)
def fresh_model():
    return Classifier().eval(), images()


@CASES("BN406", arguments=EVAL, may="BN408")
def new_head_on_a_trained_backbone():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(ConvBlock(3, 8), ConvBlock(8, 8))
            self.decoder = nn.Sequential(ConvBlock(8, 8), nn.Conv2d(8, 5, 1))

        def forward(self, x):
            return self.decoder(self.backbone(x))

    loader = images()
    net = Net()
    settled(net.backbone, loader)
    return net.eval(), loader


@CASES("BN406", arguments=EVAL, may="BN408 BN402")
def weights_loaded_and_statistics_lost():
    loader = vectors(32)
    trained = fitted(MLP(), loader)
    net = MLP()
    net.load_state_dict({name: value.detach() for name, value in trained.named_parameters()}, strict=False)
    return net.eval(), loader


# BN407: poisoned


@CASES("BN407", arguments=EVAL, may="BN408")
def mean_is_not_a_number():
    loader = images()
    net = settled(Classifier(), loader)
    net.block[1].running_mean[3] = torch.nan
    return net, loader


@CASES("BN407@1", arguments=EVAL, may="BN408")
def variance_is_infinite():
    loader = vectors(32)
    net = settled(MLP(), loader)
    net[1].running_var[0] = torch.inf
    return net, loader


@CASES("BN407", arguments=EVAL, may="BN408")
def variance_overflowed_in_half_precision():
    loader = [(300 * x, y) for x, y in vectors(32)]
    net = settled(MLP(), loader)
    nn.init.uniform_(net[1].running_var, 80_000, 100_000)
    return net.half(), [(x.half(), y) for x, y in loader]


@CASES("BN407", arguments=EVAL, may="BN408")
def variance_is_negative():
    loader = vectors(32)
    net = settled(MLP(), loader)
    net[1].running_var[2] = -0.5
    return net, loader


@CASES("BN407")
def batch_with_a_nan():
    loader = images(batches=4)
    loader[2][0][5, 0, 3, 3] = torch.nan
    return Classifier(), loader


@CASES("BN407")
def poisoned_by_an_earlier_batch():
    loader = images()
    net = Classifier()
    net(torch.full((4, 3, 12, 12), torch.inf))
    return net, loader


# BN408: drifted


@CASES("BN408", arguments=EVAL)
def inputs_of_another_scale():
    loader = images()
    net = settled(Classifier(), loader)
    return net, [(255 * x, y) for x, y in loader]


@CASES("BN408", arguments=EVAL)
def inputs_that_are_shifted():
    net = settled(MLP(), vectors(32))
    return net, [(x + 5, y) for x, y in vectors(32)]


@CASES("BN408", arguments=EVAL)
def statistics_of_class_sorted_batches():
    centres = 4 * torch.randn(5, 10)
    labels = torch.arange(5).repeat_interleave(320)
    samples = TensorDataset(centres[labels] + torch.randn(1600, 10), labels)
    net = fitted(
        MLP(), DataLoader(samples, batch_size=16), epochs=1, rate=0.01
    )  # the last 20 are of one class
    return net.eval(), DataLoader(samples, batch_size=32, shuffle=True)


@CASES("BN408", arguments=EVAL)
def statistics_of_one_brighter_image():
    net = Classifier()
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 1.0
    net(torch.rand(16, 3, 12, 12) + 9)
    return net.eval(), data_loader(64, 3, 12, 12)
