"""BatchNorm normalises the model's own answer.

What it finds
-------------
A model whose answer (its logits, regression target or image) comes out of BatchNorm, possibly through an
activation, softmax, dropout, interpolation or reshapes. Typical: a conv-BatchNorm-ReLU block used again as
the head, or a loop that adds BatchNorm after every Linear, the last included.

Why it is wrong
---------------
The answer has to carry its own mean and scale, and BatchNorm takes both away: in train mode each output has
mean `bias` and deviation `weight` over the batch, whatever the batch holds. Where a batch holds one class of
ten, the answers are then right about as often as guesses in train mode, and nearly all of them in eval mode.
A regression cannot follow the mean and scale of its targets, which differ from batch to batch. The error of
one sample also flows into its batch mates. DCGAN leaves BatchNorm out of the generator's output for the same
reason.

Bad
---
    from torch import nn


    class Classifier(nn.Module):
        def __init__(self, num_classes=10):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU())
            self.fc = nn.Linear(32, num_classes, bias=False)
            self.bn = nn.BatchNorm1d(num_classes)

        def forward(self, x):
            x = self.body(x)
            logits = self.bn(self.fc(x))
            return logits


    def train_step(model: Classifier, x, y):
        return nn.functional.cross_entropy(model(x), y)

Good
----
    from torch import nn


    class Classifier(nn.Module):
        def __init__(self, num_classes=10):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU())
            self.fc = nn.Linear(32, num_classes)

        def forward(self, x):
            x = self.body(x)
            logits = self.fc(x)
            return logits


    def train_step(model: Classifier, x, y):
        return nn.functional.cross_entropy(model(x), y)

How to fix it
-------------
End the model with the plain Linear or convolution, bias included. Where a block builds the head, build the
head from the layer itself; where a loop adds BatchNorm, leave the last turn out.

When it is fine
---------------
Outputs that are not answers: features of a backbone, residual branches, linear bottlenecks, embeddings
(BNNeck) and the projection heads of self-supervised learning, where BatchNorm comes last on purpose;
whitening with `affine=False`.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3.2: https://arxiv.org/abs/1502.03167
- Radford et al., DCGAN, section 3: https://arxiv.org/abs/1511.06434
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Answer, Facts, Kind, Layer, Op, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "SR"

THROUGH: Final[frozenset[Kind]] = frozenset(
    {"reshape", "dropout", "identity", "resample", "softmax", "activation"}
)
"""What may stand between BatchNorm and the answer without giving it a mean and a scale of its own."""


def check(facts: Facts) -> Iterator[Claim]:
    """An answer that comes out of a BatchNorm with scale and shift."""
    for answer in facts.answers:
        if not (answer.certain and answer.answers):
            continue
        for last in source_of(answer.chain, THROUGH):
            match last:
                case Op(kind="batchnorm", layer=Layer() as norm) if norm.value("affine") is True:
                    yield Claim(answer.where, _message(answer, norm), _evidence(answer, norm))


def _message(answer: Answer, norm: Layer) -> str:
    between = takewhile(lambda op: op.kind in THROUGH, answer.chain)
    after = [op.name for op in between if op.kind in {"activation", "softmax"}]
    ending = " and ".join([norm.cls, *reversed(after)])
    return (
        f"The answer of `{answer.model}` comes out of {ending}: over a batch its mean and scale are fixed, "
        f"whatever the batch holds; end the model with the plain layer, without BatchNorm."
    )


def _evidence(answer: Answer, norm: Layer) -> tuple[Step, ...]:
    made = () if norm.where == answer.where else (Step(norm.where, f"{norm.cls} is made here"),)
    return (*made, *answer.evidence, *answer.answers)


CLASSES = 10
TOGETHER = (1, 2, 5, 10)
"""How many classes a batch holds."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """Batches of few classes, and targets with a mean and a scale of their own, with either last layer."""
    inputs, targets = lab.blobs(600, CLASSES, spread=0.4)
    shares, evaluated, floors = [], [], []
    for normalized in (True, False):
        lab.restart()
        net = _network(
            lab, lab.nn.Linear(8, 32), lab.nn.ReLU(), lab.nn.Linear(32, CLASSES), normalized=normalized
        )
        lab.train(net, inputs[:300], targets[:300])
        shares.append([_right(lab, net.train(), inputs[300:], targets[300:], some) for some in TOGETHER])
        evaluated.append(_right(lab, net.eval(), inputs[300:], targets[300:], 1))
        floors.append(_regression(lab, normalized=normalized))
    wrong, right = shares
    return Demonstration(
        setting=(
            "A classifier of ten classes (Linear, ReLU, Linear) ends with BatchNorm or without; there is no "
            "other BatchNorm in it. After training it predicts batches of new samples that hold 1, 2, 5 or "
            "all classes: which share is right? Beside it a Linear, with BatchNorm or without, learns a "
            "regression to N(50, 10²) in batches of 8, with noise of variance 1 in the targets."
        ),
        columns=("wrong: BatchNorm last", "right: Linear last"),
        rows=(
            *(
                Row(f"right in train mode, classes: {some}", percent(one), percent(other))
                for some, one, other in zip(TOGETHER, wrong, right, strict=True)
            ),
            Row("right in eval mode, classes: 1", *map(percent, evaluated)),
            Row("squared error of the regression", *(f"{error:.1f}" for error in floors)),
        ),
        claim=(
            f"With BatchNorm last, {percent(wrong[0])} of the answers are right in train mode where a batch "
            f"holds one class, and {percent(evaluated[0])} in eval mode; without it {percent(right[0])} in "
            f"both. Regression comes down to a mean squared error of {floors[0]:.0f} with it and of "
            f"{floors[1]:.1f} without."
        ),
        holds=(
            wrong[0] < 0.25
            and min(evaluated) > 0.9
            and min(right) > 0.9
            and abs(right[0] - evaluated[1]) < 1e-9
            and floors[0] > 8 * floors[1]
        ),
        picture=Picture(
            kind="bars",
            title="Right answers in train mode",
            x="classes in the batch",
            y="right answers in %",
            series=(
                Series("wrong", [100 * share for share in wrong], name="BatchNorm last"),
                Series("right", [100 * share for share in right], name="Linear last"),
            ),
            categories=tuple(map(str, TOGETHER)),
        ),
    )


def _network(lab: Laboratory, *layers: Any, normalized: bool) -> Any:
    """The layers, and BatchNorm where it does not belong."""
    norm = [lab.BatchNorm1d(layers[-1].out_features)] if normalized else []
    return lab.nn.Sequential(*layers, *norm)


def _right(lab: Laboratory, net: Any, samples: Any, targets: Any, some: int) -> float:
    """The share of right answers in batches that hold so many classes each."""
    found = 0
    with lab.torch.no_grad():
        for first in range(0, CLASSES, some):
            chosen = (targets >= first) & (targets < first + some)
            found += int((net(samples[chosen]).argmax(1) == targets[chosen]).sum())
    return found / len(targets)


def _regression(lab: Laboratory, *, normalized: bool) -> float:
    """The mean squared error over the last 100 of 200 steps."""
    torch = lab.torch
    lab.restart()
    slopes = torch.randn(8)
    net = _network(lab, torch.nn.Linear(8, 1), normalized=normalized)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    errors = []
    for _ in range(200):
        inputs = torch.randn(8, 8)
        targets = 50 + 10 * inputs @ slopes / slopes.norm() + torch.randn(8)
        loss = (net(inputs)[:, 0] - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(loss.detach()))
    return sum(errors[-100:]) / 100
