"""A batch is divided among devices, and BatchNorm sees the few samples of one of them.

What it finds
-------------
DistributedDataParallel whose loaders give `batch_size // world_size` samples, or DataParallel over a known
number of devices, where each share is below 16 samples and BatchNorm is not synchronised.

Why it is wrong
---------------
Each copy of the model normalises by the mean and the variance of its own samples. Gradients are averaged over
all devices, statistics are not: a batch of 16 on two devices trains as batches of 8 do, on eight devices as
batches of 2. With DataParallel the running statistics are those of the first device alone. The error of a
mean over m samples is 1/sqrt(m) of the deviation: the means of eight ranks of 4 are 0.44 deviations apart.

Bad
---
    import torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader

    BATCH = 16


    def main(dataset, sampler, rank):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        net = DistributedDataParallel(net.to(rank), device_ids=[rank])
        share = BATCH // torch.distributed.get_world_size()
        loader = DataLoader(dataset, batch_size=share, sampler=sampler, drop_last=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net.train()
        for images, masks in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), masks).backward()
            optimizer.step()

Good
----
    import torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader

    BATCH = 16


    def main(dataset, sampler, rank):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
        net = DistributedDataParallel(net.to(rank), device_ids=[rank])
        share = BATCH // torch.distributed.get_world_size()
        loader = DataLoader(dataset, batch_size=share, sampler=sampler, drop_last=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net.train()
        for images, masks in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), masks).backward()
            optimizer.step()

How to fix it
-------------
`nn.SyncBatchNorm.convert_sync_batchnorm(model)` before DistributedDataParallel (it does not work with
DataParallel); or 16 to 32 samples per device; or GroupNorm.

When it is fine
---------------
Frozen BatchNorm, shares of 16 and more, a single process, and models whose BatchNorm is synchronised.

References
----------
- SyncBatchNorm: https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html
- Peng et al., MegDet: https://arxiv.org/abs/1711.07240
- Wu and He, Group Normalization: https://arxiv.org/abs/1803.08494
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.facts import Facts, Split, assumption
from bnlint.rule import Claim, Threshold

SEVERITY = "warning"
ENGINES = "SR"

THRESHOLD: Final = Threshold(16, "samples per device from which on the statistics are good enough", 2, 4096)


def check(facts: Facts, enough: int) -> Iterator[Claim]:
    """A share of a batch that is too small for a BatchNorm that sees nothing else."""
    for split in facts.splits:
        match split:
            case Split(batchnorm="yes", frozen="no", synced="no", share=int(share)) if 0 < share < enough:
                if isinstance(split.loaded, int) and split.loaded < enough:
                    continue  # then it is the loader's batch that is too small
                yield _claim(split, share)


def _claim(split: Split, share: int) -> Claim:
    several = f"{split.devices} devices" if isinstance(split.devices, int) else "two processes or more"
    message = (
        f"`{split.wrapper}` divides batches of {split.whole} among {several}: BatchNorm in `{split.model}` "
        f"sees {share} samples at most; use `SyncBatchNorm.convert_sync_batchnorm` or larger batches."
    )
    return Claim(split.where, message, split.path).assuming(assumption(split))
