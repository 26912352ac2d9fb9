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
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Shared
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "SR"

FAR: Final = 2.0
"""Deviations between the means of inputs from which on they are of different kinds."""


def check(facts: Facts) -> Iterator[Claim]:
    """A shared BatchNorm that certainly keeps running statistics, and is certainly not frozen."""
    for fact in facts.shared:
        if fact.norm.value("track_running_stats") is not True or fact.frozen != "no":
            continue
        if fact.how == "inputs":
            if fact.distance >= FAR:
                measured = {"distance of the means": fact.distance, "threshold": FAR}
                yield Claim(fact.where, _apart(fact), measured=measured)
        else:
            yield Claim(fact.where, _message(fact), fact.evidence).assuming(fact.assumed)


def _apart(fact: Shared) -> str:
    return (
        f"One {fact.norm.cls} is applied to inputs whose means are {fact.distance:.2g} deviations apart: its "
        f"running statistics mix them and fit none in eval mode; make a BatchNorm for each kind of input."
    )


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


PLACES = (-5.0, 5.0)
"""The means of what arrives in the two places."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """Two places whose inputs lie apart, with one BatchNorm and with two."""
    one, first, second = (lab.BatchNorm2d(16) for _ in range(3))
    shared, own = (one, one), (first, second)
    for _ in range(100):
        batches = _batches(lab)
        for norms in (shared, own):
            for norm, batch in zip(norms, batches, strict=True):
                norm(batch)
    batches = _batches(lab)
    pooled = float(lab.torch.cat(batches).var((0, 2, 3)).mean())
    wrong, right = (
        [norm.eval()(batch).detach() for norm, batch in zip(norms, batches, strict=True)]
        for norms in (shared, own)
    )
    means = [[float(out.mean()) for out in outs] for outs in (wrong, right)]
    centre, variance = float(one.running_mean.mean()), float(one.running_var.mean())
    owned = [float(norm.running_var.mean()) for norm in own]
    return Demonstration(
        setting=(
            "In each of 100 forwards a BatchNorm2d sees N(-5, 1) in its first place and N(5, 1) in its "
            "second, or each place has one of its own. Then both places are evaluated on new data of the "
            "same kind."
        ),
        columns=("wrong: one for both", "right: one for each"),
        rows=(
            Row(
                "running_mean",
                f"{centre:.2f}",
                " and ".join(f"{norm.running_mean.mean():.2f}" for norm in own),
            ),
            Row("running_var", f"{variance:.2f}", " and ".join(f"{var:.2f}" for var in owned)),
            Row("variance of both places together", f"{pooled:.1f}", f"{pooled:.1f}"),
            *(
                Row(f"mean in eval mode, {name} place", f"{left:.2f}", f"{round(other, 2) + 0:.2f}")
                for name, left, other in zip(("first", "second"), *means, strict=True)
            ),
        ),
        claim=(
            f"The shared running variance is {variance:.2f} where both places together have {pooled:.0f}, "
            f"and in eval mode the places come out around {means[0][0]:.1f} and {means[0][1]:.1f}; with a "
            f"BatchNorm for each, within {max(map(abs, means[1])):.2f} of 0."
        ),
        holds=(
            abs(variance - 1) < 0.1
            and abs(pooled - 26) < 1
            and means[0][0] < -4
            and means[0][1] > 4
            and max(map(abs, means[1])) < 0.1
            and all(abs(var - 1) < 0.1 for var in owned)
        ),
        picture=Picture(
            kind="histogram",
            title="What comes out in eval mode; N(0, 1) is wanted",
            x="output of BatchNorm",
            y="number of values",
            series=(
                Series("wrong", _flat(lab, wrong), name="one for both"),
                Series("right", _flat(lab, right), name="one for each"),
            ),
        ),
    )


def _batches(lab: Laboratory) -> list[Any]:
    """A batch for each place."""
    return [lab.torch.randn(16, 16, 4, 4) + mean for mean in PLACES]


def _flat(lab: Laboratory, outs: list[Any]) -> list[float]:
    """The values of one channel in all places."""
    values: list[float] = lab.torch.cat([out[:, 0].flatten() for out in outs]).tolist()
    return values
