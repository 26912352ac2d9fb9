"""Models in the wrong mode, or that cannot be put into the right one."""

# ruff: noqa: FBT002, FBT003 (what torch calls takes flags by position)

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
    fitted,
    images,
    settled,
    vectors,
)

CASES = Cases()


# BN101: evaluated in train mode


@CASES("BN101", arguments=EVAL)
def never_put_into_eval():
    loader = vectors()
    return fitted(MLP(), loader, rate=0.01), loader


@CASES("BN101", around=torch.no_grad)
def train_mode_under_no_grad():
    loader = images()
    return settled(Classifier(), loader).train(), loader


@CASES("BN101", around=torch.inference_mode, arguments=EVAL, may="BN406")
def train_mode_under_inference_mode():
    with torch.inference_mode(mode=False):
        return MLP(), vectors()


@CASES("BN101@block.1", arguments=EVAL)
def one_layer_left_in_train():
    loader = images()
    net = settled(Classifier(), loader)
    net.block[1].train()
    return net, loader


@CASES("BN101@encoder.layers.1.norm", arguments=EVAL)
def one_layer_left_in_train_deep_inside():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(16, 16, bias=False)
            self.norm = nn.BatchNorm1d(16)

        def forward(self, x):
            return x + self.norm(self.linear(x)).relu()

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(Layer() for _ in range(3))

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(10, 16)
            self.encoder = Encoder()
            self.out = nn.Linear(16, 5)

        def forward(self, x):
            return self.out(self.encoder(self.embed(x)))

    loader = vectors()
    net = settled(Net(), loader)
    net.encoder.layers[1].norm.training = True
    return net, loader


@CASES("BN101", arguments=EVAL)
def only_the_root_flag_is_set():
    loader = images()
    net = settled(Classifier(), loader).train()
    net.training = False
    return net, loader


@CASES("BN101", arguments=EVAL)
def forward_puts_a_part_into_train():
    class Net(Classifier):
        def forward(self, x):
            self.stem.train()
            return super().forward(x)

    loader = images()
    return settled(Net(), loader), loader


@CASES("BN101", arguments=EVAL, may="BN303")
def one_of_two_networks_in_data_parallel():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = MLP(), MLP()

        def forward(self, x):
            return self.first(x) + self.second(x)

    loader = vectors()
    net = settled(nn.DataParallel(Both()), loader)
    net.module.second.train()
    return net, loader


@CASES("BN101", arguments=EVAL)
def compiled_and_in_train():
    loader = images()
    return torch.compile(settled(Classifier(), loader).train()), loader


@CASES("BN101", arguments=EVAL, may="BN406")
def train_mode_with_no_grad_inside_forward():
    class Net(Classifier):
        def forward(self, x):
            with torch.inference_mode():
                y = self.block(self.stem(x))
            return self.head(y)

    return Net().train(), images()


# BN103: frozen, and in train mode


@CASES("BN103")
def backbone_without_gradients():
    net = Classifier()
    for parameter in (*net.stem.parameters(), *net.block.parameters()):
        parameter.requires_grad = False
    return net, images()


@CASES("BN103@stem.1")
def scale_and_shift_without_gradients():
    net = Classifier()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.requires_grad_(requires_grad=False)
    return net, images()


@CASES("BN103@stem.1")
def train_freezes_the_other_half_only():
    class Net(Classifier):
        def __init__(self):
            super().__init__()
            self.stem.requires_grad_(requires_grad=False)
            self.block.requires_grad_(requires_grad=False)

        def train(self, mode=True):
            super().train(mode)
            self.block.eval()
            return self

    return Net(), images()


@CASES("BN103", may="BN303")
def frozen_encoder_under_no_grad_in_data_parallel():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(ConvBlock(3, 8), ConvBlock(8, 8)).requires_grad_(requires_grad=False)
            self.head = Head(8)

        def forward(self, x):
            with torch.no_grad():
                features = self.encoder(x)
            return self.head(features)

    return nn.DataParallel(Net()), images()


# BN106: the flag of a functional batch norm is fixed


class Functional(nn.Module):
    """A batch normalisation of its own around the functional one."""

    def __init__(self, features):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x):
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=True
        )


def around_a_norm(norm, features=16):
    return nn.Sequential(nn.Linear(10, features, bias=False), norm, nn.ReLU(), nn.Linear(features, 5))


@CASES("BN106", may="BN101 BN406", arguments=EVAL)
def training_hard_coded_and_evaluated():
    return around_a_norm(Functional(16)).eval(), vectors()


@CASES("BN106", may="BN101")
def training_hard_coded_and_trained():
    return around_a_norm(Functional(16)), vectors()


@CASES("BN106", may="BN101 BN403", arguments=EVAL)
def training_hard_coded_by_position_over_registered_statistics():
    class Net(Classifier):
        def __init__(self):
            super().__init__()
            self.bn = nn.BatchNorm2d(8)
            self.conv = nn.Conv2d(8, 8, 1, bias=False)

        def forward(self, x):
            y = self.conv(self.stem(x))
            y = torch.batch_norm(
                y,
                self.bn.weight,
                self.bn.bias,
                self.bn.running_mean,
                self.bn.running_var,
                True,
                0.1,
                1e-5,
                False,
            )
            return self.head(y.relu())

    loader = images()
    return settled(Net(), loader), loader


@CASES("BN106", may="BN406")
def training_left_out():
    class Norm(Functional):
        def forward(self, x):
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)

    return around_a_norm(Norm(16)), vectors()


@CASES("BN106", arguments=EVAL, may="BN406 BN408 BN405")
def training_left_out_and_evaluated():
    class Net(Classifier):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 1, bias=False)
            self.norm = nn.BatchNorm2d(8)

        def forward(self, x):
            y = self.conv(self.stem(x))
            y = functional.batch_norm(y, self.norm.running_mean, self.norm.running_var)
            return self.head(y.relu())

    loader = images()
    return settled(Net(), loader), loader


# BN107: an override of train() or eval() that does not do its work


class Returns(Classifier):
    def train(self, mode=True):
        super().train(mode)
        self.dropped = not mode


@CASES("BN107")
def train_returns_nothing():
    return Returns(), images()


class Ignores(Classifier):
    def train(self, mode=True):
        return super().train(True)


@CASES("BN107", may="BN101")
def train_ignores_its_mode():
    return Ignores(), images()


class RootOnly(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Classifier()

    def train(self, mode=True):
        self.training = mode
        return self

    def forward(self, x):
        return self.net(x)


@CASES("BN107 BN101", arguments=EVAL)
def train_sets_the_root_flag_only():
    loader = images()
    net = RootOnly()
    settled(net.net, loader).train()
    return net.eval(), loader


class EvalFlag(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = ConvBlock(3, 8)
        self.evaluating = False

    def eval(self):
        self.evaluating = True

    def forward(self, x):
        return self.features(x)


@CASES("BN107@0")
def eval_of_a_part_is_a_flag():
    return nn.Sequential(EvalFlag(), Head(8)), data_loader(64, 3, 12, 12)


class StuckPart(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(16)

    def train(self, mode=True):
        for child in self.children():
            child.train()
        return self

    def forward(self, x):
        return self.norm(x)


@CASES("BN107 BN101", arguments=EVAL)
def train_of_a_part_never_switches_back():
    loader = vectors()
    return settled(around_a_norm(StuckPart()), loader), loader
