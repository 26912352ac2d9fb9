"""The BatchNorm layers of a state dict, which only its names and shapes tell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bnlint.checkpoint.states import State
from bnlint.checkpoint.tensors import Tensor
from bnlint.facts import UNKNOWN, Answer3, Unknown

STATISTICS: Final = ("running_mean", "running_var")
COUNT: Final = "num_batches_tracked"
CALLED: Final = re.compile(r"(?:^|_)(?:bn|batch_?norm)s?(?:\d|_|$)", re.IGNORECASE)
"""How people call a BatchNorm: bn, bn1, conv_bn, batch_norm2, but not norm or ln."""
WRAPPERS: Final = ("module.", "_orig_mod.", "model.", "_forward_module.")
"""What wrappers put before the names of a model."""
ADAPTERS: Final = ("lora_", "adapter", "ia3_")
"""What names of entries hold whose base model is saved elsewhere."""


@dataclass(frozen=True, slots=True)
class Group:
    """The entries of one layer of a state dict: its path, and its tensors by their own names."""

    name: str
    parts: Mapping[str, Tensor]

    @property
    def unwrapped(self) -> str:
        """Its path without what wrappers put before it."""
        name = self.name
        while prefix := next((one for one in WRAPPERS if name.startswith(one)), ""):
            name = name.removeprefix(prefix)
        return name

    @property
    def missing(self) -> tuple[str, ...]:
        """Which of its running statistics are not there."""
        return tuple(name for name in STATISTICS if name not in self.parts)

    @property
    def tracks(self) -> bool:
        """Does it hold the running statistics of a BatchNorm?"""
        sizes = [self.parts[name].shape for name in STATISTICS if name in self.parts]
        return len(sizes) == 2 and sizes[0] == sizes[1] and len(sizes[0]) == 1 and sizes[0][0] > 0

    @property
    def channels(self) -> int:
        """How many channels its scale and its shift have; 0 where they are not those of a normalisation."""
        sizes = [self.parts[name].shape for name in ("weight", "bias") if name in self.parts]
        return sizes[0][0] if len(sizes) == 2 and sizes[0] == sizes[1] and len(sizes[0]) == 1 else 0

    @property
    def count(self) -> int | Unknown:
        """Its `num_batches_tracked`."""
        numbers = self.parts[COUNT].numbers() if COUNT in self.parts else ()
        return int(numbers[0]) if len(numbers) == 1 and numbers[0] - numbers[0] == 0 else UNKNOWN

    @property
    def trained(self) -> Answer3:
        """Have its scale and shift moved from (1, 0)?

        Only a shift that differs between channels proves it: scales are begun at 0, or at random.
        """
        weight, bias = (self.parts[n].numbers() if n in self.parts else () for n in ("weight", "bias"))
        if len(set(bias)) > 1:
            return "yes"
        return "no" if set(weight) == {1.0} and set(bias) == {0.0} else "unknown"


def groups(state: State) -> dict[str, Group]:
    """The layers of a state dict by their paths."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.tensors.items():
        layer, _, part = name.rpartition(".")
        parts.setdefault(layer, {})[part] = tensor
    return {layer: Group(layer, some) for layer, some in parts.items()}


def lacking(state: State) -> Iterator[tuple[Group, bool]]:
    """The BatchNorm layers whose running statistics are not in a state, and whether that is proved.

    A count of batches without statistics proves it, and one of both statistics where other layers have both.
    Else a layer has to be called like a BatchNorm and to fit a layer beside it, in a state in which no layer
    has statistics, or most that are called so.
    """
    if any(word in name for name in state.tensors for word in ADAPTERS):
        return
    found = groups(state)
    tracking = [group for group in found.values() if group.tracks]
    called = [group for group in found.values() if _called(group.name) and group.channels]
    without = {group.name for group in called if len(group.missing) == 2 and COUNT not in group.parts}
    named = not tracking or 2 * len(without) < len(called)
    for group in found.values():
        if group.missing and COUNT in group.parts:
            yield group, True
        elif len(group.missing) == 1:
            yield group, bool(tracking)
        elif named and group.name in without and _fits(group, state):
            yield group, False


def _called(layer: str) -> bool:
    """Does its name say BatchNorm? Numbers at the end are places in a list."""
    words = [word for word in layer.split(".") if not word.isdigit()]
    return bool(words and CALLED.search(words[-1]))


def _fits(group: Group, state: State) -> bool:
    """Is there a weight near it that makes or takes as many channels?"""
    parts = group.name.split(".")
    while parts and parts[-1].isdigit():
        parts.pop()
    for depth in (1, 2):
        beside = ".".join([*parts[:-depth], ""]) if len(parts) > depth else ""
        near = (one.shape for name, one in state.tensors.items() if name.startswith(beside))
        if any(len(shape) > 1 and group.channels in shape[:2] for shape in near):
            return True
    return False
