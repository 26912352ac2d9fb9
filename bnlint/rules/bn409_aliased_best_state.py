"""The best state of a model is kept without a copy, and moves on with the model.

What it finds
-------------
`best = model.state_dict()`, also in a shallow copy (`dict(...)`, `.copy()`) or as `best = model`, that is
loaded, saved or returned after the model was trained further.

Why it is wrong
---------------
`state_dict()` holds the model's own tensors, not copies of them. Every later step changes them in place,
the weights as well as BatchNorm's `running_mean` and `running_var`. What is restored as the best state is
the last one: loading it back changes nothing at all. Early stopping then hands out the model that made it
stop.

Bad
---
    from torch import nn
    from torch.nn.functional import cross_entropy
    from torch.optim import SGD


    def fit(loader, score):
        net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        optimizer = SGD(net.parameters(), lr=0.1)
        best, best_state = 0.0, None
        for _ in range(90):
            for rows, labels in loader:
                optimizer.zero_grad()
                cross_entropy(net(rows), labels).backward()
                optimizer.step()
            if score(net) > best:
                best, best_state = score(net), net.state_dict()
        net.load_state_dict(best_state)
        return net

Good
----
    from copy import deepcopy

    from torch import nn
    from torch.nn.functional import cross_entropy
    from torch.optim import SGD


    def fit(loader, score):
        net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        optimizer = SGD(net.parameters(), lr=0.1)
        best, best_state = 0.0, None
        for _ in range(90):
            for rows, labels in loader:
                optimizer.zero_grad()
                cross_entropy(net(rows), labels).backward()
                optimizer.step()
            if score(net) > best:
                best, best_state = score(net), deepcopy(net.state_dict())
        net.load_state_dict(best_state)
        return net

How to fix it
-------------
Keep `copy.deepcopy(model.state_dict())`, or write it to a file at once with `torch.save`.

When it is fine
---------------
A state that is saved or loaded before the next step; one that is meant to follow the model.

References
----------
- PyTorch, saving and loading models ("returns a reference to the state and not its copy"):
  https://pytorch.org/tutorials/beginner/saving_loading_models.html
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Snapshot, assumption
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

SEVERITY = "warning"
ENGINES = "S"


def check(facts: Facts) -> Iterator[Claim]:
    """State of a model with BatchNorm that is used after the model has moved on."""
    for snapshot in facts.snapshots:
        match snapshot:
            case Snapshot(batchnorm="yes" | "unknown"):
                claim = Claim(snapshot.where, _message(snapshot), snapshot.path)
                yield claim.assuming(assumption(snapshot))


def _message(snapshot: Snapshot) -> str:
    model = snapshot.model
    if snapshot.of == "model":
        return (
            f"`{snapshot.name}` is only another name of `{model}`, which trains on: its weights and its "
            f"BatchNorm statistics keep moving; keep a `copy.deepcopy` of the model."
        )
    kept = f"`{snapshot.name}`" if snapshot.name else "This state"
    then = "trains on" if snapshot.moved == "trained" else "gets another state"
    return (
        f"{kept} holds the tensors of `{model}` itself, which {then}: weights and BatchNorm statistics move "
        f"with it; keep a `copy.deepcopy` of the state."
    )


EPOCHS = 90
LEARNED = 30
"""How many samples it trains on: few, so that it soon learns them by heart."""


def demonstrate(lab: Laboratory) -> Demonstration:
    """A network that trains too long, whose best state is kept by its name and in a copy."""
    inputs, targets = lab.blobs(LEARNED + 400, spread=2.0)
    net = lab.classifier(hidden=64)
    known, new = (inputs[:LEARNED], targets[:LEARNED]), (inputs[LEARNED:], targets[LEARNED:])
    losses, kept, copied = [], {}, {}
    for _ in range(EPOCHS):
        lab.train(net.train(), *known, steps=2, batch=LEARNED // 2)
        losses.append(_loss(lab, net, *new))
        if losses[-1] == min(losses):
            kept, copied = net.state_dict(), deepcopy(net.state_dict())
    best = losses.index(min(losses))
    moved = [_distance(state["1.running_mean"], copied["1.running_mean"]) for state in (kept, copied)]
    restored = []
    for state in (kept, copied):
        net.load_state_dict(state)
        restored.append(_loss(lab, net, *new))
    return Demonstration(
        setting=(
            f"A classifier trains for {EPOCHS} epochs on {LEARNED} samples of three classes, which it learns "
            "by heart. Whenever its loss on 400 others is the lowest so far, its state is kept; at the end "
            "the kept state is loaded."
        ),
        columns=("wrong: state_dict()", "right: deepcopy(...)"),
        rows=(
            Row(f"loss after epoch {best + 1}, the best one", f"{losses[best]:.3f}", f"{losses[best]:.3f}"),
            Row(f"loss after epoch {EPOCHS}, the last one", f"{losses[-1]:.3f}", f"{losses[-1]:.3f}"),
            Row("loss with the kept state", *(f"{loss:.3f}" for loss in restored)),
            Row("what running_mean has moved since", *(f"{value:.2f}" for value in moved)),
        ),
        claim=(
            f"The state that was kept without a copy has the loss of the last epoch, {restored[0]:.3f}, and "
            f"not that of epoch {best + 1}, {restored[1]:.3f}, which the copy has."
        ),
        holds=(
            restored[0] == losses[-1]
            and restored[1] == losses[best]
            and losses[-1] > 1.05 * losses[best]
            and moved[0] > 0.01
            and moved[1] == 0
        ),
        picture=Picture(
            kind="lines",
            title="Loss on samples that were not trained on",
            x="epoch",
            y="loss",
            series=(
                Series("truth", losses, range(1, EPOCHS + 1), name="after each epoch"),
                Series("wrong", [restored[0]] * 2, (best + 1, EPOCHS), name="kept state"),
                Series("right", [restored[1]] * 2, (best + 1, EPOCHS), name="kept copy"),
            ),
        ),
    )


def _distance(one: Any, other: Any) -> float:
    return float((one - other).norm())


def _loss(lab: Laboratory, net: Any, inputs: Any, targets: Any) -> float:
    return float(lab.functional.cross_entropy(net.eval()(inputs), targets))
