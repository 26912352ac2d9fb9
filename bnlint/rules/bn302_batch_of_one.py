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
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Feed, Setting, assumption
from bnlint.finding import Severity
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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
    if feed.lone:
        severity: Severity = "warning" if feed.single is None else "error"
        yield _claim(feed, f"Batch {feed.lone} of the loader holds a single sample", severity)
    elif isinstance(size, int) and isinstance(length, int):
        if length % size == 1:
            severity = "warning" if feed.single is None else "error"
            yield _claim(feed, f"The last batch of {size} holds 1 of the {length} samples", severity)
    elif feed.shuffled == "yes" and feed.single is not None:
        yield _claim(feed, "The last batch can hold a single sample", "info")


def _claim(feed: Feed, what: str, severity: Severity) -> Claim:
    raises = "raises ValueError" if feed.single is not None else "normalises by one sample's statistics"
    message = f"{what}, for which BatchNorm in `{feed.model}` {raises}; pass `drop_last=True`."
    single = () if feed.single is None else (feed.single,)
    kept = () if feed.drop_last is None else feed.drop_last.evidence
    evidence = (*feed.path, *feed.batch_size.evidence, *kept, *single)
    claim = Claim(feed.loader, message, evidence, severity=severity, measured=_measured(feed))
    return claim.assuming(assumption(feed))


def _measured(feed: Feed) -> dict[str, float] | None:
    """What a loader gives that was run."""
    if not feed.sizes:
        return None
    known = {"batch size": feed.batch_size.value, "samples": feed.length}
    return {
        "samples in it": 1,
        **{key: n for key, n in known.items() if isinstance(n, int)},
        "threshold": LEAST,
    }


EPOCHS, BATCH = 10, 64
SAMPLES = 8 * BATCH + 1


def demonstrate(lab: Laboratory) -> Demonstration:
    """A data set with one sample too many, by a loader that keeps it and one that drops it."""
    (stopped, said), (finished, _) = (_train(lab, drop_last=drop) for drop in (False, True))
    (moves, colour), (others, colours) = (_moves(lab, drop_last=drop) for drop in (False, True))
    whole = SAMPLES // BATCH
    single, full = (float(some.square().mean().sqrt()) for some in (moves[:, whole:], others))
    shown = 3
    return Demonstration(
        setting=(
            f"{SAMPLES} samples in batches of {BATCH} leave one over. A network for vectors trains on them "
            f"for an epoch; then images go through a convolution and BatchNorm in train mode, for {EPOCHS}. "
            "Colour is how far apart the means of images are, in standard deviations."
        ),
        columns=("wrong: last one kept", "right: drop_last=True"),
        rows=(
            Row("vectors: batches until the end", f"{stopped}, then an error", f"{finished}"),
            Row(
                "images: last move of running_mean",
                f"{single:.3f} deviations",
                f"{float(others[:, -1].square().mean().sqrt()):.3f} deviations",
            ),
            Row("images: colour left in the last", f"{colour:.2f}", f"{colours:.2f}"),
        ),
        claim=(
            f'With one value per channel batch {stopped + 1} raises "{said}"; with images nothing is raised, '
            f"but the batch of one loses its colour ({colour:.2f} is left of {colours:.2f}) and moves "
            f"running_mean {single / full:.1f} times as far as a full batch does."
        ),
        holds=(
            said.startswith("Expected more than 1 value per channel")
            and stopped == finished == whole
            and colour < 1e-9
            and colours > 0.4
            and single > 4 * full
        ),
        picture=Picture(
            kind="lines",
            title=f"How far each batch moves running_mean, in {shown} epochs",
            x="epoch",
            y="deviations",
            series=(
                Series("wrong", *_by_epoch(moves[:shown]), name="last batch kept"),
                Series("right", *_by_epoch(others[:shown]), name="drop_last=True"),
            ),
        ),
    )


def _by_epoch(moves: Any) -> tuple[list[float], list[float]]:
    """What is moved, and when, in epochs."""
    batches = moves.shape[1]
    times = [epoch + (batch + 1) / batches for epoch in range(len(moves)) for batch in range(batches)]
    return moves.flatten().tolist(), times


def _train(lab: Laboratory, *, drop_last: bool) -> tuple[int, str]:
    """Train for an epoch: how many batches it took, and the error that ended it."""
    lab.restart()
    net, data = lab.classifier(), lab.blobs(SAMPLES)
    optimizer = lab.torch.optim.SGD(net.parameters(), lr=0.1)
    trained = 0
    for rows, labels in _loader(lab, *data, drop_last=drop_last):
        optimizer.zero_grad()
        try:
            lab.functional.cross_entropy(net(rows), labels).backward()
        except ValueError as error:
            return trained, str(error).split(",", maxsplit=1)[0]
        optimizer.step()
        trained += 1
    return trained, ""


def _moves(lab: Laboratory, *, drop_last: bool) -> tuple[Any, float]:
    """How far batches move running_mean, of shape (epochs, batches); what is left of colours in the last."""
    lab.restart()
    maps = lab.nn.Conv2d(3, 8, 3, bias=False)(lab.images(SAMPLES)).detach()
    norm = lab.BatchNorm2d(8)
    norm.running_mean, deviation = maps.mean((0, 2, 3)), maps.std((0, 2, 3))
    moves, out = [], maps
    for _ in range(EPOCHS):
        for (batch,) in _loader(lab, maps, drop_last=drop_last):
            before = norm.running_mean.clone()
            out = norm(batch).detach()
            moves.append(((norm.running_mean - before) / deviation).square().mean().sqrt())
    return lab.torch.stack(moves).view(EPOCHS, -1), float(out.mean((2, 3)).square().mean().sqrt())


def _loader(lab: Laboratory, *tensors: Any, drop_last: bool) -> Any:
    data = lab.torch.utils.data
    return data.DataLoader(data.TensorDataset(*tensors), BATCH, shuffle=True, drop_last=drop_last)
