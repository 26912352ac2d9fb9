"""An overriding `train()` or `eval()` loses the mode.

What it finds
-------------
A `train` or `eval` method of an nn.Module that never reaches `super()`, that takes `mode` and does the same
whatever it is, or that returns nothing.

Why it is wrong
---------------
`nn.Module.train(mode)` sets the flag of the module and of every module below it, and returns the module.
`eval()` is `train(False)`, so an override decides both. If it never reaches `super()`, no BatchNorm below
hears of the switch. If it ignores `mode`, `eval()` leaves BatchNorm in train mode, and each evaluation
uses, and pollutes, the statistics. If it returns nothing, `net = net.train()` and `net = Net().eval()` bind
None; the mode itself arrives, so this one is a warning.

Bad
---
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, bias=False)
            self.bn = nn.BatchNorm2d(16)

        def forward(self, x):
            return self.bn(self.conv(x)).relu()

        def train(self, mode=True):
            super().train(True)
            return self

Good
----
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, bias=False)
            self.bn = nn.BatchNorm2d(16)

        def forward(self, x):
            return self.bn(self.conv(x)).relu()

        def train(self, mode=True):
            super().train(mode)
            self.bn.eval()
            return self

How to fix it
-------------
Begin with `super().train(mode)`, add what is special, end with `return self`. Override `train` alone:
`eval()` calls it with False. Give another name to a method that runs the training.

When it is fine
---------------
A network that stays in eval mode whatever is asked (a frozen teacher or feature extractor): `return
super().train(False)` is the idiom, and it is not reported.

References
----------
- PyTorch, `Module.train`: https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.train
- PyTorch, `Module.eval`: https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Override
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "SR"


def check(facts: Facts) -> Iterator[Claim]:
    """An override with one of the three defects; the gravest one speaks."""
    for override in facts.overrides:
        if not override.always_eval and override.batchnorm != "no":
            yield from _defect(override)


def _defect(override: Override) -> Iterator[Claim]:
    """What is wrong with an override, gravest first; nothing where nothing is known to be.

    A mode that gets lost needs a BatchNorm to do harm; None in the place of `net` does not, but it bites
    only who chains the call: that is a warning.
    """
    name = f"`{override.cls}.{override.method}`"
    match override:
        case Override(reaches="no", batchnorm="yes"):
            message = (
                f"{name} never reaches `super().{override.method}()`: the layers below, BatchNorm included, "
                f"keep their mode; call it first, or rename a method that means something else."
            )
            yield Claim(override.where, message)
        case Override(method="train", honours="no", batchnorm="yes"):
            message = (
                f"{name} ignores its mode: `eval()` calls `train(False)` and BatchNorm stays as it was; "
                f"pass the mode on with `super().train(mode)`."
            )
            yield Claim(override.where, message)
        case Override(returns="nothing"):
            message = (
                f"{name} returns nothing: `net = net.{override.method}()` binds None, where torch returns "
                f"the module; end it with `return self`."
            )
            yield Claim(override.where, message, severity="warning")


BATCHES, SHIFT = 20, 2.0


def demonstrate(lab: Laboratory) -> Demonstration:
    """Shifted data are evaluated by two networks that were told `eval()`."""

    class Ignoring(lab.nn.Sequential):  # type: ignore[misc, name-defined]
        """As the Bad example."""

        def train(self, mode: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002
            return super().train(mode=True)

    wrong, right = (_running_means(lab, kind) for kind in (Ignoring, lab.nn.Sequential))
    expected = SHIFT * (1 - 0.9**BATCHES)
    return Demonstration(
        setting=(
            "A BatchNorm1d has learned the statistics of N(0, 1). Then eval() is called on the network "
            f"around it, and {BATCHES} batches from N({SHIFT:g}, 1) are evaluated. One network overrides "
            "train() and ignores mode."
        ),
        columns=("wrong: mode is ignored", "right: mode is passed on"),
        rows=(
            Row("running_mean before the evaluation", f"{wrong[0]:.2f}", f"{right[0]:.2f}"),
            Row("running_mean after the evaluation", f"{wrong[-1]:.2f}", f"{right[-1]:.2f}"),
        ),
        claim=(
            f"In spite of eval() the running mean goes from {wrong[0]:.2f} to {wrong[-1]:.2f} where train() "
            f"ignores mode (d(1 - 0.9^k) is {expected:.2f}); where it is passed on, the mean stays at "
            f"{right[-1]:.2f}."
        ),
        holds=abs(wrong[-1] - wrong[0] * 0.9**BATCHES - expected) < 0.1 and right[-1] == right[0],
        picture=Picture(
            kind="lines",
            title="running_mean while shifted data are evaluated",
            x="evaluated batches",
            y="running_mean",
            series=(
                Series("wrong", wrong, name="mode is ignored"),
                Series("right", right, name="mode is passed on"),
            ),
        ),
    )


def _running_means(lab: Laboratory, kind: Any) -> list[float]:
    """The running mean, averaged over channels, before the evaluation and after each batch of it."""
    lab.restart()
    norm = lab.BatchNorm1d(16)
    net = kind(norm)
    net.train()
    for _ in range(100):
        net(lab.torch.randn(32, 16))
    net.eval()
    means = [float(norm.running_mean.mean())]
    for _ in range(BATCHES):
        net(lab.torch.randn(32, 16) + SHIFT)
        means.append(float(norm.running_mean.mean()))
    return means
