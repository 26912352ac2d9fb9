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
from typing import TYPE_CHECKING, Any, Final

from bnlint.demonstration import Demonstration, Picture, Row, Series, percent
from bnlint.facts import Facts, Layer, Unregistered
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "error"
ENGINES = "SR"

HOLDERS: Final = {
    "list": ("stands in a plain list of", "wrap the list in `nn.ModuleList`"),
    "tuple": ("stands in a plain tuple of", "wrap it in `nn.ModuleList`"),
    "dict": ("stands in a plain dict of", "wrap the dict in `nn.ModuleDict`"),
    "object": ("is held by an object that is no module, in", "make it an attribute of the module"),
    "closure": (
        "is held where no module sees it (a closure, a global, another object), and used by",
        "make it an attribute of the module",
    ),
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


BATCHES = (1, 2, 8, 32)


def demonstrate(lab: Laboratory) -> Demonstration:
    """The network of the examples, its BatchNorm in a list and in a ModuleList, trained and evaluated."""
    inputs, targets = lab.blobs(264, classes=4, features=3 * 6 * 6)
    inputs = (inputs + targets[:, None] - 1.5).reshape(-1, 3, 6, 6)
    nets = [_network(lab, hold) for hold in (list, lab.nn.ModuleList)]
    shares, moved = [], []
    for net in nets:
        lab.restart()
        lab.train(net, inputs[:200], targets[:200], steps=40, batch=24)
        net.eval()
        seen = int(net.norms[0].num_batches_tracked)
        shares.append([_right(lab, net, inputs[200:], targets[200:], batch) for batch in BATCHES])
        moved.append(int(net.norms[0].num_batches_tracked) - seen)
    saved = [sum(name.startswith("norms") for name in net.state_dict()) for net in nets]
    trained = [sum(bool((norm.weight != 1).any()) for norm in net.norms) for net in nets]
    wrong, right = shares
    return Demonstration(
        setting=(
            "A network with two BatchNorm2d learns to tell pictures of four classes, which differ in "
            "brightness above all. After `eval()` it predicts 64 new ones, in batches of several sizes."
        ),
        columns=("wrong: list", "right: ModuleList"),
        rows=(
            *(
                Row(f"right answers, batches of {batch}", percent(one), percent(other))
                for batch, one, other in zip(BATCHES, wrong, right, strict=True)
            ),
            Row("batches that moved statistics after eval()", *map(str, moved)),
            Row("BatchNorm layers whose scale was trained", *map(str, trained)),
            Row("entries of BatchNorm in state_dict()", *map(str, saved)),
        ),
        claim=(
            f"`eval()` does not reach BatchNorm in a list: {percent(wrong[0])} of the answers are right in "
            f"batches of 1 and {percent(wrong[-1])} in batches of 32, where a ModuleList gives "
            f"{percent(right[0])} and {percent(right[-1])}; `state_dict()` holds {saved[0]} of its "
            f"{saved[1]} entries."
        ),
        holds=(
            wrong[0] < 0.5
            and wrong[-1] > wrong[0] + 0.25
            and min(right) > 0.9
            and len(set(right)) == 1
            and moved[0] == sum(-(-64 // batch) for batch in BATCHES)
            and moved[1] == 0
            and trained == [0, 2]
            and saved == [0, 10]
        ),
        picture=Picture(
            kind="bars",
            title="Right answers after eval()",
            x="batch size",
            y="right answers in %",
            series=(
                Series("wrong", [100 * share for share in wrong], name="list"),
                Series("right", [100 * share for share in right], name="ModuleList"),
            ),
            categories=tuple(map(str, BATCHES)),
        ),
    )


def _network(lab: Laboratory, hold: Any) -> Any:
    """The network of the examples with a Linear behind it, and the `norms` in a container of this type."""
    lab.restart()
    nn = lab.nn
    net = nn.Module()
    net.conv1, net.conv2 = nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)
    net.norms = hold([lab.BatchNorm2d(8), lab.BatchNorm2d(8)])
    net.head = nn.Linear(8, 4)

    def forward(x: Any) -> Any:
        x = net.norms[0](net.conv1(x)).relu()
        x = net.norms[1](net.conv2(x)).relu()
        return net.head(x.mean((2, 3)))

    net.forward = forward
    return net


def _right(lab: Laboratory, net: Any, samples: Any, targets: Any, batch: int) -> float:
    """The share of right answers in batches of this size."""
    with lab.torch.no_grad():
        answers = [net(some).argmax(1) for some in samples.split(batch)]
    return float((lab.torch.cat(answers) == targets).double().mean())
