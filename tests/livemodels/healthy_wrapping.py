"""Healthy models in wrappers, and with parts that are hard to look into."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from livemodels.case import EVAL, Cases, Classifier, ConvBlock, Head, data_loader, images, settled, vectors
from livemodels.sick_batches import process_group

CASES = Cases()


@CASES()
def compiled():
    return torch.compile(Classifier()), images()


@CASES(arguments=EVAL)
def compiled_part_is_evaluated():
    loader = images()
    net = settled(Classifier(), loader)
    net.block = torch.compile(net.block)
    return net, loader


@CASES(may="BN303")
def data_parallel():
    return nn.DataParallel(Classifier()), data_loader(64, 3, 12, 12, num_workers=0, pin_memory=False)


@CASES(may="BN303", around=process_group)
def distributed():
    return nn.parallel.DistributedDataParallel(Classifier()), images()


@CASES(may="BN303")
def synchronised():
    return nn.SyncBatchNorm.convert_sync_batchnorm(Classifier()), images()


class Recomputing(Classifier):
    """Recomputes its blocks in the backward pass."""

    reentrant = False

    def forward(self, x):
        x = self.stem(x)
        x = checkpoint(self.block, x, use_reentrant=self.reentrant)
        return self.head(x)


@CASES(may="BN305")
def recomputed():
    return Recomputing(), images()


@CASES(may="BN305")
def recomputed_by_the_reentrant_checkpoint():
    net = Recomputing()
    net.reentrant = True
    return net, images()


@CASES(arguments=EVAL, may="BN305")
def recomputed_in_segments_and_evaluated():
    class Net(Classifier):
        def forward(self, x):
            return self.head(checkpoint_sequential([self.stem, self.block], 2, x, use_reentrant=False))

    loader = images()
    return settled(Net(), loader), loader


@CASES()
def autocast_to_bfloat16():
    class Net(Classifier):
        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x)

    return Net(), images()


@CASES(arguments=EVAL, around=lambda: torch.autocast("cpu", torch.bfloat16))
def autocast_around_the_evaluation():
    loader = images()
    return settled(Classifier(), loader), loader


@CASES()
def channels_last():
    net = Classifier().to(memory_format=torch.channels_last)
    return net, [(x.contiguous(memory_format=torch.channels_last), y) for x, y in images()]


@CASES(arguments=EVAL)
def double_precision():
    loader = [(x.double(), y) for x, y in images()]
    return settled(Classifier().double(), loader), loader


@CASES()
def scripted_part():
    net = Classifier()
    net.block = torch.jit.script(net.block)
    return net, images()


@CASES(arguments=EVAL)
def scripted_whole():
    loader = images()
    return torch.jit.script(settled(Classifier(), loader)), loader


@CASES(arguments=EVAL)
def traced_part():
    loader = images()
    net = settled(Classifier(), loader)
    net.head = torch.jit.trace(net.head, torch.randn(2, 8, 12, 12))
    return net, loader


@CASES()
def lazy():
    net = nn.Sequential(
        nn.LazyConv2d(8, 3, bias=False),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LazyLinear(5),
    )
    return net, images()


@CASES()
def weight_and_spectral_norms():
    net = nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(3, 8, 3, bias=False)),
        nn.BatchNorm2d(8),
        nn.LeakyReLU(0.2),
        parametrizations.weight_norm(nn.Conv2d(8, 8, 3, bias=False)),
        nn.BatchNorm2d(8),
        nn.LeakyReLU(0.2),
        Head(8),
    )
    return net, images()


@CASES()
def hooks():
    net = Classifier()
    kept = {}
    net.block.register_forward_hook(lambda *given: kept.update(block=given[-1]))
    net.stem.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 2,))
    net.head.register_full_backward_hook(lambda *_: None)
    return net, images()


@CASES()
def gradients_inside_forward():
    class Net(Classifier):
        def forward(self, x):
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                energy = super().forward(x)
                (slope,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
            return energy, slope.flatten(1).norm(dim=1)

    return Net(), images()


@CASES(arguments=EVAL, around=torch.inference_mode)
def evaluated_under_inference_mode():
    with torch.inference_mode(mode=False):
        loader = images()
        return settled(Classifier(), loader), loader


@CASES(arguments=EVAL)
def inference_mode_inside_forward():
    class Net(Classifier):
        def forward(self, x):
            with torch.inference_mode():
                return super().forward(x)

    loader = images()
    return settled(Net(), loader), loader


@CASES()
def vmapped_ensemble_of_heads():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(ConvBlock(3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.heads = nn.Parameter(torch.randn(4, 8, 5) / 3)

        def forward(self, x):
            return torch.vmap(lambda head, x: x @ head, in_dims=(0, None))(self.heads, self.body(x)).mean(0)

    return Net(), images()


@CASES()
def branches_on_the_data():
    class Net(Classifier):
        def __init__(self):
            super().__init__()
            self.rare = ConvBlock(8, 8)

        def forward(self, x):
            y = self.stem(x)
            if y.mean() > 1e6:
                y = self.rare(y)
            return self.head(self.block(y))

    return Net(), images()


@CASES()
def layers_dropped_at_random():
    class Net(Classifier):
        def forward(self, x):
            x = self.stem(x)
            if not self.training or torch.rand(()) < 0.5:
                x = x + self.block(x)
            return self.head(functional.dropout(x, 0.1, self.training))

    return Net(), images()


@CASES()
def functional_call_with_other_weights():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Classifier()

        def forward(self, x):
            weights = {name: value * 1.01 for name, value in self.net.named_parameters()}
            return torch.func.functional_call(self.net, weights, (x,))

    return Net(), images()


@CASES()
def subclass_with_an_activation_of_its_own():
    class BatchNormAct(nn.BatchNorm1d):
        def forward(self, x):
            return functional.relu(super().forward(x))

    return nn.Sequential(nn.Linear(10, 16, bias=False), BatchNormAct(16), nn.Linear(16, 5)), vectors(32)
