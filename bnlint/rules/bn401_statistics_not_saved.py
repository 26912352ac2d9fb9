"""Running statistics are left out of what is saved or exchanged.

What it finds
-------------
A model's state that is saved, sent or copied by its parameters alone: `parameters()`, `named_parameters()`,
a filter on `requires_grad` (which lets nothing at all through of a plain `state_dict()`), or a filter of
keys that drops the statistics. Also a home-made normalisation whose running statistics are plain
attributes, or buffers with `persistent=False`.

Why it is wrong
---------------
`running_mean` and `running_var` are buffers, not parameters. What is rebuilt without them evaluates with
mean 0 and variance 1, or with the statistics of some other model: on reload the relative error of the
output is 1.57, and half of the predictions change. In federated averaging the global model keeps the
statistics of whoever initialised it. `requires_grad` is False for every buffer, so that filter drops them
as well.

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
from typing import Final

from bnlint.facts import Facts, Save, Unsaved, assumption
from bnlint.rule import Claim

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


def _message(unsaved: Unsaved, why: str) -> str:
    mean, variance = unsaved.names
    return (
        f"`{mean}` and `{variance}` of `{unsaved.cls}` are {why}, so `state_dict()` leaves them out and a "
        f"restored model evaluates without them; use `register_buffer`."
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
