"""The running statistics of a home-made BatchNorm are not buffers.

What it finds
-------------
Running statistics that are plain attributes, buffers that are not persistent, or parameters that take
gradients.

Why it is wrong
---------------
Plain attributes are not in `state_dict()`: a checkpoint lacks them, and the model that is loaded from it
evaluates with mean 0 and variance 1. `.to(device)` and `.half()` leave them behind. Parameters are moved by
the optimizer.

Bad
---
    import torch
    from torch import nn


    class BatchNorm(nn.Module):
        def __init__(self, num_features, eps=1e-5, momentum=0.1):
            super().__init__()
            self.eps, self.momentum = eps, momentum
            self.weight = nn.Parameter(torch.ones(num_features))
            self.bias = nn.Parameter(torch.zeros(num_features))
            self.running_mean = torch.zeros(num_features)
            self.running_var = torch.ones(num_features)

        def forward(self, x):
            if self.training:
                if len(x) == 1:
                    raise ValueError("expected more than 1 value per channel")
                mean, var = x.mean(0), x.var(0, unbiased=False)
                with torch.no_grad():
                    self.running_mean += self.momentum * (mean - self.running_mean)
                    self.running_var += self.momentum * (x.var(0) - self.running_var)
            else:
                mean, var = self.running_mean, self.running_var
            return self.weight * (x - mean) / torch.sqrt(var + self.eps) + self.bias

Good
----
    import torch
    from torch import nn


    class BatchNorm(nn.Module):
        def __init__(self, num_features, eps=1e-5, momentum=0.1):
            super().__init__()
            self.eps, self.momentum = eps, momentum
            self.weight = nn.Parameter(torch.ones(num_features))
            self.bias = nn.Parameter(torch.zeros(num_features))
            self.register_buffer("running_mean", torch.zeros(num_features))
            self.register_buffer("running_var", torch.ones(num_features))

        def forward(self, x):
            if self.training:
                if len(x) == 1:
                    raise ValueError("expected more than 1 value per channel")
                mean, var = x.mean(0), x.var(0, unbiased=False)
                with torch.no_grad():
                    self.running_mean += self.momentum * (mean - self.running_mean)
                    self.running_var += self.momentum * (x.var(0) - self.running_var)
            else:
                mean, var = self.running_mean, self.running_var
            return self.weight * (x - mean) / torch.sqrt(var + self.eps) + self.bias

How to fix it
-------------
`self.register_buffer("running_mean", torch.zeros(num_features))` in `__init__`, and the same for the
variance. Later assignments to `self.running_mean` then replace the buffer.

When it is fine
---------------
Where the statistics are saved and moved by code of your own.

References
----------
- PyTorch, `register_buffer`: https://pytorch.org/docs/stable/generated/torch.nn.Module.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Kept
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "H"


def check(facts: Facts) -> Iterator[Claim]:
    """Running statistics that no `state_dict()` holds, or that an optimizer moves."""
    for layer in facts.homemade:
        wrong = [(kept.name, fault) for kept in layer.statistics if (fault := _fault(kept))]
        if wrong:
            names = " and ".join(f"`{name}`" for name, _ in wrong)
            yield Claim(layer.where, f"`{layer.cls}` keeps {names} as {wrong[0][1]}.")


def _fault(kept: Kept) -> str:
    """What is wrong with how a statistic is held; empty where nothing is."""
    match kept:
        case Kept(how="attribute"):
            return (
                "a plain attribute: `state_dict()` does not save it and `.to()` leaves it behind; use "
                "`register_buffer`"
            )
        case Kept(how="not persistent"):
            return "a buffer with `persistent=False`: `state_dict()` does not save it; leave that out"
        case Kept(how="parameter", trained="yes"):
            return "a parameter that takes gradients: an optimizer moves it; use `register_buffer`"
    return ""


MEAN = 3.0
"""Of the features, so that the running statistics are not what they are at the start."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """A network is saved, and a new one loads it."""
    wrong, right = (_reloaded(lab, kind) for kind in (_homemade(lab), lab.BatchNorm1d))
    error = [float((one.after - one.before).norm() / one.before.norm()) for one in (wrong, right)]
    changed = [float((one.after.argmax(1) != one.before.argmax(1)).double().mean()) for one in (wrong, right)]
    shown = [
        (one.before[:10].flatten().tolist(), one.after[:10].flatten().tolist()) for one in (wrong, right)
    ]
    return Demonstration(
        setting=(
            "A classifier (Linear, BatchNorm, ReLU, Linear) has learned to tell ten classes by features "
            f"around {MEAN:g}. A new one loads its state_dict(), strictly, and both answer for 300 new "
            "samples in eval mode. The home-made layer keeps its running statistics as plain attributes."
        ),
        columns=("wrong: attributes", "right: buffers"),
        rows=(
            Row("running statistics in state_dict()", str(wrong.saved), str(right.saved)),
            Row("keys that are missed in loading", str(wrong.missed), str(right.missed)),
            Row("error of the outputs, relative", f"{error[0]:.2f}", f"{error[1]:.2f}"),
            Row("predictions that changed", *map(percent, changed)),
            Row("correct predictions after", percent(wrong.correct), percent(right.correct)),
            Row("type of running_mean after .half()", wrong.halved, right.halved),
        ),
        claim=(
            f"The state holds {wrong.saved} of the 2 running statistics and is loaded without an error; then "
            f"{percent(changed[0])} of the predictions are others, and {percent(wrong.correct)} are right in "
            f"place of {percent(right.correct)}. With buffers {percent(changed[1])} change."
        ),
        holds=(
            (wrong.saved, right.saved) == (0, 2)
            and wrong.missed == right.missed == 0
            and changed[0] > 0.3
            and error[0] > 0.5
            and changed[1] == error[1] == 0
            and wrong.correct < right.correct - 0.3
            and wrong.halved != right.halved
        ),
        picture=Picture(
            kind="scatter",
            title="What the network answers before it is saved and after",
            x="output before",
            y="output after",
            series=(
                Series("wrong", shown[0][1], shown[0][0], name="attributes"),
                Series("right", shown[1][1], shown[1][0], name="buffers"),
            ),
        ),
    )


def _homemade(lab: Laboratory) -> Any:
    """The layer of the Bad example: the reference, but for where it keeps its statistics."""

    class HomeMade(lab.BatchNorm1d):  # type: ignore[misc, name-defined]
        def __init__(self, num_features: int) -> None:
            super().__init__(num_features)
            del self.running_mean, self.running_var
            self.running_mean: Any = lab.torch.zeros(num_features)
            self.running_var: Any = lab.torch.ones(num_features)

    return HomeMade


@dataclass(frozen=True, slots=True)
class _Reloaded:
    """What came of it.

    Attributes:
        before: what the network answered, of shape (samples, classes).
        after: what the new one answers that loaded its state.
        correct: the share of right answers of the new one.
        saved: how many running statistics the state holds.
        missed: how many keys were missed in loading.
        halved: the type of the running mean after `half()`.

    """

    before: Any
    after: Any
    correct: float
    saved: int
    missed: int
    halved: str


def _reloaded(lab: Laboratory, kind: Any) -> _Reloaded:
    """Train, save and load a network with such a layer."""
    lab.restart()
    inputs, targets = lab.blobs(600, classes=10, spread=0.5)
    inputs += MEAN
    old, new = (lab.classifier(classes=10, norm=kind) for _ in range(2))
    lab.train(old, inputs[:300], targets[:300], steps=200)
    state = lab.reread(old.state_dict())
    missed = new.load_state_dict(state).missing_keys
    before, after = (net.eval()(inputs[300:]).detach() for net in (old, new))
    correct = lab.accuracy(new, inputs[300:], targets[300:])
    saved = sum(name in state for name in ("1.running_mean", "1.running_var"))
    halved = str(new.half()[1].running_mean.dtype).removeprefix("torch.")
    return _Reloaded(before, after, correct, saved, len(missed), halved)
