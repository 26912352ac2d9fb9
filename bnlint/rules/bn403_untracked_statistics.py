"""BatchNorm tracks no running statistics, and the model is evaluated.

What it finds
-------------
BatchNorm built with `track_running_stats=False` in a model that is evaluated in eval mode. Also the flag
that is set to False on a finished layer of a model that trains on.

Why it is wrong
---------------
Without running statistics eval mode normalises by the batch that it is given. What the model answers then
depends on the other samples of the batch, on its size and on the order of the data: for one sample, other
batch mates change the predicted class for 66 % of the samples at batch 2. A single value per channel
raises "Expected more than 1 value per channel".

Set on a finished layer the flag does something else: training stops to update the buffers, but eval still
normalises by them. A layer that was flipped before it was trained evaluates with mean 0 and variance 1.

Bad
---
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    net = nn.Sequential(
        nn.Linear(8, 16, bias=False),
        nn.BatchNorm1d(16, track_running_stats=False),
        nn.ReLU(),
        nn.Linear(16, 3),
    )


    @torch.no_grad()
    def evaluate(test_loader):
        net.eval()
        return sum(cross_entropy(net(rows), labels) for rows, labels in test_loader)

Good
----
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    net = nn.Sequential(
        nn.Linear(8, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 3),
    )


    @torch.no_grad()
    def evaluate(test_loader):
        net.eval()
        return sum(cross_entropy(net(rows), labels) for rows, labels in test_loader)

How to fix it
-------------
Leave `track_running_stats` at True. To normalise each sample by itself use GroupNorm or InstanceNorm, which
do the same in both modes; to freeze a layer call `eval()` on it.

When it is fine
---------------
Style transfer, generators, few-shot learning and adaptation at test time (TENT), which want the statistics
of the batch; a model that only trains. Whoever sets `running_mean` to None as well asks for them.

References
----------
- PyTorch, `BatchNorm2d`: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
- Wang et al., TENT: https://arxiv.org/abs/2006.10726
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Untracked
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "SR"


def check(facts: Facts) -> Iterator[Claim]:
    """A model that is evaluated with the statistics of the batch, or with those of long ago."""
    for untracked in facts.untracked:
        match untracked:
            case Untracked(how="built", meant="no"):
                yield Claim(untracked.where, _by_the_batch(untracked), untracked.path)
            case Untracked(how="flipped", trained="yes", meant="no"):
                yield Claim(untracked.where, _by_old_ones(untracked), untracked.path)


def _by_the_batch(untracked: Untracked) -> str:
    return (
        f"`track_running_stats=False` makes BatchNorm normalise by the batch in eval mode too: what "
        f"`{untracked.model}` answers for a sample depends on the others; leave the statistics on."
    )


def _by_old_ones(untracked: Untracked) -> str:
    return (
        f"`track_running_stats = False` on a finished layer only ends the updates: eval still normalises "
        f"`{untracked.model}` by the old `running_mean`, which training leaves behind; leave it True."
    )


MEAN = 2
"""That of the features: theirs is no more 0 than that of most data."""
BATCH = 30


def demonstrate(lab: Laboratory) -> Demonstration:
    """Networks with and without running statistics answer for the same samples in eval mode."""
    wrong, right = (_measured(lab, lab.BatchNorm1d(16, track_running_stats=on)) for on in (False, True))
    flipped = lab.BatchNorm1d(16)
    flipped.track_running_stats = False
    old = _measured(lab, flipped)
    labels = (
        f"correct in shuffled batches of {BATCH}",
        f"correct in batches of {BATCH}, sorted by class",
        "correct in shuffled batches of 2",
        "predictions that another mate in it changes",
    )
    return Demonstration(
        setting=(
            "A classifier (Linear, BatchNorm, ReLU, Linear) has learned to tell ten classes by features "
            f"around {MEAN}. In eval mode it answers for 300 new samples, in batches of several orders. Then "
            "the same with a layer whose flag was set to False behind its construction, before the training."
        ),
        columns=("wrong: untracked", "right: tracked"),
        rows=(
            *(Row(*cells) for cells in zip(labels, map(percent, wrong), map(percent, right), strict=True)),
            Row("correct where the flag is set later", percent(old[0]), percent(right[0])),
        ),
        claim=(
            f"Without running statistics eval mode is right for {percent(wrong[0])} of the samples in "
            f"shuffled batches, for {percent(wrong[1])} in batches sorted by class and for "
            f"{percent(wrong[2])} in pairs; with them for {percent(right[0])} in any."
        ),
        holds=(
            right[0] == right[1] == right[2] > 0.85
            and right[3] == 0
            and max(*wrong[1:3], old[0]) < right[0] - 0.25
            and wrong[3] > 0.4
        ),
        picture=Picture(
            kind="bars",
            title="Correct predictions for the same samples in eval mode",
            x="batches",
            y="correct predictions in %",
            series=(
                Series("wrong", [100 * share for share in wrong[:3]], name="untracked"),
                Series("right", [100 * share for share in right[:3]], name="tracked"),
            ),
            categories=(f"{BATCH}, shuffled", f"{BATCH}, sorted", "2, shuffled"),
        ),
    )


def _measured(lab: Laboratory, norm: Any) -> list[float]:
    """Correct predictions of a network with this layer in each order, and how many change in another one."""
    lab.restart()
    torch = lab.torch
    inputs, targets = lab.blobs(600, classes=10, spread=0.5)
    inputs += MEAN
    net = lab.classifier(classes=10)
    net[1] = norm
    lab.train(net, inputs[:300], targets[:300], steps=150)
    samples, targets = inputs[300:], targets[300:]
    order = torch.randperm(300)
    orders = ((order, BATCH), (targets.argsort(), BATCH), (order, 2), (torch.randperm(300), 2))
    answers = [_predicted(lab, net.eval(), samples, *each) for each in orders]
    correct = [float((answer == targets).double().mean()) for answer in answers[:3]]
    return [*correct, float((answers[2] != answers[3]).double().mean())]


def _predicted(lab: Laboratory, net: Any, samples: Any, order: Any, batch: int) -> Any:
    predicted = lab.torch.empty(len(samples), dtype=lab.torch.long)
    with lab.torch.no_grad():
        for chosen in order.split(batch):
            predicted[chosen] = net(samples[chosen]).argmax(1)
    return predicted
