"""Monte-Carlo dropout switches the whole model to train, BatchNorm included.

What it finds
-------------
A prediction that runs one input through a model several times to see how far the answers of Dropout spread,
while the model as a whole certainly is in train mode and has BatchNorm beside Dropout.

Why it is wrong
---------------
Monte-Carlo dropout needs Dropout in train mode, and nothing else. `train()` switches BatchNorm as well: it
then normalises with the mean and variance of the batch at hand, so that the answer and its spread depend on
the samples that happen to share the batch, which is no uncertainty of the model. Each pass also pulls the
running statistics towards that batch: after T passes of one input they have moved by 1 - 0.9^T of the way,
88 % for T = 20, and what the model answers in eval mode afterwards has changed. `torch.no_grad()` does not
stop that.

Bad
---
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU())
            self.drop = nn.Dropout(0.2)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.drop(self.body(x)))


    def predict_with_uncertainty(x, passes=20):
        net = Net()
        net.load_state_dict(torch.load("net.pt"))
        net.train()
        with torch.no_grad():
            answers = torch.stack([net(x).softmax(1) for _ in range(passes)])
        return answers.mean(0), answers.std(0)

Good
----
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU())
            self.drop = nn.Dropout(0.2)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.drop(self.body(x)))


    def predict_with_uncertainty(x, passes=20):
        net = Net()
        net.load_state_dict(torch.load("net.pt"))
        net.eval()
        for module in net.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        with torch.no_grad():
            answers = torch.stack([net(x).softmax(1) for _ in range(passes)])
        return answers.mean(0), answers.std(0)

How to fix it
-------------
Call `eval()` on the model, then `train()` on its Dropout modules alone; call `eval()` on the model again
behind the last pass.

When it is fine
---------------
Monte-Carlo BatchNorm, where the statistics of random training batches are what is sampled. A model without
BatchNorm may be switched as a whole.

References
----------
- Gal and Ghahramani, Dropout as a Bayesian Approximation: https://arxiv.org/abs/1506.02142
- PyTorch, evaluation mode: https://pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval
"""

from __future__ import annotations

from collections.abc import Iterator

from bnlint.facts import Facts
from bnlint.rule import Claim

SEVERITY = "warning"
ENGINES = "SW"


def check(facts: Facts) -> Iterator[Claim]:
    """Passes of Monte-Carlo dropout through a model whose BatchNorm is in train mode too."""
    for found in facts.passes:
        if found.batchnorm == "yes" and found.dropout == "yes":
            message = (
                f"Monte-Carlo dropout runs all of `{found.model}` in train mode: BatchNorm uses this batch's "
                f"statistics and updates the running ones; call `{found.model}.eval()`, then `train()` on "
                "the Dropout modules only."
            )
            yield Claim(found.where, message, (*found.path, found.why))
