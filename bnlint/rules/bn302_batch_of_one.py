"""The last batch of an epoch may hold one sample, which BatchNorm cannot normalise.

What it finds
-------------
A DataLoader that feeds training and keeps a short last batch (no `drop_last=True`), where that batch holds
one sample: an error before a BatchNorm that gets one value per channel of each sample (a vector, or a map
pooled to one position), a warning where it gets more. Where the number of samples is not written in the
source, it is said for a shuffled loader before such a BatchNorm, as an info: some lengths fail.

Why it is wrong
---------------
With one value per channel the mean is that value and the variance is 0: torch raises "Expected more than 1
value per channel when training", in the last step of the first epoch. With more values per channel nothing is
raised: the layer normalises by the statistics of one image, answers as for no other batch, and moves its
running statistics by a tenth towards that image.

Bad
---
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset


    def main():
        net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        data = TensorDataset(torch.randn(1025, 8), torch.randint(0, 2, (1025,)))
        loader = DataLoader(data, batch_size=64, shuffle=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net.train()
        for rows, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(rows), labels).backward()
            optimizer.step()

Good
----
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset


    def main():
        net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        data = TensorDataset(torch.randn(1025, 8), torch.randint(0, 2, (1025,)))
        loader = DataLoader(data, batch_size=64, shuffle=True, drop_last=True)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net.train()
        for rows, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(rows), labels).backward()
            optimizer.step()

How to fix it
-------------
`drop_last=True` in the loader that trains; with shuffling, other samples are left out in each epoch. Keep the
short batch in validation and test, where BatchNorm is in eval mode and no sample may be lost.

When it is fine
---------------
Frozen BatchNorm, loaders that are only evaluated, batch samplers that decide themselves, a program that skips
a batch of one, and a data set whose length is known to leave no remainder of one.

References
----------
- `drop_last` in the documentation: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
- Ioffe and Szegedy, Batch Normalization: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.facts import Facts, Feed, Setting, assumption
from bnlint.finding import Severity
from bnlint.rule import Claim

SEVERITY = "error"
ENGINES = "SRW"

LEAST: Final = 2
"""Of batches of one sample none is shorter than the others."""


def check(facts: Facts) -> Iterator[Claim]:
    """A loader whose last batch holds one sample, or may, and is kept."""
    for feed in facts.feeds:
        match feed:
            case Feed(
                batchnorm="yes", frozen="no", synced="no", guarded="no", drop_last=Setting(value=False)
            ):
                yield from _judge(feed)


def _judge(feed: Feed) -> Iterator[Claim]:
    size, length = feed.batch_size.value, feed.length
    if isinstance(size, int) and size < LEAST:
        return
    if isinstance(size, int) and isinstance(length, int):
        if length % size == 1:
            severity: Severity = "warning" if feed.single is None else "error"
            yield _claim(feed, f"The last batch of {size} holds 1 of the {length} samples", severity)
    elif feed.shuffled == "yes" and feed.single is not None:
        yield _claim(feed, "The last batch can hold a single sample", "info")


def _claim(feed: Feed, what: str, severity: Severity) -> Claim:
    raises = "raises ValueError" if feed.single is not None else "normalises by one sample's statistics"
    message = f"{what}, for which BatchNorm in `{feed.model}` {raises}; pass `drop_last=True`."
    single = () if feed.single is None else (feed.single,)
    kept = () if feed.drop_last is None else feed.drop_last.evidence
    evidence = (*feed.path, *feed.batch_size.evidence, *kept, *single)
    return Claim(feed.loader, message, evidence, severity=severity).assuming(assumption(feed))
