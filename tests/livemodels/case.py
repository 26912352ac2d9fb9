"""A live model with its label, and what cases are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, TensorDataset

Build = Callable[[], tuple[nn.Module, Iterable[Any]]]


@dataclass(frozen=True)
class Case:
    """A model, a loader, how they are checked, and the label.

    Each entry of `must` has to be found: a code, `A|B` where either says it, with `@path` where the layer
    at that path has to be named. `may` holds codes that are true but need not be said; any other is a
    false alarm. `arguments` are those of `check`; model and loader are made and checked in `around()`.
    `broken` says that a forward of the model raises in the modes that it names; `raises` is what comes out of
    `check`, because the user's code raises it.
    """

    name: str
    build: Build
    must: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    arguments: Mapping[str, Any] | Callable[[nn.Module], Mapping[str, Any]] | None = None
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    broken: str = ""
    raises: tuple[type[BaseException], ...] = ()

    def keywords(self, model: nn.Module) -> dict[str, Any]:
        """The keyword arguments of `check`, which may depend on the model."""
        return dict(self.arguments(model) if callable(self.arguments) else self.arguments or {})


class Cases:
    """The cases of one file; a builder is entered by decorating it."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __call__(self, must: str = "", *, may: str = "", **rest: Any) -> Callable[[Build], Build]:
        def enter(build: Build) -> Build:
            case = Case(build.__name__, build, tuple(must.split()), tuple(may.split()), **rest)
            self.cases.append(case)
            return build

        return enter


EVAL = {"stage": "eval"}


def images(
    batch: int = 16, *, channels: int = 3, size: int = 12, classes: int = 5, batches: int = 3
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of (images, labels)."""
    return [
        (torch.randn(batch, channels, size, size), torch.randint(classes, (batch,))) for _ in range(batches)
    ]


def vectors(
    batch: int = 16, *, features: int = 10, classes: int = 5, batches: int = 3
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of (vectors, labels)."""
    return [(torch.randn(batch, features), torch.randint(classes, (batch,))) for _ in range(batches)]


def dataset(length: int, *shape: int, classes: int = 5) -> TensorDataset:
    """A data set of that many samples and labels."""
    return TensorDataset(torch.randn(length, *shape), torch.randint(classes, (length,)))


def data_loader(length: int, *shape: int, batch: int = 16, **rest: Any) -> DataLoader[Any]:
    """A DataLoader over a data set of that many samples."""
    return DataLoader(dataset(length, *shape), batch_size=batch, **rest)


class ConvBlock(nn.Sequential):
    """Convolution, BatchNorm and ReLU, as they should stand."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, **rest: Any) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **rest),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Head(nn.Sequential):
    """Pooled maps to logits."""

    def __init__(self, inputs: int, classes: int = 5) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class Classifier(nn.Module):
    """A healthy classifier of images."""

    def __init__(self, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.stem = ConvBlock(3, width)
        self.block = ConvBlock(width, width)
        self.head = Head(width, classes)

    def forward(self, x):
        return self.head(self.block(self.stem(x)))


class MLP(nn.Sequential):
    """A healthy classifier of vectors."""

    def __init__(self, features: int = 10, classes: int = 5) -> None:
        super().__init__(
            nn.Linear(features, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes)
        )


def call(model: nn.Module, batch: Any) -> Any:
    """What people expect of a batch: the inputs by position, a dict by the names of parameters."""
    parameters = inspect.signature(model.forward).parameters.values()
    if isinstance(batch, Mapping):
        return model(
            **{parameter.name: batch[parameter.name] for parameter in parameters if parameter.name in batch}
        )
    if isinstance(batch, tuple | list):
        needed = sum(p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty for p in parameters)
        return model(*batch[: max(needed, 1)])
    return model(batch)


def settled(model: nn.Module, loader: Iterable[Any], forward: Callable[..., Any] = call) -> nn.Module:
    """The model in eval mode, its statistics exactly those of the loader, its scales and shifts moved."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.8, 1.2)
            nn.init.normal_(norm.bias, std=0.1)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
    model.train()
    with torch.no_grad():
        for batch in loader:
            forward(model, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


def fitted(model: nn.Module, loader: Iterable[Any], *, epochs: int = 10, rate: float = 0.1) -> nn.Module:
    """The model after real training on (inputs, labels), still in train mode."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], rate)
    with torch.enable_grad():
        for _ in range(epochs):
            for inputs, labels in loader:
                optimizer.zero_grad()
                functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()
    optimizer.zero_grad()
    return model
