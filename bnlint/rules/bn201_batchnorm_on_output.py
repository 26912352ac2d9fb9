"""BatchNorm normalises the model's own answer.

What it finds
-------------
A model whose answer (its logits, regression target or image) comes out of BatchNorm, possibly through an
activation, softmax, dropout, interpolation or reshapes. Typical: a conv-BatchNorm-ReLU block used again as
the head, or a loop that adds BatchNorm after every Linear, the last included.

Why it is wrong
---------------
The answer has to carry its own mean and scale, and BatchNorm takes both away: in train mode each output has
mean `bias` and deviation `weight` over the batch, whatever the batch holds. A batch of one class then
scores 8 % in train mode and 100 % in eval mode, and a regression to N(50, 10^2) starts at a mean squared
error of 2685. The error of one sample also flows into its batch mates. DCGAN leaves BatchNorm out of the
generator's output for the same reason.

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
from typing import Final

from bnlint.facts import Answer, Facts, Kind, Layer, Op, source_of
from bnlint.finding import Step
from bnlint.rule import Claim

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
