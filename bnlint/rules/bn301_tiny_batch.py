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
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Feed, assumption
from bnlint.picture import distribution
from bnlint.rule import Claim, Threshold

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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
    claim = Claim(
        feed.loader,
        _message(feed, size, enough),
        evidence,
        severity="error" if hopeless else None,
        measured=_measured(feed, size, enough),
        picture=_picture(feed),
    )
    return claim.assuming(assumption(feed))


def _measured(feed: Feed, size: int, enough: int) -> dict[str, float] | None:
    """What a loader gave that was run."""
    if not feed.sizes:
        return None
    values = {"values per channel": feed.values} if isinstance(feed.values, int) else {}
    return {"samples": size, **values, "threshold": enough}


def _picture(feed: Feed) -> Picture | None:
    """How many samples the batches had that were seen."""
    return (
        distribution("Samples in a batch", "samples", "batches", feed.sizes, name="seen")
        if feed.sizes
        else None
    )


def _message(feed: Feed, size: int, enough: int) -> str:
    samples = "one sample" if size == 1 else f"{size} samples"
    values = f" ({feed.values} values per channel)" if isinstance(feed.values, int) else ""
    return (
        f"`{feed.model}` trains on batches of {samples}{values}: BatchNorm's statistics are mostly noise "
        f"below {enough}; use {enough} to {2 * enough}, or GroupNorm where memory forbids it."
    )


SIZES = (2, 4, 8, 16, 32, 64)
NEAR = 0.05
"""How near to 1 counts as 1: eps takes a little away."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """What the statistics of batches are worth, by the size of the batch."""
    errors = [lab.error_of_mean(size) for size in SIZES]
    two, eight, many = (errors[SIZES.index(size)] for size in (2, 8, 32))
    block = lab.nn.Sequential(lab.nn.Conv2d(3, 8, 3, bias=False), lab.BatchNorm2d(8, momentum=1.0))
    pixels = [_error_of_images(lab, block, size) for size in (2, 32)]
    outputs = [lab.BatchNorm1d(1000)(lab.torch.randn(size, 1000)).detach() for size in (2, 32)]
    signs = [float(((values.abs() - 1).abs() < NEAR).double().mean()) for values in outputs]
    largest = [float(values.abs().max()) for values in outputs]
    return Demonstration(
        setting=(
            "BatchNorm in train mode gets batches of vectors from N(0, 1), and of images behind a "
            "convolution: 14x14 positions, which are alike, since each image has a colour of its own. How "
            "far is the mean of a batch from the true one, in standard deviations? And what comes out for "
            "vectors?"
        ),
        columns=("wrong: 2 samples", "right: 32 samples"),
        rows=(
            Row("error of the mean, vectors", f"{two:.2f}", f"{many:.2f}"),
            Row("error of the mean, images", *(f"{error:.2f}" for error in pixels)),
            Row("largest output", *(f"{value:.2f}" for value in largest)),
            Row("outputs that are +1 or -1, within 0.05", *map(percent, signs)),
        ),
        claim=(
            f"The mean of a batch of 2 is off by {two:.2f} standard deviations, that of 8 by {eight:.2f} and "
            f"that of 32 by {many:.2f}; and of two values per channel BatchNorm keeps the sign alone: "
            f"{percent(signs[0])} of its outputs are +1 or -1."
        ),
        holds=(
            all(abs(error * size**0.5 - 1) < 0.1 for error, size in zip(errors, SIZES, strict=True))
            and pixels[0] > 0.3
            and pixels[0] > 2 * pixels[1]
            and largest[0] <= 1 < largest[1]
            and signs[0] > 0.9
            and signs[1] < 0.2
        ),
        picture=Picture(
            kind="scatter",
            title="How far the mean of a batch is from the true mean",
            x="samples in the batch",
            y="error in deviations",
            series=(
                Series("truth", [size**-0.5 for size in range(2, 65)], range(2, 65), name="1/sqrt(m)"),
                Series("wrong", errors[:3], SIZES[:3], name="below 16"),
                Series("right", errors[3:], SIZES[3:], name="16 or more"),
            ),
        ),
    )


def _error_of_images(lab: Laboratory, block: Any, size: int, batches: int = 50) -> float:
    """The same for images behind a convolution, in units of the deviation of each channel."""
    norm, means = block[1], []
    block(lab.images(500, 16))
    deviation = norm.running_var.sqrt()
    for _ in range(batches):
        block(lab.images(size, 16))
        means.append(norm.running_mean / deviation)
    return float(lab.torch.stack(means).square().mean().sqrt())
