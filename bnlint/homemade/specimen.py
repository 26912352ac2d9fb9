"""A layer that somebody has written, as a thing to be tried: its call, its mode and its tensors."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

if TYPE_CHECKING:
    from collections.abc import Iterator

Held = Literal["parameter", "buffer", "not persistent", "attribute"]
"""How a layer holds a tensor."""
Layout = Literal["first", "last"]
"""Where the channels of an input stand: behind the samples, or last."""

DEPTH = 3
"""How deep tensors are looked for in objects that are no modules."""
SWITCHES = ("training", "is_training", "train", "mode", "training_mode")
"""Parameters of `forward` that set the mode."""
EVAL_WORDS = ("eval", "test", "inference")
"""What `mode` may be called that is not "train"."""


class CannotRunError(Exception):
    """What the layer gave back is not an output of a normalisation."""


@dataclass(slots=True)
class Specimen:
    """A layer, and how it is called; inputs and outputs have their channels behind the samples."""

    layer: Any
    layout: Layout = "first"
    training: bool = True
    switch: str | None = field(init=False)

    def __post_init__(self) -> None:
        self.switch = _switch(self.layer)

    def train(self, mode: bool = True) -> Specimen:  # noqa: FBT001, FBT002  as torch's
        """Put it into train or eval mode, in whatever way it has."""
        self.training = mode
        if isinstance(self.layer, nn.Module):
            self.layer.train(mode)
        elif callable(getattr(self.layer, "train", None)):
            (self.layer.train if mode else self.layer.eval)()
        elif hasattr(self.layer, "training"):
            self.layer.training = mode
        return self

    @property
    def has_modes(self) -> bool:
        """Is there any way to put it into eval mode?"""
        return (
            isinstance(self.layer, nn.Module)
            or self.switch is not None
            or hasattr(self.layer, "training")
            or (callable(getattr(self.layer, "train", None)) and callable(getattr(self.layer, "eval", None)))
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Its output; what was given is left alone."""
        x = x.clone()
        given = x.movedim(1, -1) if self.layout == "last" else x
        grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
        try:
            y = self._forward(given)
        except SystemExit as problem:
            raise CannotRunError("it ends the process") from problem
        finally:
            torch.set_grad_enabled(grad)
            torch.set_default_dtype(dtype)
        if isinstance(y, (tuple, list)) and y:
            y = y[0]
        if not isinstance(y, Tensor):
            raise CannotRunError(f"it returned {type(y).__name__}, not a tensor")
        if y.shape != given.shape:
            raise CannotRunError(f"it returned the shape {tuple(y.shape)} for {tuple(given.shape)}")
        return y.movedim(-1, 1) if self.layout == "last" else y

    def _forward(self, x: Tensor) -> Any:
        """Call it, with the mode where that is an argument, in the first word for it that is understood."""
        forward = self.layer if callable(self.layer) else self.layer.forward
        if self.switch is None:
            return forward(x)
        if self.switch != "mode":
            return forward(x, **{self.switch: self.training})
        *words, last = ("train",) if self.training else EVAL_WORDS
        for word in words:
            try:
                return forward(x, mode=word)
            except Exception:  # noqa: S112  another word may be the right one
                continue
        return forward(x, mode=last)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that it holds, by its dotted name."""
        return {name: tensor for name, (tensor, _) in self._held().items() if not is_lazy(tensor)}

    @property
    def waits(self) -> bool:
        """Are there tensors whose size only the first input decides?"""
        return any(is_lazy(tensor) for tensor, _ in self._held().values())

    def held(self, name: str) -> Held:
        """How it holds a tensor."""
        return self._held()[name][1]

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of all tensors."""
        return {name: tensor.detach().clone() for name, tensor in self.tensors().items()}

    def write(self, name: str | None, values: Tensor) -> None:
        """Give a tensor other values."""
        if name is not None:
            tensor = self.tensors()[name].data
            tensor.copy_(values.reshape(tensor.shape))

    def _held(self) -> dict[str, tuple[Tensor, Held]]:
        found: dict[str, tuple[Tensor, Held]] = {}
        if isinstance(self.layer, nn.Module):
            for path, module in self.layer.named_modules():
                found |= _of_module(module, f"{path}." if path else "")
        else:
            found |= {name: (tensor, "attribute") for name, tensor in _loose(vars(self.layer), "", DEPTH)}
        return found


def _switch(layer: Any) -> str | None:
    """The parameter of `forward` that sets the mode, if there is one."""
    forward = layer.forward if hasattr(layer, "forward") else layer
    try:
        names = inspect.signature(forward).parameters
    except (TypeError, ValueError):
        return None
    return next((name for name in SWITCHES if name in names), None)


def _of_module(module: nn.Module, prefix: str) -> dict[str, tuple[Tensor, Held]]:
    """The tensors of one module, without those of its children."""
    own = vars(module)
    found: dict[str, tuple[Tensor, Held]] = {}
    for name, parameter in own["_parameters"].items():
        if parameter is not None:
            found[prefix + name] = (parameter, "parameter")
    for name, buffer in own["_buffers"].items():
        if buffer is not None:
            hidden = name in own["_non_persistent_buffers_set"]
            found[prefix + name] = (buffer, "not persistent" if hidden else "buffer")
    plain = {name: value for name, value in own.items() if not name.startswith("_") or _tensor(value)}
    for name, tensor in _loose(plain, prefix, DEPTH):
        found[name] = (tensor, "attribute")
    return found


def _tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _loose(values: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Tensors in attributes, in lists and dicts, and in objects of the user's own."""
    for name, value in values.items():
        match value:
            case Tensor():
                yield f"{prefix}{name}", value
            case nn.Module():
                pass
            case list() | tuple() if depth:
                yield from _loose({str(i): one for i, one in enumerate(value)}, f"{prefix}{name}.", depth - 1)
            case dict() if depth:
                some = {str(key): one for key, one in value.items()}
                yield from _loose(some, f"{prefix}{name}.", depth - 1)
            case object(__dict__=dict() as inside) if depth and not isinstance(value, type):
                yield from _loose(inside, f"{prefix}{name}.", depth - 1)
