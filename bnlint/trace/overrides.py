"""Whether `eval()` of a live model reaches its BatchNorm layers, and which override is in its way."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from torch import nn

from bnlint.facts import Override
from bnlint.finding import Where
from bnlint.trace.layers import batchnorms, class_name, is_scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.trace.live import Live


def set_mode(model: nn.Module, *, training: bool) -> None:
    """Put each module into a mode, whatever its `train` does."""
    for module in model.modules():
        module.training = training


def overrides(live: Live) -> Iterator[Override]:
    """The methods that keep `eval()` from layers below, or lose the module; one of each class.

    Each is called; the modes are other ones afterwards.
    """
    done: set[type] = set()
    for path, module in live.model.named_modules():
        method = _replaced(module)
        if method is None or type(module) in done or not batchnorms(module):
            continue
        override = _tried(live, path, module, method)
        if override is not None:
            done.add(type(module))
            yield override


def _tried(live: Live, path: str, module: nn.Module, method: Literal["train", "eval"]) -> Override | None:
    """What `eval()` of a module does, from either mode; None if that is what it should."""
    norms = [norm for norm in batchnorms(module).values() if _may_train(norm)]
    where = _defined(module, method, path, live)
    bare = Override(class_name(module), method, where, "unknown", "yes", "yes", batchnorm="yes")
    try:
        set_mode(module, training=True)
        came = module.eval()
        left = any(norm.training for norm in norms)
        set_mode(module, training=False)
        module.eval()
        switched_on = any(norm.training for norm in norms)
    except TypeError:  # torch itself passes the mode, and this takes something else
        return replace(bare, reaches="no")
    except Exception:
        return None
    if came is not None and not left:
        return None
    return replace(
        bare,
        returns="nothing" if came is None else "unknown",
        reaches="yes" if switched_on or not left else "no",
        honours="no" if switched_on else "yes",
    )


def _may_train(norm: nn.Module) -> bool:
    """Has a layer anything to be trained? One that is frozen may be left out of all changes of mode."""
    own = list(norm.parameters(recurse=False))
    return not own or any(one.requires_grad for one in own)


def _replaced(module: nn.Module) -> Literal["train", "eval"] | None:
    """The method by which a class replaces torch's way to set the mode."""
    if is_scripted(module) or type(module).__module__.startswith("torch."):
        return None
    if type(module).train is not nn.Module.train:
        return "train"
    return "eval" if type(module).eval is not nn.Module.eval else None


def _defined(module: nn.Module, method: str, path: str, live: Live) -> Where:
    """The line that defines the method."""
    function = inspect.unwrap(getattr(type(module), method))
    code = getattr(function, "__code__", None)
    if code is None:
        return live.places.built(path)
    return Where(code.co_filename, code.co_firstlineno, module=path or None)
