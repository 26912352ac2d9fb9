"""Accumulating gradients does not enlarge the batch that BatchNorm sees.

What it finds
-------------
Training that accumulates gradients over several small batches, so that together they are large enough, while
BatchNorm normalises each of them by itself: `if (i + 1) % k == 0: optimizer.step()`, Lightning's
`accumulate_grad_batches`, `gradient_accumulation_steps` of transformers and accelerate.

Why it is wrong
---------------
The gradient of k batches of m samples is the mean over k·m samples; the mean and the variance that BatchNorm
takes are still those of m. Accumulation to 32 over batches of 2 trains with the statistics of 2 samples,
whose mean is off by 0.70 deviations, and the running statistics move k times a step.

Bad
---
    from pytorch_lightning import LightningModule, Trainer
    from torch import nn
    from torch.utils.data import DataLoader


    class Net(LightningModule):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
            self.head = nn.Conv2d(8, 2, 1)

        def training_step(self, batch, at):
            images, masks = batch
            return nn.functional.cross_entropy(self.head(self.block(images)), masks)


    if __name__ == "__main__":
        data = open("images.txt").readlines()
        loader = DataLoader(data, batch_size=4, shuffle=True, drop_last=True)  # noqa: BN301
        Trainer(accumulate_grad_batches=8).fit(Net(), loader)

Good
----
    from pytorch_lightning import LightningModule, Trainer
    from torch import nn
    from torch.utils.data import DataLoader


    class Net(LightningModule):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.GroupNorm(2, 8), nn.ReLU())
            self.head = nn.Conv2d(8, 2, 1)

        def training_step(self, batch, at):
            images, masks = batch
            return nn.functional.cross_entropy(self.head(self.block(images)), masks)


    if __name__ == "__main__":
        data = open("images.txt").readlines()
        loader = DataLoader(data, batch_size=4, shuffle=True, drop_last=True)
        Trainer(accumulate_grad_batches=8).fit(Net(), loader)

How to fix it
-------------
GroupNorm or LayerNorm, which do not know of batches; SyncBatchNorm over several devices; BatchNorm frozen at
pretrained statistics; or larger batches with activation checkpoints, fewer pixels or half precision.

When it is fine
---------------
Frozen BatchNorm, and batches that are large enough by themselves.

References
----------
- Wu and He, Group Normalization: https://arxiv.org/abs/1803.08494
- Accumulation and BatchNorm: https://huggingface.co/docs/accelerate/usage_guides/gradient_accumulation
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Feed, Setting, assumption
from bnlint.rule import Claim, Threshold

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "info"
ENGINES = "SW"

THRESHOLD: Final = Threshold(16, "samples per batch from which on the statistics are good enough", 2, 4096)


def check(facts: Facts, enough: int) -> Iterator[Claim]:
    """Batches that are large enough together, and of which BatchNorm sees one at a time."""
    for feed in facts.feeds:
        match feed:
            case Feed(batchnorm="yes", frozen="no", synced="no", steps=Setting(value=int(steps)) as setting):
                size = feed.batch_size.value
                if isinstance(size, int) and 0 < size < enough <= size * steps:
                    yield _claim(feed, setting, size, steps)


def _claim(feed: Feed, setting: Setting, size: int, steps: int) -> Claim:
    message = (
        f"`{feed.model}` accumulates the gradients of {steps} batches, but its BatchNorm sees {size} samples "
        f"at a time and not {size * steps}; use GroupNorm, or keep BatchNorm frozen."
    )
    evidence = (*feed.path, *feed.batch_size.evidence, *setting.evidence)
    return Claim(setting.where, message, evidence).assuming(assumption(feed))


STEPS, MICRO = 8, 4


def demonstrate(lab: Laboratory) -> Demonstration:
    """The gradients of 8 batches of 4, against that of their 32 samples at once."""
    whole = STEPS * MICRO
    norms = lab.BatchNorm1d(16), lab.nn.GroupNorm(2, 16)
    wrong, right = (_gradients(lab, norm) for norm in norms)
    distance = [float((many - one).norm() / one.norm()) for one, many in (wrong, right)]
    errors = [lab.error_of_mean(size) for size in (MICRO, whole)]
    updates = int(norms[0].num_batches_tracked) - 1
    ends = float(wrong[0].min()), float(wrong[0].max())
    return Demonstration(
        setting=(
            f"Linear, a normalisation, ReLU, Linear: gradients of {STEPS} micro-batches of {MICRO} are "
            f"accumulated for one step, and compared with the gradient of the same {whole} samples in one "
            f"batch."
        ),
        columns=("wrong: BatchNorm", "right: GroupNorm"),
        rows=(
            Row("error of the gradient, relative", *(f"{value:.2f}" for value in distance)),
            Row(
                "error of the mean, in deviations",
                f"{errors[0]:.2f} ({errors[1]:.2f} in one batch)",
                "takes none: 0",
            ),
            Row("updates of running_mean in a step", f"{updates} (1 in one batch)", "keeps none: 0"),
        ),
        claim=(
            f"With BatchNorm the accumulated gradient is off by {percent(distance[0])} of its size, since "
            f"each micro-batch is normalised by a mean that is off by {errors[0]:.2f} and not by "
            f"{errors[1]:.2f} standard deviations; with GroupNorm it is off by {percent(distance[1])}."
        ),
        holds=(
            distance[0] > 0.3
            and distance[1] < 1e-9
            and updates == STEPS
            and abs(errors[0] - 0.5) < 0.05
            and abs(errors[1] - 0.177) < 0.03
        ),
        picture=Picture(
            kind="scatter",
            title=f"Gradients of weights: {STEPS} batches of {MICRO}, and one batch of {whole}",
            x=f"gradient of one batch of {whole}",
            y="accumulated gradient",
            series=(
                Series("truth", ends, ends, name="equal"),
                Series("wrong", wrong[1].tolist(), wrong[0].tolist(), name="BatchNorm"),
                Series("right", right[1].tolist(), right[0].tolist(), name="GroupNorm"),
            ),
        ),
    )


def _gradients(lab: Laboratory, norm: Any) -> tuple[Any, Any]:
    """The gradient of the first layer's weights: of one batch, and accumulated over micro-batches."""
    lab.restart()
    inputs, targets = lab.blobs(STEPS * MICRO)
    net = lab.classifier()
    net[1] = norm
    found = []
    for parts in (1, STEPS):
        net.zero_grad()
        for rows, labels in zip(inputs.chunk(parts), targets.chunk(parts), strict=True):
            (lab.functional.cross_entropy(net(rows), labels) / parts).backward()
        found.append(net[0].weight.grad.flatten().clone())
    return found[0], found[1]
