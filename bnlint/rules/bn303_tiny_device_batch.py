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
mean over m samples is 1/sqrt(m) of the deviation: the means of eight ranks of 4 are 0.47 deviations apart.

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
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Split, assumption
from bnlint.rule import Claim, Threshold

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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


RANKS, SHARE = 8, 4
CHANNELS, STEPS, SETTLED = 32, 100, 30


def demonstrate(lab: Laboratory) -> Demonstration:
    """Batches of 32, in shares of 4 to eight copies of a layer, and whole."""
    shares, whole = _means(lab, RANKS), _means(lab, 1)
    errors = [_size(means) for means in (shares, whole)]
    apart = [_size(means.std(dim=1, unbiased=False)) for means in (shares, whole)]
    saved = [_size(_running_means(lab, share)) for share in (SHARE, RANKS * SHARE)]
    shown = range(20)
    return Demonstration(
        setting=(
            f"{STEPS} batches of {RANKS * SHARE} samples from N(0, 1) are divided among {RANKS} ranks, on "
            f"each of which a copy of BatchNorm sees {SHARE}. SyncBatchNorm computes over all ranks: that "
            "is what one layer does with the whole batch. Numbers are in standard deviations."
        ),
        columns=(f"wrong: {RANKS} ranks of {SHARE}", "right: SyncBatchNorm"),
        rows=(
            Row("error of the mean", *(f"{error:.2f}" for error in errors)),
            Row("means of the ranks, apart", *(f"{value:.2f}" for value in apart)),
            Row("error of running_mean on rank 0", *(f"{error:.3f}" for error in saved)),
        ),
        claim=(
            f"{RANKS} ranks of {SHARE} normalise by means that are {apart[0]:.2f} standard deviations apart "
            f"and off by {errors[0]:.2f}; synchronised they share one that is off by {errors[1]:.2f}."
        ),
        holds=(
            0.43 < apart[0] < 0.51
            and apart[1] == 0
            and abs(errors[0] - 0.5) < 0.05
            and abs(errors[1] - 0.177) < 0.03
            and saved[0] > 2 * saved[1]
        ),
        picture=Picture(
            kind="scatter",
            title="Means that normalise a channel whose true mean is 0",
            x="batch",
            y="deviations",
            series=(
                Series(
                    "wrong",
                    shares[: len(shown), :, 0].flatten().tolist(),
                    [batch for batch in shown for _ in range(RANKS)],
                    name=f"one of {RANKS} ranks",
                ),
                Series("right", whole[: len(shown), 0, 0].tolist(), shown, name="SyncBatchNorm"),
            ),
        ),
    )


def _size(values: Any) -> float:
    return float(values.square().mean().sqrt())


def _means(lab: Laboratory, ranks: int) -> Any:
    """By what each rank normalises the same batches, of shape (steps, ranks, channels)."""
    lab.restart()
    copies = [lab.BatchNorm1d(CHANNELS, momentum=1.0) for _ in range(ranks)]
    means = []
    for _ in range(STEPS):
        shares = lab.torch.randn(RANKS * SHARE, CHANNELS).chunk(ranks)
        for copy, share in zip(copies, shares, strict=True):
            copy(share)
            means.append(copy.running_mean.clone())
    return lab.torch.stack(means).view(STEPS, ranks, CHANNELS)


def _running_means(lab: Laboratory, share: int) -> Any:
    """The running means of the first rank, of shape (steps, channels), once they have settled."""
    lab.restart()
    norm, means = lab.BatchNorm1d(CHANNELS), []
    for _ in range(STEPS):
        norm(lab.torch.randn(RANKS * SHARE, CHANNELS)[:share])
        means.append(norm.running_mean.clone())
    return lab.torch.stack(means[SETTLED:])
