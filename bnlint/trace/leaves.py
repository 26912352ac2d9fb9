"""The tensors in what a model takes or gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH: Final = 6


def leaves(value: Any, path: str = "", depth: int = DEPTH) -> Iterator[tuple[str, Tensor]]:
    """The tensors in what a model takes or gives, by their path in it."""
    if isinstance(value, Tensor):
        yield path, value
    elif depth:
        for name, one in _parts(value):
            yield from leaves(one, f"{path}.{name}" if path else name, depth - 1)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a container or an object holds."""
    if isinstance(value, dict) or (hasattr(value, "items") and hasattr(value, "keys")):
        yield from ((str(key), one) for key, one in value.items())
    elif isinstance(value, (list, tuple)):
        names = getattr(value, "_fields", None) or map(str, range(len(value)))
        yield from zip(names, value, strict=True)
    elif hasattr(value, "__dict__") and not isinstance(value, (type, nn.Module)) and not callable(value):
        yield from vars(value).items()
