"""The normalisations by batch statistics that a live model has: torch's layers, and home-made ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from bnlint.facts import UNKNOWN
from bnlint.trace.layers import batchnorms, is_batchnorm

if TYPE_CHECKING:
    from bnlint.facts import Answer3, Unknown
    from bnlint.trace.seen import Application, Pass


@dataclass(frozen=True, eq=False, slots=True)
class Norm:
    """A layer of the model that normalises by batches, and its running statistics, of shape (channels,).

    `call` is the first application of a home-made layer, one that hands buffers of its own to `F.batch_norm`.
    """

    module: nn.Module
    path: str
    mean: Tensor | None
    var: Tensor | None
    call: Application | None = None

    @property
    def parameters(self) -> list[Tensor]:
        """Scale and shift, if there are any."""
        return list(self.module.parameters(recurse=False))

    @property
    def takes_gradients(self) -> bool:
        """Is a scale or a shift to be trained?"""
        return any(one.requires_grad for one in self.parameters)

    @property
    def trained(self) -> Answer3:
        """Have scale or shift learned anything? Before, they are the same for all channels."""
        known = [one.detach() for one in self.parameters if not one.is_meta and one.numel()]
        if not known:
            return "unknown"
        return "yes" if any(bool((one != one.flatten()[0]).any()) or _is_odd(one) for one in known) else "no"

    @property
    def is_initial(self) -> bool:
        """Are the running statistics those of a new layer, (0, 1)?"""
        if self.mean is None or self.var is None:
            return False
        return bool((self.mean == 0).all()) and bool((self.var == 1).all())

    @property
    def tracks(self) -> bool:
        """Is the flag set that has the statistics updated?"""
        return bool(getattr(self.module, "track_running_stats", True))

    @property
    def buffers(self) -> dict[str, Tensor]:
        """The running statistics that are to be saved, by name."""
        hidden = self.module._non_persistent_buffers_set  # noqa: SLF001
        own = {id(self.mean), id(self.var)}
        return {
            name: buffer
            for name, buffer in self.module._buffers.items()  # noqa: SLF001
            if buffer is not None and id(buffer) in own and name not in hidden
        }

    @property
    def count(self) -> int | Unknown:
        """`num_batches_tracked`; UNKNOWN where the layer has none."""
        count = getattr(self.module, "num_batches_tracked", None)
        return int(count) if isinstance(count, Tensor) and not count.is_meta else UNKNOWN


def _learns(one: Application) -> bool:
    """Has a home-made layer anything that moves? One that is frozen has buffers alone."""
    return one.training or any(True for _ in (one.module or nn.Module()).parameters(recurse=False))


def _is_odd(values: Tensor) -> bool:
    """Is a scale or a shift of one value neither 0 nor 1?"""
    return float(values.flatten()[0]) not in {0.0, 1.0}


def norms(model: nn.Module, passes: list[Pass]) -> dict[str, Norm]:
    """Every such layer by its path, in the order of the model."""
    known = batchnorms(model)
    homemade = {
        id(one.module): one
        for seen in passes
        for one in reversed(seen.applications)
        if one.module is not None and one.keeps and not is_batchnorm(one.module) and _learns(one)
    }
    found = {}
    for path, module in model.named_modules():
        if path in known:
            found[path] = Norm(module, path, _tensor(module, "running_mean"), _tensor(module, "running_var"))
        elif id(module) in homemade:
            one = homemade[id(module)]
            found[path] = Norm(module, path, one.running_mean, one.running_var, one)
    return found


def _tensor(module: nn.Module, name: str) -> Tensor | None:
    """A tensor of a layer that has values."""
    value = getattr(module, name, None)
    return value if isinstance(value, Tensor) and not value.is_meta else None
