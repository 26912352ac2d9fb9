"""The running statistics hold NaN, infinity, or a negative variance.

What it finds
-------------
A `running_mean` or `running_var` that is NaN or infinite, or a variance below 0, in a live model or in a
checkpoint; and a batch of the loader that would put a NaN or an infinity there.

Why it is wrong
---------------
The running average of NaN and anything is NaN: one bad batch is enough, and no later one heals it. In train
mode nothing shows, because that normalises with the batch's own statistics; in eval mode the channel answers
NaN. An infinite variance makes it answer its shift whatever comes in: a `running_var` above 65504 becomes
infinite when a checkpoint is stored as fp16.

Bad
---
    import torch
    from torch import nn

    STAGE = "eval"


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Linear(8, 16, bias=False)
            self.bn = nn.BatchNorm1d(16)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.bn(self.features(x)).relu())


    def model():
        torch.manual_seed(0)
        net = Net()
        for _ in range(50):
            net(1000 * torch.randn(32, 8))
        state = {name: value.half() for name, value in net.state_dict().items()}
        net.load_state_dict(state)
        return net.eval()


    def loader():
        return [1000 * torch.randn(32, 8) for _ in range(4)]

Good
----
    import torch
    from torch import nn

    STAGE = "eval"


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Linear(8, 16, bias=False)
            self.bn = nn.BatchNorm1d(16)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.bn(self.features(x)).relu())


    def model():
        torch.manual_seed(0)
        net = Net()
        for _ in range(50):
            net(torch.randn(32, 8))
        state = {name: value.half() for name, value in net.state_dict().items()}
        net.load_state_dict(state)
        return net.eval()


    def loader():
        return [torch.randn(32, 8) for _ in range(4)]

How to fix it
-------------
Go back to a checkpoint from before. Or call `reset_running_stats()`, and let clean data run through the model
in train mode (`torch.optim.swa_utils.update_bn`). Find the batch that did it: corrupt files, a division by
the deviation of a constant, a learning rate at which activations overflow. Store statistics as float32 (or
bfloat16, which has its range).

When it is fine
---------------
Never: a channel with such statistics answers nothing that depends on its input.

References
----------
- Ioffe and Szegedy, Batch Normalization, section 3.1: https://arxiv.org/abs/1502.03167
- PyTorch, `update_bn`: https://pytorch.org/docs/stable/optim.html#torch.optim.swa_utils.update_bn
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isinf, isnan
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Statistics
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "RWC"


def check(facts: Facts) -> Iterator[Claim]:
    """Statistics that are no numbers, or of which a batch would make none."""
    for fact in facts.statistics:
        kinds = {kind: channels for kind, channels in _poison(fact).items() if channels}
        if kinds:
            yield _claim(fact, kinds)
        elif fact.poisoned:
            yield _threatened(fact)


def _poison(fact: Statistics) -> dict[str, set[int]]:
    """The channels with each kind of poison."""
    both = [*enumerate(fact.mean), *enumerate(fact.var)]
    return {
        "NaN": {channel for channel, value in both if isnan(value)},
        "infinite": {channel for channel, value in both if isinf(value)},
        "negative (a variance)": {channel for channel, value in enumerate(fact.var) if -inf < value < 0},
    }


def _claim(fact: Statistics, kinds: dict[str, set[int]]) -> Claim:
    of = max(len(fact.mean), len(fact.var))
    channels = len(set().union(*kinds.values()))
    range_ = ", for fp16 ends at 65504" if "infinite" in kinds and fact.dtype == "float16" else ""
    lasting = (
        "and no later batch heals them" if kinds.keys() & {"NaN", "infinite"} else "which no batch gives"
    )
    message = (
        f"Running statistics of {fact.norm.title} of {fact.held} are {' or '.join(kinds)} in {channels} of "
        f"{of} channels{range_}, {lasting}; use an earlier checkpoint, or call "
        f"`reset_running_stats()` and `update_bn`."
    )
    return Claim(fact.norm.where, message, measured={"channels": channels, "of": of})


def _threatened(fact: Statistics) -> Claim:
    cause = fact.poisoned[:1].upper() + fact.poisoned[1:].rstrip(".")
    message = (
        f"{cause}: in train mode the running statistics of {fact.norm.title} take it in and never lose it; "
        f"leave such batches out, or check what makes them."
    )
    return Claim(fact.norm.where, message)


MEAN, BAD, LAST = 2, 10, 60
"""The mean of the features; the batch with one NaN; the last batch of the training."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """One NaN in one batch of a training, and a variance that fp16 cannot hold."""
    wrong, right = (_trained(lab, skips=skips) for skips in (False, True))
    broken = [int(means[-1].isnan().sum()) for means, _ in (wrong, right)]
    stored = lab.torch.tensor([90000.0]).half().double()
    outputs = [_output(lab, variance) for variance in (stored, lab.torch.tensor([90000.0]))]
    return Demonstration(
        setting=(
            f"A classifier of three classes is trained for {LAST} batches. One value of batch {BAD} is NaN: "
            "no step is made on its loss, or the batch is left out. And a BatchNorm1d with a running_var of "
            "90000 is stored as fp16, and as float32; it gets 300, one standard deviation."
        ),
        columns=("wrong: NaN let in; fp16", "right: batch left out; float32"),
        rows=(
            Row("channels of 16 that are NaN at the end", *map(str, broken)),
            Row("correct predictions", *(percent(correct) for _, correct in (wrong, right))),
            Row("running_var after it was stored", f"{float(stored):.0f}", "90000"),
            Row("output for 300", *(f"{output:.2f}" for output in outputs)),
        ),
        claim=(
            f"One NaN in batch {BAD} leaves {broken[0]} of 16 channels NaN {LAST - BAD} batches later, and "
            f"{percent(wrong[1])} of the predictions right instead of {percent(right[1])}; a running_var of "
            f"90000 in fp16 is {float(stored):.0f} and the output {outputs[0]:.0f} instead of "
            f"{outputs[1]:.2f}."
        ),
        holds=(
            broken == [16, 0] and wrong[1] < right[1] - 0.2 and outputs[0] == 0 and abs(outputs[1] - 1) < 1e-3
        ),
        picture=Picture(
            kind="lines",
            title=f"running_mean of one channel; the line that ends becomes NaN in batch {BAD}",
            x="batch",
            y="running_mean",
            series=(
                Series("wrong", wrong[0][:, 0].tolist(), name="NaN let in"),
                Series("right", right[0][:, 0].tolist(), name="batch left out"),
            ),
        ),
    )


def _trained(lab: Laboratory, *, skips: bool) -> tuple[Any, float]:
    """The running means after each batch, of shape (batches, channels), and how much is right in the end."""
    lab.restart()
    inputs, targets = lab.blobs(600, spread=0.5)
    inputs += MEAN
    net = lab.classifier()
    means = []
    for batch in range(LAST):
        if batch == BAD:
            bad = inputs[:32].clone()
            bad[0, 0] = float("nan")
            if not skips:
                net(bad)
        else:
            lab.train(net, inputs[:300], targets[:300], steps=1)
        means.append(net[1].running_mean.clone())
    return lab.torch.stack(means), lab.accuracy(net.eval(), inputs[300:], targets[300:])


def _output(lab: Laboratory, variance: Any) -> float:
    """What eval answers to one standard deviation of a variance of 90000 (1 value)."""
    norm = lab.BatchNorm1d(1).eval()
    norm.running_var.copy_(variance)
    return float(norm(lab.torch.full((1, 1), 300.0)))
