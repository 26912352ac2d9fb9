"""A BatchNorm that its module does not know.

What it finds
-------------
BatchNorm layers that an nn.Module keeps in a plain list, tuple or dict, hides in a closure, or makes anew
in `forward`.

Why it is wrong
---------------
A module finds its children only where they are registered: as attributes, in ModuleList or ModuleDict, in
containers. A BatchNorm elsewhere is absent from `state_dict()` (its statistics are not saved), from
`parameters()` (its scale and shift are not trained), from `.to()` (it stays on the CPU) and from `eval()`:
it goes on normalising with each batch, and moving its statistics, while the rest of the network is
evaluated. One made in `forward` starts from nothing at each call.

Bad
---
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, bias=False)
            self.conv2 = nn.Conv2d(16, 16, 3, bias=False)
            self.norms = [nn.BatchNorm2d(16), nn.BatchNorm2d(16)]

        def forward(self, x):
            x = self.norms[0](self.conv1(x)).relu()
            return self.norms[1](self.conv2(x)).relu()

Good
----
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, bias=False)
            self.conv2 = nn.Conv2d(16, 16, 3, bias=False)
            self.norms = nn.ModuleList([nn.BatchNorm2d(16), nn.BatchNorm2d(16)])

        def forward(self, x):
            x = self.norms[0](self.conv1(x)).relu()
            return self.norms[1](self.conv2(x)).relu()

How to fix it
-------------
Wrap a list in `nn.ModuleList`, a dict in `nn.ModuleDict`; make layers in `__init__` and not in `forward`.

When it is fine
---------------
A teacher that is kept out of the parameters on purpose, in eval mode and without gradients; a list that is
unpacked into `nn.Sequential` or only holds other names of registered children.

References
----------
- PyTorch, `ModuleList`: https://pytorch.org/docs/stable/generated/torch.nn.ModuleList.html
- PyTorch, `ModuleDict`: https://pytorch.org/docs/stable/generated/torch.nn.ModuleDict.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bnlint.facts import Facts, Layer, Unregistered
from bnlint.finding import Step
from bnlint.rule import Claim

SEVERITY = "error"
ENGINES = "SR"

HOLDERS: Final = {
    "list": ("stands in a plain list of", "wrap the list in `nn.ModuleList`"),
    "tuple": ("stands in a plain tuple of", "wrap it in `nn.ModuleList`"),
    "dict": ("stands in a plain dict of", "wrap the dict in `nn.ModuleDict`"),
    "closure": ("is hidden in a closure of", "make it an attribute of the module"),
}


def check(facts: Facts) -> Iterator[Claim]:
    """A BatchNorm with a state, out of its module's sight."""
    for found in facts.unregistered:
        if not _is_stateless(found.layer):
            yield Claim(found.layer.where, _message(found), _evidence(found))


def _evidence(found: Unregistered) -> tuple[Step, ...]:
    """Where the list is, if that is not on the line of the finding."""
    made, holder = found.layer.where, found.holder
    if holder is None or (holder.filename, holder.row) == (made.filename, made.row):
        return ()
    return (Step(holder, f"the {found.held} is written here"),)


def _is_stateless(layer: Layer) -> bool:
    """Whether the layer has nothing to save, to move or to switch."""
    return layer.value("affine") is False and layer.value("track_running_stats") is False


def _message(found: Unregistered) -> str:
    if found.held == "forward":
        return (
            f"{found.layer.cls} is made anew at each call of `{found.owner}`: it never learns its "
            f"statistics, scale or shift; make it once, in `__init__`."
        )
    held, advice = HOLDERS[found.held]
    return (
        f"{found.layer.cls} {held} `{found.owner}`: `state_dict()`, `parameters()`, `.to()` and `eval()` do "
        f"not reach it; {advice}."
    )
