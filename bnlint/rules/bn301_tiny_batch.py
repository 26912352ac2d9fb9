"""Training batches are too small for BatchNorm.

What it finds
-------------
A DataLoader with fewer than 16 samples per batch that feeds the training of a model with BatchNorm. The
number is followed to where it is written: a constant, the default of an option, a field of a class, a
line of a YAML, JSON or TOML file that the code loads.

Why it is wrong
---------------
BatchNorm estimates a mean and a variance per channel from the batch. The error of the mean, in units of the
deviation, is 1/sqrt(m) for m independent values: 0.70 at 2, 0.35 at 8, 0.18 at 32. Outputs are bound to |z|
<= sqrt(m - 1), and at m = 2 they are exactly +1 and -1. Many pixels per image help less than their number
says, as they are alike. The running statistics that eval uses are averages of such estimates. GroupNorm's
authors measured 10.6 % less error than BatchNorm at batch 2.

Bad
---
    import torch
    from torch import nn
    from torch.utils.data import DataLoader


    def main(dataset):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        loader = DataLoader(dataset, batch_size=2, shuffle=True, drop_last=True)
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
    from torch.utils.data import DataLoader


    def main(dataset):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        loader = DataLoader(dataset, batch_size=32, shuffle=True, drop_last=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net.train()
        for images, masks in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), masks).backward()
            optimizer.step()

How to fix it
-------------
Train with 16 to 32 samples per device. Where memory forbids it: GroupNorm instead of BatchNorm,
SyncBatchNorm over several devices, or BatchNorm frozen at pretrained statistics. Accumulating gradients
does not help: BatchNorm still sees small batches.

When it is fine
---------------
Frozen BatchNorm, evaluation and export (there the batch does not enter), batches of large sets such as
whole graphs or point clouds in which one sample holds many independent values.

References
----------
- Wu and He, Group Normalization: https://arxiv.org/abs/1803.08494
- Ioffe, Batch Renormalization: https://arxiv.org/abs/1702.03275
- Ioffe and Szegedy, Batch Normalization: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.facts import Facts, Feed, assumption
from bnlint.rule import Claim, Threshold

SEVERITY = "warning"
ENGINES = "SRW"

THRESHOLD: Final = Threshold(16, "samples per batch from which on the statistics are good enough", 2, 4096)
HOPELESS: Final = 2
"""Values per channel at which BatchNorm keeps the sign alone (2), or raises (1)."""


def check(facts: Facts, enough: int) -> Iterator[Claim]:
    """A loader that feeds fewer samples a step than are enough to a BatchNorm that trains."""
    for feed in facts.feeds:
        match feed:
            case Feed(batchnorm="yes", frozen="no", synced="no"):
                match feed.batch_size.value:
                    case bool():
                        pass
                    case int(size) if 0 < size < enough:
                        yield _claim(feed, size, enough)


def _claim(feed: Feed, size: int, enough: int) -> Claim:
    hopeless = isinstance(feed.values, int) and feed.values <= HOPELESS
    evidence = (*feed.path, *feed.batch_size.evidence)
    claim = Claim(feed.loader, _message(feed, size, enough), evidence, severity="error" if hopeless else None)
    return claim.assuming(assumption(feed))


def _message(feed: Feed, size: int, enough: int) -> str:
    samples = "one sample" if size == 1 else f"{size} samples"
    values = f" ({feed.values} values per channel)" if isinstance(feed.values, int) else ""
    return (
        f"`{feed.model}` trains on batches of {samples}{values}: BatchNorm's statistics are mostly noise "
        f"below {enough}; use {enough} to {2 * enough}, or GroupNorm where memory forbids it."
    )
