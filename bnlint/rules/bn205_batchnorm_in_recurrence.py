"""BatchNorm inside a recurrent step.

What it finds
-------------
BatchNorm between a hidden state and the next one: in the forward of a recurrent cell, or in a loop over
time steps whose turns hand a normalised state to the next.

Why it is wrong
---------------
The distribution of a hidden state changes from step to step, most of all over the first ones. One
BatchNorm for all steps averages them into running statistics that fit none, and each step normalises with
them the result of the last: in eval mode the error is carried along the sequence, and grows where the state
has to remember. Statistics of a padded batch depend on how long its other sequences are. Recurrent networks
normalise each sample by itself, with LayerNorm.

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
from typing import TYPE_CHECKING, Any

from bnlint.demonstration import Demonstration, Picture, Row, Series
from bnlint.facts import Facts, Recurrent
from bnlint.finding import Step
from bnlint.rule import Claim

if TYPE_CHECKING:
    from bnlint.reference.laboratory import Laboratory

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
        f"eval mode they fit no single step; use LayerNorm on the recurrent path."
    )


def _evidence(fact: Recurrent) -> tuple[Step, ...]:
    return (Step(fact.norm.where, f"the {fact.norm.cls} is built here, one for all steps"), fact.over)


STEPS, UNITS = 12, 16


def demonstrate(lab: Laboratory) -> Demonstration:
    """A cell that has to remember its first input, with BatchNorm and with LayerNorm."""
    wrong, right = (_learned(lab, norm) for norm in (lab.BatchNorm1d, lab.nn.LayerNorm))
    return Demonstration(
        setting=(
            f"A recurrent cell of {UNITS} units learns to say after {STEPS} steps whether the first input "
            "was positive; later inputs are weak. Its running statistics then see 20 batches more. How far "
            "are the states in eval mode from those in train mode, which it learned with?"
        ),
        columns=("wrong: BatchNorm", "right: LayerNorm"),
        rows=(
            Row("difference of a state, step 1", f"{wrong[0][0]:.2f}", f"{right[0][0]:.2f}"),
            Row(f"difference of a state, step {STEPS}", f"{wrong[0][-1]:.2f}", f"{right[0][-1]:.2f}"),
            Row("loss in train mode", f"{wrong[1]:.2f}", f"{right[1]:.2f}"),
            Row("loss in eval mode", f"{wrong[2]:.2f}", f"{right[2]:.2f}"),
        ),
        claim=(
            f"With one BatchNorm for all steps, eval mode is off by {wrong[0][0]:.2f} after the first step "
            f"and by {wrong[0][-1]:.2f} after {STEPS}, and its loss is {wrong[2] / wrong[1]:.1f} times that "
            f"of train mode; with LayerNorm both modes agree."
        ),
        holds=(
            wrong[0][0] > 0.1
            and wrong[0][-1] > 1.05 * wrong[0][0]
            and wrong[2] > 1.15 * wrong[1]
            and max(right[0]) == 0
            and right[1] == right[2]
        ),
        picture=Picture(
            kind="lines",
            title="How far the states of eval mode are from those of train mode",
            x="time step",
            y="difference of a state (RMS)",
            series=(
                Series("wrong", wrong[0], range(1, STEPS + 1), "BatchNorm"),
                Series("right", right[0], range(1, STEPS + 1), "LayerNorm"),
            ),
        ),
    )


def _learned(lab: Laboratory, norm: Any) -> tuple[list[float], float, float]:
    """How far the states of both modes are apart by step (RMS), and the loss in train and in eval mode."""
    lab.restart()
    torch, nn = lab.torch, lab.nn
    cell = nn.ModuleDict(
        {
            "new": nn.Linear(4, UNITS, bias=False),
            "old": nn.Linear(UNITS, UNITS, bias=False),
            "norm": norm(UNITS),
        }
    )
    head = nn.Linear(UNITS, 1)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=0.01)
    for _ in range(100):
        inputs = _sequences(lab, 64)
        loss = _loss(lab, head, _states(lab, cell, inputs), inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        for _ in range(20):
            _states(lab, cell, _sequences(lab, 64))
        inputs = _sequences(lab, 256)
        evaluated = _states(lab, cell.eval(), inputs)
        trained = _states(lab, cell.train(), inputs)
        apart = (evaluated - trained).square().mean((1, 2)).sqrt().tolist()
        return apart, *(float(_loss(lab, head, states, inputs)) for states in (trained, evaluated))


def _sequences(lab: Laboratory, count: int) -> Any:
    """Noise that is small behind the first step, of shape (steps, count, 4)."""
    inputs = lab.torch.randn(STEPS, count, 4)
    inputs[1:] *= 0.3
    return inputs


def _states(lab: Laboratory, cell: Any, inputs: Any) -> Any:
    """The hidden states after each step, of shape (steps, count, units)."""
    states = [inputs.new_zeros(inputs.shape[1], UNITS)]
    for x in inputs:
        states.append(cell.norm(cell.new(x) + cell.old(states[-1])).tanh())
    return lab.torch.stack(states[1:])


def _loss(lab: Laboratory, head: Any, states: Any, inputs: Any) -> Any:
    """What the last states are worth for saying whether the first inputs were positive."""
    wanted = (inputs[0, :, 0] > 0).double()
    return lab.functional.binary_cross_entropy_with_logits(head(states[-1])[:, 0], wanted)
