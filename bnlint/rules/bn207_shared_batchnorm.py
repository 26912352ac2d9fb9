"""One BatchNorm object in several places.

What it finds
-------------
One BatchNorm object that a forward applies after different layers; and a `Sequential` (or a `ModuleList`
written as `[…] * n`) that holds the same BatchNorm, or the same block with BatchNorm, more than once.

Why it is wrong
---------------
Each place has a distribution of its own, and BatchNorm keeps one running mean and variance. In train mode
each place is normalised by its own batch, and all looks well; the running statistics are pulled to and fro
between them and fit none, and in eval mode the network computes something else. Two places at -5 and 5 with
variance 1 leave a running variance of 1 at whichever came last, where all values together have 26. Scale and
shift are shared too. `[layer] * n` repeats a reference, not the construction.

Bad
---
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, bias=False)
            self.conv2 = nn.Conv2d(16, 16, 3, bias=False)
            self.norm = nn.BatchNorm2d(16)

        def forward(self, x):
            x = self.norm(self.conv1(x)).relu()
            return self.norm(self.conv2(x)).relu()

Good
----
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, bias=False)
            self.norm1 = nn.BatchNorm2d(16)
            self.conv2 = nn.Conv2d(16, 16, 3, bias=False)
            self.norm2 = nn.BatchNorm2d(16)

        def forward(self, x):
            x = self.norm1(self.conv1(x)).relu()
            return self.norm2(self.conv2(x)).relu()

How to fix it
-------------
Make one BatchNorm for each layer: `nn.ModuleList([nn.BatchNorm2d(c) for _ in convs])` for a loop, a
comprehension instead of `[…] * n`. Activations and pooling, which keep nothing, can be shared.

When it is fine
---------------
A BatchNorm without running statistics (`track_running_stats=False`) or frozen; one network, its BatchNorm
included, for two inputs of the same kind; a layer and its BatchNorm that are used again and again with the
same weights on purpose. These are not reported. A block that a `Sequential` repeats on purpose is: give each
of its places a BatchNorm of its own.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3: https://arxiv.org/abs/1502.03167
- PyTorch, `BatchNorm2d`: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import Facts, Shared
from bnlint.rule import Claim

SEVERITY = "warning"
ENGINES = "SR"


def check(facts: Facts) -> Iterator[Claim]:
    """A shared BatchNorm that certainly keeps running statistics, and is certainly not frozen."""
    for fact in facts.shared:
        if fact.norm.value("track_running_stats") is True and fact.frozen == "no":
            yield Claim(fact.where, _message(fact), fact.evidence).assuming(fact.assumed)


def _message(fact: Shared) -> str:
    if fact.how == "repeated":
        return (
            f"The same {fact.norm.cls} stands more than once in this {fact.container}: its running "
            f"statistics mix these places and fit none in eval mode; make a new object for each."
        )
    first, second = (f"`{op.name}`" for op in fact.feeders)
    apart = f"{first} and {second}" if first != second else f"several different {first}"
    return (
        f"One {fact.norm.cls} is applied after {apart}: its running statistics mix these places and fit none "
        f"in eval mode; make a BatchNorm of its own for each."
    )
