"""Models whose layers stand in the wrong order."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from livemodels.case import EVAL, Cases, Classifier, ConvBlock, Head, images, settled, vectors

CASES = Cases()


class Ordered(nn.Module):
    """conv, something, BatchNorm, head."""

    def __init__(self, between=None, **conv):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, **conv)
        self.between = between
        self.bn = nn.BatchNorm2d(8)
        self.head = Head(8)

    def feed(self, x):
        return self.between(x)

    def forward(self, x):
        return self.head(self.bn(self.feed(self.conv(x))))


@CASES("BN202@bn")
def functional_relu():
    class Net(Ordered):
        def feed(self, x):
            return functional.relu(x)

    return Net(), images()


@CASES("BN202@bn")
def functional_relu_in_place():
    class Net(Ordered):
        def feed(self, x):
            return functional.relu_(x)

    return Net(), images()


@CASES("BN202@bn")
def relu_method_whose_result_is_dropped():
    class Net(Ordered):
        def feed(self, x):
            x.relu_()
            return x

    return Net(), images()


@CASES("BN202@bn")
def torch_relu_then_pool():
    class Net(Ordered):
        def feed(self, x):
            return functional.max_pool2d(torch.relu(x), 2)

    return Net(), images()


@CASES("BN202@bn")
def leaky_relu_in_place():
    class Net(Ordered):
        def feed(self, x):
            functional.leaky_relu(x, 0.2, inplace=True)
            return x

    return Net(), images()


@CASES("BN202@bn")
def swish_by_hand():
    class Net(Ordered):
        def feed(self, x):
            return x * torch.sigmoid(x)

    return Net(), images()


@CASES("BN202@bn")
def clamp_is_a_relu():
    class Net(Ordered):
        def feed(self, x):
            return x.clamp(min=0)

    return Net(), images()


@CASES("BN202")
def relu_module_in_nested_containers():
    block = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Sequential(nn.ReLU(inplace=True)), nn.Sequential(nn.BatchNorm2d(8))
    )
    return nn.Sequential(nn.ModuleDict({"block": block})["block"], Head(8)), images()


@CASES("BN202")
def sigmoid_in_a_perceptron():
    net = nn.Sequential(
        nn.Linear(10, 16),
        nn.Sigmoid(),
        nn.BatchNorm1d(16),
        nn.Linear(16, 16),
        nn.Sigmoid(),
        nn.BatchNorm1d(16),
        nn.Linear(16, 5),
    )
    return net, vectors()


@CASES("BN202")
def gelu_over_sequences():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(4, 8, 3)
            self.norm = nn.BatchNorm1d(8)
            self.out = nn.Linear(8, 3)

        def forward(self, x):
            return self.out(self.norm(functional.gelu(self.conv(x))).mean(-1))

    return Net(), [(torch.randn(16, 4, 20), torch.randint(3, (16,))) for _ in range(3)]


@CASES("BN202")
def elu_in_three_dimensions():
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3),
        nn.ELU(),
        nn.BatchNorm3d(4),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    return net, [(torch.randn(16, 1, 6, 6, 6), torch.randint(3, (16,))) for _ in range(2)]


@CASES("BN202")
def activation_then_batchnorm_in_every_block():
    def block(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(outputs))

    return nn.Sequential(*(block(3 if i == 0 else 8, 8) for i in range(4)), Head(8)), images()


@CASES("BN202@net.bn", arguments=EVAL)
def activation_before_batchnorm_when_it_is_evaluated():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Ordered(nn.PReLU())

        def forward(self, x):
            return self.net(x)

    loader = images()
    return settled(Wrapped(), loader), loader


@CASES("BN202", may="BN305")
def activation_before_batchnorm_under_a_checkpoint():
    class Net(Ordered):
        def forward(self, x):
            return self.head(checkpoint(lambda x: self.bn(self.conv(x).relu()), x, use_reentrant=False))

    return Net(), images()


@CASES("BN202", may="BN305")
def activation_before_batchnorm_under_a_reentrant_checkpoint():
    class Net(Ordered):
        def __init__(self):
            super().__init__()
            self.stem = ConvBlock(3, 3)
            self.inner = nn.Sequential(self.conv, nn.ReLU(), self.bn)

        def forward(self, x):
            return self.head(checkpoint(self.inner, self.stem(x), use_reentrant=True))

    return Net(), images()


@CASES("BN202")
def activation_before_batchnorm_compiled():
    return torch.compile(Ordered(nn.ReLU())), images()


@CASES("BN202")
def activation_before_batchnorm_under_autocast():
    class Net(Ordered):
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x)

    return Net(nn.Hardswish()), images()


@CASES("BN202")
def activation_before_a_subclass():
    class MyNorm(nn.BatchNorm2d):
        def forward(self, x):
            return super().forward(x.contiguous())

    class Net(Ordered):
        def __init__(self):
            super().__init__(nn.SiLU())
            self.bn = MyNorm(8)

    return Net(), images()


@CASES("BN202", may="BN303")
def activation_before_sync_batchnorm():
    return nn.SyncBatchNorm.convert_sync_batchnorm(Ordered(nn.ReLU6())), images()


@CASES("BN202")
def batchnorm_called_by_its_call():
    class Net(Ordered):
        def forward(self, x):
            return self.head(self.bn.__call__(self.conv(x).relu()))

    return Net(), images()


@CASES("BN202")
def batchnorm_called_by_its_forward():
    class Net(Ordered):
        def forward(self, x):
            return self.head(self.bn.forward(functional.relu(self.conv.forward(x))))

    return Net(), images()


@CASES("BN202")
def activation_before_a_lazy_norm():
    net = nn.Sequential(
        nn.LazyConv2d(8, 3), nn.ReLU(), nn.LazyBatchNorm2d(), nn.Conv2d(8, 8, 3), nn.ReLU(), Head(8)
    )
    return net, images()


@CASES("BN202")
def activation_before_batchnorm_of_a_parametrized_convolution():
    class Net(Ordered):
        def __init__(self):
            super().__init__(nn.LeakyReLU(0.1, inplace=True))
            self.conv = parametrizations.spectral_norm(self.conv)

    return Net(), [{"x": x, "y": y} for x, y in images()]


@CASES("BN202")
def activation_before_batchnorm_in_channels_last():
    return Ordered(nn.Mish()).to(memory_format=torch.channels_last), images()


@CASES("BN202")
def functional_batchnorm_after_relu():
    class Net(Ordered):
        def forward(self, x):
            x = functional.relu(self.conv(x))
            x = functional.batch_norm(
                x,
                self.bn.running_mean,
                self.bn.running_var,
                self.bn.weight,
                self.bn.bias,
                self.training,
                0.1,
                1e-5,
            )
            return self.head(x)

    return Net(), images()


# BatchNorm after a bias, dropout or another normalisation


@CASES("BN203@bn")
def bias_of_a_convolution():
    return Ordered(nn.Identity()), images()


@CASES("BN203")
def bias_of_a_linear_behind_a_view():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(10, 16)
            self.bn1 = nn.BatchNorm1d(16)
            self.fc2 = nn.Linear(16, 5)

        def forward(self, x):
            return self.fc2(functional.relu(self.bn1(self.fc1(x).view(x.size(0), 16))))

    return Net(), vectors()


@CASES("BN203")
def bias_of_a_functional_linear():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 10) / 4)
            self.bias = nn.Parameter(torch.zeros(16))
            self.bn = nn.BatchNorm1d(16)
            self.out = nn.Linear(16, 5)

        def forward(self, x):
            return self.out(self.bn(functional.linear(x, self.weight, self.bias)).relu())

    return Net(), vectors()


@CASES("BN203")
def bias_of_a_transposed_convolution():
    net = nn.Sequential(
        nn.Linear(8, 32),
        nn.Unflatten(1, (8, 2, 2)),
        nn.ConvTranspose2d(8, 8, 2, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 3, 1),
        nn.Tanh(),
    )
    return net, [torch.randn(32, 8) for _ in range(3)]


@CASES("BN206@bn", may="BN203")
def functional_dropout():
    class Net(Ordered):
        def feed(self, x):
            return functional.dropout(x, 0.3, training=self.training)

    return Net(), images()


@CASES("BN206")
def dropout_module_before_flatten():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.AdaptiveAvgPool2d(2),
        nn.Dropout2d(0.25),
        nn.Flatten(),
        nn.BatchNorm1d(16),
        nn.Linear(16, 5),
    )
    return net, images(32)


@CASES("BN206", may="BN202")
def dropout_between_activation_and_batchnorm():
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(16), nn.Linear(16, 5))
    return net, vectors(32)


@CASES("BN209")
def batchnorm_after_layernorm():
    net = nn.Sequential(nn.Linear(10, 16), nn.LayerNorm(16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5))
    return net, vectors(32)


@CASES("BN209", may="BN203")
def block_that_normalises_before_another_one():
    class Net(Classifier):
        def __init__(self):
            super().__init__()
            self.pre = nn.BatchNorm2d(8)
            self.post = nn.BatchNorm2d(8)
            self.conv = nn.Conv2d(8, 8, 1, bias=False)

        def forward(self, x):
            x = self.pre(self.conv(self.stem(x)))
            return self.head(self.post(x).relu())

    return Net(), images()


@CASES("BN209")
def batchnorm_after_functional_group_norm():
    class Net(Ordered):
        def feed(self, x):
            return functional.group_norm(x, 2)

    return Net(bias=False), images()
