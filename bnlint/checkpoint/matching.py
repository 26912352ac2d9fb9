"""A state dict beside a live model: which entry is whose, whatever stands before their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from bnlint.checkpoint.layers import STATISTICS
from bnlint.checkpoint.states import State

COMPILED: Final = "_orig_mod."
"""What `torch.compile` puts into names, anywhere."""
ENOUGH: Final = 0.2
"""The share of a model's parameters from which on a state is taken to be its."""


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer of a live model that keeps running statistics: its path, class, and number of channels."""

    name: str
    cls: str
    channels: int | None


@dataclass(frozen=True, slots=True)
class Match:
    """How the names of a state go with those of a model: `ours` before the model's becomes `theirs`.

    `share` is the part of the model's parameters that the state has; `names` maps names without what
    compiling put into them to those of the state.
    """

    share: float
    theirs: str
    ours: str
    names: dict[str, str]

    def entry(self, name: str) -> str | None:
        """The name in the state of an entry of the model; None where it is not there."""
        name = name.replace(COMPILED, "")
        if not name.startswith(self.ours):
            return None
        return self.names.get(self.theirs + name.removeprefix(self.ours))

    def near(self, layer: str) -> bool:
        """Does the state hold a layer that stands beside one of the model?"""
        parent = layer.replace(COMPILED, "").rpartition(".")[0]
        beside = f"{parent}." if parent else ""
        if not beside.startswith(self.ours):
            return False
        beside = self.theirs + beside.removeprefix(self.ours)
        return any(name.startswith(beside) and name.count(".", len(beside)) < 2 for name in self.names)


def match(state: State, model: Any) -> Match:
    """The prefixes with which most of a model's parameters are found in a state.

    A wrapper puts a prefix before the names of the state ("module.", "model."), or the model has one that
    the state lacks.
    """
    names = {name.replace(COMPILED, ""): name for name in state.tensors}
    wanted = {name.replace(COMPILED, "") for name, _ in _entries(model)}
    votes: Counter[tuple[str, str]] = Counter()
    votes.update((prefix, "") for name in names for prefix, rest in _splits(name) if rest in wanted)
    votes.update(
        ("", prefix) for name in wanted for prefix, rest in _splits(name) if prefix and rest in names
    )
    if not votes:
        return Match(0.0, "", "", names)
    theirs, ours = min(votes, key=lambda pair: (-votes[pair], sum(map(len, pair)), pair))
    return Match(votes[theirs, ours] / len(wanted), theirs, ours, names)


def norms(model: Any) -> Iterator[Norm]:
    """The layers of a model that keep running statistics, and that `state_dict()` holds them of."""
    for name, module in model.named_modules():
        buffers = [module._buffers.get(part) for part in STATISTICS]  # noqa: SLF001  torch has no other way
        hidden = module._non_persistent_buffers_set  # noqa: SLF001
        if all(buffer is not None for buffer in buffers) and not hidden & set(STATISTICS):
            yield Norm(name, type(module).__name__, _channels(buffers[0]))


def _channels(buffer: Any) -> int | None:
    try:
        return int(buffer.shape[0])
    except (RuntimeError, IndexError):  # a lazy layer has not seen its input yet
        return None


def _entries(model: Any) -> list[tuple[str, Any]]:
    """The parameters of a model, or its buffers where it has none."""
    return list(model.named_parameters()) or list(model.named_buffers())


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """A name as a prefix and a rest, in every way: ("", "a.b"), ("a.", "b")."""
    at = 0
    while at >= 0:
        yield name[:at], name[at:]
        at = name.find(".", at) + 1 or -1
