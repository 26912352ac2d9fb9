"""BatchNorm inside a recurrent step.

What it finds
-------------
BatchNorm between a hidden state and the next one: in the forward of a recurrent cell, or in a loop over
time steps whose turns hand a normalised state to the next.

Why it is wrong
---------------
The distribution of a hidden state changes from step to step, most of all over the first ones. One
BatchNorm for all steps averages them into running statistics that fit none, and each step normalises with
them the result of the last: in eval mode the error grows along the sequence. Statistics of a padded batch
depend on how long its other sequences are. Recurrent networks normalise each sample by itself, with
LayerNorm.

Bad
---
    import torch
    from torch import nn


    class Cell(nn.Module):
        def __init__(self, inputs, hidden):
            super().__init__()
            self.new = nn.Linear(inputs, hidden, bias=False)
            self.old = nn.Linear(hidden, hidden, bias=False)
            self.norm = nn.BatchNorm1d(hidden)

        def forward(self, x):
            h = x.new_zeros(x.size(0), self.old.in_features)
            for t in range(x.size(1)):
                h = torch.tanh(self.norm(self.new(x[:, t]) + self.old(h)))
            return h

Good
----
    import torch
    from torch import nn


    class Cell(nn.Module):
        def __init__(self, inputs, hidden):
            super().__init__()
            self.new = nn.Linear(inputs, hidden, bias=False)
            self.old = nn.Linear(hidden, hidden, bias=False)
            self.norm = nn.LayerNorm(hidden)

        def forward(self, x):
            h = x.new_zeros(x.size(0), self.old.in_features)
            for t in range(x.size(1)):
                h = torch.tanh(self.norm(self.new(x[:, t]) + self.old(h)))
            return h

How to fix it
-------------
Use `nn.LayerNorm` (or `nn.GroupNorm` for maps) on the recurrent path. BatchNorm on what enters or leaves
the whole recurrent layer is fine; so is one BatchNorm for each step.

When it is fine
---------------
BatchNorm before a recurrent layer or behind it, on the inputs of a cell alone, and a list with a BatchNorm
of its own for each step, as Cooijmans et al. do it, are not reported. Nor are loops that refine one input
with shared weights and do not go over time.

References
----------
- Ba et al., Layer Normalization, section 3.1: https://arxiv.org/abs/1607.06450
- Cooijmans et al., Recurrent Batch Normalization, section 3: https://arxiv.org/abs/1603.09025
- Laurent et al., Batch Normalized Recurrent Neural Networks: https://arxiv.org/abs/1510.01378
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import Facts, Recurrent
from bnlint.finding import Step
from bnlint.rule import Claim

SEVERITY = "warning"
ENGINES = "SR"


def check(facts: Facts) -> Iterator[Claim]:
    """A BatchNorm on a recurrent path that is certainly not frozen."""
    for fact in facts.recurrent:
        if fact.frozen == "no":
            yield Claim(fact.where, _message(fact), _evidence(fact))


def _message(fact: Recurrent) -> str:
    where = "in each turn of a loop over time" if fact.how == "loop" else "in each step of a recurrent cell"
    return (
        f"This {fact.norm.cls} normalises the hidden state {where}: its statistics mix all steps, and in "
        f"eval mode what does not fit adds up along the sequence; use LayerNorm on the recurrent path."
    )


def _evidence(fact: Recurrent) -> tuple[Step, ...]:
    return (Step(fact.norm.where, f"the {fact.norm.cls} is built here, one for all steps"), fact.over)
