"""Running statistics are left out of what is saved or exchanged.

What it finds
-------------
A model's state that is saved, sent or copied by its parameters alone: `parameters()`, `named_parameters()`,
a filter on `requires_grad` (which lets nothing at all through of a plain `state_dict()`), or a filter of
keys that drops the statistics. Also a home-made normalisation whose running statistics are plain
attributes, or buffers with `persistent=False`. And a checkpoint that holds a BatchNorm without them.

Why it is wrong
---------------
`running_mean` and `running_var` are buffers, not parameters. What is rebuilt without them evaluates with
mean 0 and variance 1, or with the statistics of some other model: on reload the outputs of a small
classifier are off by 1.2 of their size, and most predictions change. In federated averaging the global
model keeps the statistics of whoever initialised it. `requires_grad` is False for every buffer, so that
filter drops them as well.

Bad
---
    import torch
    from torch import nn


    def save(path):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        torch.save(list(net.parameters()), path)

Good
----
    import torch
    from torch import nn


    def save(path):
        net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
        torch.save(net.state_dict(), path)

How to fix it
-------------
Take `state_dict()`, which holds parameters and buffers, and give it back with `load_state_dict()`. Where
parameters are copied one by one, copy `buffers()` the same way. A layer of your own registers its
statistics with `register_buffer("running_mean", ...)`.

When it is fine
---------------
Adapters whose base model is saved elsewhere with its statistics; a target network that keeps statistics of
its own by running in train mode; statistics recomputed behind the load with
`torch.optim.swa_utils.update_bn`. A normalisation that writes its statistics into the state by a method of
its own.

References
----------
- PyTorch, saving and loading models: https://pytorch.org/tutorials/beginner/saving_loading_models.html
- Ioffe and Szegedy, Batch Normalization, section 3.1: https://arxiv.org/abs/1502.03167
- Li et al., FedBN: https://arxiv.org/abs/2102.07623
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Lacking, Save, Unsaved, assumption
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "SRC"

TAKEN: Final = {
    "parameters": "the parameters",
    "trainable": "the values that require a gradient",
    "filtered": "the entries that the filter lets through",
}
WHY: Final = {"attributes": "plain attributes", "not persistent": "buffers with `persistent=False`"}
DONE: Final = {"saved": "saved", "exchanged": "passed on"}


def check(facts: Facts) -> Iterator[Claim]:
    """A model with BatchNorm of which the buffers stay behind."""
    for save in facts.saves:
        match save:
            case Save(
                what="parameters" | "trainable" | "nothing" | "filtered",
                how="saved" | "exchanged",
                buffers_beside="no",
                batchnorm="yes" | "unknown",
            ):
                yield _claim(save)
    for unsaved in facts.unsaved:
        match unsaved:
            case Unsaved(how="attributes" | "not persistent" as how, used="yes"):
                yield Claim(unsaved.where, _message(unsaved, WHY[how]))
    for lacking in facts.lacking:
        match lacking:
            case Lacking(against="", names=(_, *_)):
                yield _absent(lacking)


def _absent(lacking: Lacking) -> Claim:
    names = " and ".join(f"`{name}`" for name in lacking.names)
    are = "is" if len(lacking.names) == 1 else "are"
    message = (
        f"{names} of {lacking.norm.title} {are} not in {lacking.held}: what is restored from it evaluates "
        f"with mean 0 and variance 1; use the whole `state_dict()`."
    )
    return Claim(lacking.norm.where, message, lacking.path).assuming(lacking.assumed)


def _message(unsaved: Unsaved, why: str) -> str:
    mean, variance = unsaved.names
    cure = "use `register_buffer`" if unsaved.how == "attributes" else "leave `persistent` True"
    return (
        f"`{mean}` and `{variance}` of `{unsaved.cls}` are {why}, so `state_dict()` leaves them out and a "
        f"restored model evaluates without them; {cure}."
    )


def _claim(save: Save) -> Claim:
    message = _nothing(save) if save.what == "nothing" else _too_little(save)
    return Claim(save.where, message, save.path).assuming(assumption(save))


def _nothing(save: Save) -> str:
    return (
        f"Nothing of `{save.model}` is {DONE[save.how]}: the tensors of `state_dict()` are detached and none "
        f"requires a gradient, neither weights nor BatchNorm's `running_mean`; leave the filter out."
    )


def _too_little(save: Save) -> str:
    return (
        f"Of `{save.model}` only {TAKEN[save.what]} are {DONE[save.how]}: BatchNorm's `running_mean` and "
        f"`running_var` are buffers and stay behind; use `{save.model}.state_dict()`."
    )


MEAN = 2
"""That of the features: theirs is no more 0 than that of most data."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """A network that was saved by its parameters, and by its state."""
    inputs, targets = lab.blobs(600, classes=10, spread=0.5)
    inputs += MEAN
    net = lab.classifier(classes=10)
    lab.train(net, inputs[:300], targets[:300], steps=200)
    parameters, state = lab.reread(list(net.parameters())), lab.reread(net.state_dict())
    wrong, right = lab.classifier(classes=10), lab.classifier(classes=10)
    for empty, saved in zip(wrong.parameters(), parameters, strict=True):
        empty.data.copy_(saved)
    right.load_state_dict(state)
    outputs = [one.eval()(inputs[300:]).detach() for one in (net, wrong, right)]
    before, *after = outputs
    error = [float((one - before).norm() / before.norm()) for one in after]
    changed = [float((one.argmax(1) != before.argmax(1)).double().mean()) for one in after]
    correct = [lab.accuracy(one, inputs[300:], targets[300:]) for one in (wrong, right)]
    shown = [one[:10].flatten().tolist() for one in outputs]
    return Demonstration(
        setting=(
            "A classifier (Linear, BatchNorm, ReLU, Linear) has learned to tell ten classes by features "
            f"around {MEAN}, and is saved. A new one gets what the file holds, and both answer for 300 new "
            "samples in eval mode."
        ),
        columns=("wrong: parameters()", "right: state_dict()"),
        rows=(
            Row("tensors in the file", str(len(parameters)), str(len(state))),
            Row("error of the outputs, relative", *(f"{value:.2f}" for value in error)),
            Row("predictions that changed", *map(percent, changed)),
            Row("correct predictions", *map(percent, correct)),
        ),
        claim=(
            f"Saved without its running statistics the network comes back with outputs that are off by "
            f"{error[0]:.2f} of their size, and {percent(changed[0])} of the predictions are others; with "
            f"them the difference is {error[1]:.0f}."
        ),
        holds=error[0] > 0.5 and changed[0] > 0.3 and error[1] == changed[1] == 0,
        picture=Picture(
            kind="scatter",
            title="What the network answers before and after",
            x="output before it was saved",
            y="output after",
            series=(
                Series("wrong", shown[1], shown[0], name="parameters()"),
                Series("right", shown[2], shown[0], name="state_dict()"),
            ),
        ),
    )
