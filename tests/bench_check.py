"""What `bnlint.check` costs beside the forwards that it makes, side by side in CPU time.

    python tests/bench_check.py [ROUNDS] [BATCHES]

A healthy network like ResNet-50 (batches of 8 images of 128×128) is checked in both stages, with one thread
and with two. The network notes the forwards of the check, their modes, their grad modes and their batches;
then the same forwards are made plainly, in turns with the check, so that both meet the same machine. Shown
are the medians, their ratio, and that of the least values, which others on the machine disturb least. The
same with few batches gives a second point: the line through both is so much per forward, and a constant.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from livemodels.case import settled
from torch import nn

import bnlint

FEW = 2
"""Batches of the second point."""


class Bottleneck(nn.Module):
    """ResNet's: 1x1, 3x3, 1x1, each with BatchNorm, and a sum."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.shortcut is None else self.shortcut(x)
        return self.relu(y)


@dataclass(frozen=True)
class Forward:
    """One forward that a check made."""

    inputs: torch.Tensor
    training: bool
    grad: bool


class Network(nn.Sequential):
    """A network like ResNet-50: 53 BatchNorm layers, 25.6 million parameters; it can note its forwards.

    The class notes them, not a hook: a check may put hooks aside, or run a copy.
    """

    noted: ClassVar[list[Forward] | None] = None

    def __init__(self) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(3, 64, 7, 2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, padding=1),
        ]
        channels = 64
        for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for number in range(depth):
                layers.append(Bottleneck(channels, width, 1 if number else stride))
                channels = 4 * width
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))

    def forward(self, x):
        if Network.noted is not None:
            Network.noted.append(Forward(x.detach().clone(), self[1].training, torch.is_grad_enabled()))
        return super().forward(x)


def counted(check: Callable[[], Any]) -> list[Forward]:
    """The forwards that a check makes of the network, or of a copy of it."""
    Network.noted = []
    check()
    made, Network.noted = Network.noted, None
    return made


def plainly(model: nn.Module, forwards: list[Forward]) -> None:
    """The same forwards, and nothing else."""
    for forward in forwards:
        if model.training != forward.training:
            model.train(forward.training)
        with torch.set_grad_enabled(forward.grad):
            model(forward.inputs)


def spent(work: Callable[[], Any]) -> float:
    """CPU seconds of all threads."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(
    model: nn.Module, loader: list[Any], stage: str, batches: int, rounds: int
) -> tuple[float, float]:
    """The medians of a check and of its forwards made plainly, in turns."""

    def check() -> Any:
        return bnlint.check(model, loader, stage=stage, max_batches=batches)

    forwards, training = counted(check), model.training
    pairs = []
    for number in range(rounds + 1):
        works = [check, lambda: plainly(model, forwards)]
        order = (0, 1) if number % 2 else (1, 0)
        times = {which: spent(works[which]) for which in order}
        model.train(training)
        pairs.append((times[0], times[1]))
    columns = tuple(zip(*pairs[1:], strict=True))  # the first warms up
    checks, plain = map(statistics.median, columns)
    least = min(columns[0]) / min(columns[1])
    kinds = {(f.training, f.grad, len(f.inputs)) for f in forwards}
    print(
        f"  {batches} batches: {checks:.2f} s against {plain:.2f} s of {len(forwards)} forwards, "
        f"{checks / plain:.3f} times (least: {least:.3f}); (training, grad, samples): {sorted(kinds)}"
    )
    return checks, plain


def main() -> None:
    """Measure."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    batches = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    torch.manual_seed(0)
    model = Network()
    loader = [(torch.randn(8, 3, 128, 128), torch.randint(1000, (8,))) for _ in range(batches)]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for stage in ("train", "eval"):
            print(f"{stage}, {threads} thread{'s' * (threads > 1)}")
            settled(model, loader[:1]).train(stage == "train")
            many = measure(model, loader, stage, batches, rounds)
            few = measure(model, loader, stage, FEW, rounds)
            slope = (many[0] - few[0]) / (many[1] - few[1])
            print(f"  {slope:.3f} times the plain forwards, and {few[0] - slope * few[1]:+.2f} s")


if __name__ == "__main__":
    main()
