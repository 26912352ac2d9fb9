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
from typing import Final

from bnlint.facts import Facts, Feed, Setting, assumption
from bnlint.rule import Claim, Threshold

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
