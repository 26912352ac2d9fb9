"""Batches that are too small for BatchNorm."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.utils.data import DataLoader

from livemodels.case import MLP, Cases, Classifier, ConvBlock, data_loader, dataset, images, vectors

CASES = Cases()


@CASES("BN301")
def batches_of_four():
    return Classifier(), data_loader(40, 3, 12, 12, batch=4)


@CASES("BN301")
def two_values_per_channel():
    return MLP(), vectors(2, batches=5)


@CASES("BN301")
def generator_of_single_tensors():
    net = nn.Sequential(ConvBlock(3, 8), nn.Conv2d(8, 3, 1))
    return net, (torch.rand(8, 3, 12, 12) for _ in range(5))


@CASES("BN301", arguments={"forward": lambda model, batch: model(batch.signal)})
def signals_in_dataclasses():
    @dataclass
    class Batch:
        signal: torch.Tensor
        labels: torch.Tensor

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 8, 1, bias=False)
            self.norm = nn.BatchNorm1d(8)
            self.out = nn.Linear(8, 2)

        def forward(self, x):
            return self.out(self.norm(self.conv(x)).relu().amax(-1))

    return Net(), [Batch(torch.randn(3, 3, 10), torch.randint(2, (3,))) for _ in range(4)]


@CASES("BN301")
def volumes_of_two():
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1, bias=False), nn.BatchNorm3d(4), nn.ReLU(), nn.Conv3d(4, 2, 1)
    )
    return net, [{"input": torch.randn(2, 1, 6, 6, 6), "label": torch.zeros(2)} for _ in range(3)]


@contextmanager
def process_group():
    """One process that calls itself a group."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@CASES("BN301", may="BN303", around=process_group)
def small_batches_in_a_distributed_model():
    return nn.parallel.DistributedDataParallel(Classifier()), images(6)


@CASES("BN301", may="BN302")
def one_image_at_a_time():
    return Classifier(), images(1, batches=6)


@CASES("BN302", may="BN301", broken="train")
def last_batch_of_one_vector():
    return MLP(), data_loader(65, 10, batch=32, shuffle=True)


@CASES("BN302")
def last_batch_of_one_far_away():
    return MLP(), data_loader(32 * 40 + 1, 10, batch=32, shuffle=True)


@CASES("BN302")
def last_batch_of_one_image():
    return Classifier(), data_loader(33, 3, 12, 12, batch=16, shuffle=True)


@CASES("BN302", broken="train")
def last_batch_of_one_before_a_pooled_norm():
    net = nn.Sequential(
        ConvBlock(3, 8),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(8, 8, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    return net, DataLoader(dataset(49, 3, 12, 12), batch_size=16)


@CASES("BN302", broken="train")
def list_whose_last_batch_has_one():
    return MLP(), [*vectors(32, batches=3), *vectors(1, batches=1)]


@CASES("BN301|BN302", broken="train")
def every_batch_has_one_vector():
    return MLP(), vectors(1, batches=4)
