"""Where demonstrations run: the reference layers, a seed, and what several demonstrations need."""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bnlint.reference import BatchNorm1d, BatchNorm2d, BatchNorm3d
from bnlint.reference.isolation import undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from bnlint.demonstration import Demonstration


class HomeMade(BatchNorm1d):
    """BatchNorm of (N, C) as people write it, each step by itself: a demonstration does one of them wrong."""

    running_mean: Any
    running_var: Any
    weight: Any
    bias: Any
    momentum: Any

    def refuse(self, x: Tensor) -> None:
        """Raise ValueError for one value per channel."""
        if len(x) == 1:
            raise ValueError("expected more than 1 value per channel")

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the variance that normalise in train mode, of shape (C,) each."""
        return x.mean(0), x.var(0, unbiased=False)

    def tracked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the variance that enter the running ones."""
        return x.mean(0), x.var(0)

    def known(self, x: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002  others look at the batch
        """The mean and the variance that normalise in eval mode."""
        return self.running_mean, self.running_var

    def update(self, x: Tensor) -> None:
        """Move the running statistics."""
        with torch.no_grad():
            mean, var = self.tracked(x)
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_var += self.momentum * (var - self.running_var)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, scale and shift."""
        if self.training:
            self.refuse(x)
            mean, var = self.statistics(x)
            self.update(x)
        else:
            mean, var = self.known(x)
        output: Tensor = self.weight * (x - mean) / torch.sqrt(var + self.eps) + self.bias
        return output


class Laboratory:
    """What a demonstration gets: torch, the reference layers, and random numbers that depend on `seed` alone.

    Attributes:
        seed: from which torch's generator starts.
        torch: torch itself, for rules, which do not import it; `nn` and `functional` likewise.
        BatchNorm1d: the reference layer for (N, C) and (N, C, L).
        BatchNorm2d: the reference layer for (N, C, H, W).
        BatchNorm3d: the reference layer for (N, C, D, H, W).
        HomeMade: a layer for (N, C) whose steps can be done wrong.

    """

    BatchNorm1d: type[Any] = BatchNorm1d
    BatchNorm2d: type[Any] = BatchNorm2d
    BatchNorm3d: type[Any] = BatchNorm3d
    HomeMade: type[Any] = HomeMade

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.torch: ModuleType = torch
        self.nn: ModuleType = nn
        self.functional: ModuleType = nn.functional

    def restart(self) -> None:
        """Draw the same random numbers again."""
        torch.manual_seed(self.seed)

    def blobs(
        self, samples: int, classes: int = 3, features: int = 8, spread: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Points around the centres of classes: inputs of shape (samples, features), and their classes.

        Centres are drawn from N(0, 1), points from N(centre, spread²): the larger the spread, the more the
        classes overlap. Each class has as many samples as the next, and their order is random.
        """
        centres = torch.randn(classes, features)
        targets = torch.arange(samples)[torch.randperm(samples)] % classes
        return centres[targets] + spread * torch.randn(samples, features), targets

    def images(self, samples: int, size: int = 8, spread: float = 1.0) -> Tensor:
        """Images of shape (samples, 3, size, size) whose pixels are alike, as those of photographs are.

        Each image has a colour, drawn from N(0, 1) for each of its channels, and each of its pixels is drawn
        from N(colour, spread²).
        """
        return torch.randn(samples, 3, 1, 1) + spread * torch.randn(samples, 3, size, size)

    def error_of_mean(self, size: int, batches: int = 60, channels: int = 32) -> float:
        """How far the mean by which BatchNorm normalises `size` values is from the true one, as a deviation.

        The values are drawn from N(0, 1): the true mean is 0, and the unit is their standard deviation.
        """
        norm, means = self.BatchNorm1d(channels, momentum=1.0), []
        for _ in range(batches):
            norm(torch.randn(size, channels))
            means.append(norm.running_mean.clone())
        return float(torch.stack(means).square().mean().sqrt())

    def classifier(
        self, features: int = 8, hidden: int = 16, classes: int = 3, norm: Callable[[int], Any] = BatchNorm1d
    ) -> Any:
        """Linear, BatchNorm, ReLU, Linear: the smallest network in which BatchNorm stands where it should.

        `norm` makes its BatchNorm, given the number of channels.
        """
        return nn.Sequential(
            nn.Linear(features, hidden, bias=False),
            norm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def reread(self, what: Any) -> Any:
        """What `torch.load` gives of what `torch.save` wrote."""
        file = BytesIO()
        torch.save(what, file)
        file.seek(0)
        return torch.load(file, weights_only=True)

    def train(  # noqa: PLR0913
        self,
        net: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        *,
        steps: int = 100,
        batch: int = 32,
        rate: float = 0.1,
    ) -> list[float]:
        """Train a classifier as it stands, in the mode that it is in: `steps` of SGD; the loss of each.

        Each batch is drawn at random from the samples, none of them twice in one batch.
        """
        optimizer = torch.optim.SGD(net.parameters(), lr=rate)
        losses = []
        for _ in range(steps):
            chosen = torch.randperm(len(inputs))[:batch]
            loss = nn.functional.cross_entropy(net(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    def accuracy(self, net: nn.Module, inputs: Tensor, targets: Tensor) -> float:
        """The share of samples whose class is predicted rightly, in the mode that the network is in."""
        with torch.no_grad():
            return float((net(inputs).argmax(1) == targets).double().mean())


@contextmanager
def opened(seed: int = 0) -> Iterator[Laboratory]:
    """A laboratory to work in: one core, double precision, and torch's generator at the seed.

    Double precision, so that the digits that are shown are the same on every machine. Afterwards the process
    is as it was: random numbers, grad mode, default type, number of threads.
    """
    threads = torch.get_num_threads()
    with undisturbed():
        try:
            torch.set_num_threads(1)
            torch.set_default_dtype(torch.float64)
            lab = Laboratory(seed)
            lab.restart()
            yield lab
        finally:
            torch.set_num_threads(threads)


def perform(demonstrate: Callable[[Any], Demonstration], seed: int = 0) -> Demonstration:
    """Run one demonstration from a seed."""
    with opened(seed) as lab:
        return demonstrate(lab)
