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

from bnlint.facts import Facts, Snapshot, assumption
from bnlint.rule import Claim

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
