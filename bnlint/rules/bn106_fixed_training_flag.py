"""A batch normalisation that does the same in train mode and in eval mode.

What it finds
-------------
A module that computes batch normalisation itself and does the same in both modes: `F.batch_norm` with
`training=True` written down, `F.batch_norm` without `training` (torch's default is False) over running
statistics that nothing ever updates, or mean and variance of the batch written out in `forward`, with no
running statistics at all.

Why it is wrong
---------------
`eval()` sets `self.training`, and it is the module that has to pass it on. With True, evaluation
normalises by its own batch: what the model says of one sample depends on the samples beside it, a batch
of one has no variance, and each evaluation moves the running statistics. With False and nothing that
updates them, the running statistics stay at mean 0 and variance 1, in training too: nothing is normalised.

Bad
---
    import torch
    import torch.nn.functional as F
    from torch import nn


    class MyBatchNorm(nn.Module):
        def __init__(self, num_features):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(num_features))
            self.bias = nn.Parameter(torch.zeros(num_features))
            self.register_buffer("running_mean", torch.zeros(num_features))
            self.register_buffer("running_var", torch.ones(num_features))

        def forward(self, x):
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, training=True)

Good
----
    import torch
    import torch.nn.functional as F
    from torch import nn


    class MyBatchNorm(nn.Module):
        def __init__(self, num_features):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(num_features))
            self.bias = nn.Parameter(torch.zeros(num_features))
            self.register_buffer("running_mean", torch.zeros(num_features))
            self.register_buffer("running_var", torch.ones(num_features))

        def forward(self, x):
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, training=self.training
            )

How to fix it
-------------
Pass `training=self.training`. Where the moments are written out, keep running statistics in buffers,
update them in train mode and normalise by them in eval mode; or build on `nn.BatchNorm2d(affine=False)`
and apply the own scale and shift to what it returns.

When it is fine
---------------
Where there are no running statistics (`running_mean=None`), the batch is the only choice. Few-shot and
meta-learning, adaptation at test time and losses over a batch of embeddings normalise by the batch on
purpose; a frozen BatchNorm normalises by fixed statistics on purpose. A name that says so is heeded.

References
----------
- PyTorch, `F.batch_norm`: https://pytorch.org/docs/stable/generated/torch.nn.functional.batch_norm.html
- Ioffe and Szegedy, Batch Normalization, section 3.1: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Computed, Facts, Setting
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "SR"


def check(facts: Facts) -> Iterator[Claim]:
    """A normalisation that does the same in both modes, and not on purpose."""
    for norm in facts.computed:
        message = _defect(norm) if norm.meant == "no" else None
        if message is not None:
            yield Claim(norm.where, message, norm.evidence, measured=norm.measured).assuming(norm.assumed)


def _defect(norm: Computed) -> str | None:
    """What is wrong with a normalisation; None where nothing is known to be."""
    match norm:
        case Computed(how="functional", training=Setting(value=True), statistics="yes"):
            return (
                f"`{norm.cls}` normalises by the batch in eval mode too: `training` is always True here, and "
                f"each evaluation moves the running statistics; pass `training=self.training`."
            )
        case Computed(
            how="functional", training=Setting(value=False), statistics="yes", updated="no", trained="yes"
        ):
            flag = "always False here" if norm.training.given else "left out here, which means False"
            return (
                f"`{norm.cls}` never normalises by its batch: `training` is {flag}, and nothing updates its "
                f"running statistics; pass `training=self.training`."
            )
        case Computed(how="handwritten", training=Setting(value=True), statistics="no", trained="yes"):
            return (
                f"`{norm.cls}` normalises by the mean and variance of its batch in both modes: in evaluation "
                f"a sample's output depends on its batch; keep running statistics and use them in eval mode."
            )
        case Computed(how="handwritten", statistics="yes", trained="yes", measured=Mapping()):
            return (
                f"`{norm.cls}` keeps running statistics but normalises by its batch in eval mode too, where "
                f"a sample's output depends on its batch; use them where `self.training` is false."
            )
    return None


TIMES = 200


def demonstrate(lab: Laboratory) -> Demonstration:
    """One sample is asked for many times in eval mode, each time among others."""
    norm = lab.BatchNorm1d(4)
    for _ in range(100):
        norm(lab.torch.randn(16, 4))
    sample = lab.torch.randn(1, 4)
    wrong, wrong_moved = _answers(lab, norm, sample, fixed=True)
    right, right_moved = _answers(lab, norm, sample, fixed=False)
    spread = [float(lab.torch.tensor(answers).std()) for answers in (wrong, right)]
    return Demonstration(
        setting=(
            "A BatchNorm1d has learned the statistics of N(0, 1). In eval mode one sample is normalised "
            f"{TIMES} times, each time in a batch with 7 others from N(0, 1): with training=True whatever "
            "the mode, and with self.training passed on."
        ),
        columns=("wrong: training=True", "right: self.training"),
        rows=(
            Row("spread of the answer (standard deviation)", f"{spread[0]:.2f}", f"{spread[1]:.2f}"),
            Row("least answer", f"{min(wrong):.2f}", f"{min(right):.2f}"),
            Row("greatest answer", f"{max(wrong):.2f}", f"{max(right):.2f}"),
            Row("change of running_mean by evaluating", f"{wrong_moved:.2f}", f"{right_moved:.2f}"),
        ),
        claim=(
            f"With training=True one and the same sample is answered by anything from {min(wrong):.2f} "
            f"to {max(wrong):.2f} in eval mode, and the running mean moves; with self.training always by "
            f"{right[0]:.2f}."
        ),
        holds=spread[0] > 0.1 and wrong_moved > 0.01 and (right_moved, spread[1] < 1e-12) == (0, True),
        picture=Picture(
            kind="histogram",
            title="One sample, normalised among other samples in eval mode",
            x="first channel of the output",
            y="answers",
            series=(
                Series("wrong", wrong, name="training=True"),
                Series("right", right, name="self.training"),
            ),
        ),
    )


def _answers(lab: Laboratory, norm: Any, sample: Any, *, fixed: bool) -> tuple[list[float], float]:
    """The first channel of each answer, and how far the evaluation has moved its running mean."""
    lab.restart()
    norm = deepcopy(norm).eval()
    before, answers = norm.running_mean.clone(), []
    for _ in range(TIMES):
        x = lab.torch.cat([sample, lab.torch.randn(7, 4)])
        norm.train(fixed)  # training=True wins over the mode
        answers.append(float(norm(x)[0, 0].detach()))
    return answers, float((norm.running_mean - before).abs().max())
