"""What a model's forward takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter
from types import CodeType, FunctionType
from typing import Any, Final

import torch
from torch import nn

BY_POSITION: Final = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
BY_NAME: Final = {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}


@dataclass(frozen=True)
class Forward:
    """The forward that a call of the model ends in, and the module that has it."""

    module: nn.Module
    signature: inspect.Signature

    @cached_property
    def positional(self) -> list[Parameter]:
        """The parameters that can be given by position."""
        return self._of(BY_POSITION)

    @cached_property
    def named(self) -> list[Parameter]:
        """The parameters that can be given by name."""
        return self._of(BY_NAME)

    @property
    def required(self) -> int:
        """How many positions have to be filled."""
        return sum(parameter.default is Parameter.empty for parameter in self.positional)

    @property
    def any_position(self) -> bool:
        """Does it take any number of arguments?"""
        return bool(self._of({Parameter.VAR_POSITIONAL}))

    @property
    def any_name(self) -> bool:
        """Does it take arguments of any name?"""
        return bool(self._of({Parameter.VAR_KEYWORD}))

    def _of(self, kinds: set[Any]) -> list[Parameter]:
        return [parameter for parameter in self.signature.parameters.values() if parameter.kind in kinds]

    def takes(self, number: int) -> bool:
        """Can it be called with so many arguments by position?"""
        return self.required <= number and (self.any_position or number <= len(self.positional))

    def misses(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        """The names of the required parameters that get no argument."""
        rest = self._of(BY_POSITION)[len(args) :] + self._of({Parameter.KEYWORD_ONLY})
        return [one.name for one in rest if one.default is Parameter.empty and one.name not in kwargs]

    def fits(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Can it be called with these arguments?"""
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError:
            return False
        return True

    def __str__(self) -> str:
        bare = [one.replace(annotation=Parameter.empty) for one in self.signature.parameters.values()]
        return f"{type(self.module).__name__}.forward{inspect.Signature(bare)}"

    def reads_entries(self, names: set[str]) -> bool:
        """Does the code of the module, or of one below it, read an entry of such a name from something?"""
        classes = {type(module) for module in self.module.modules()}
        constants = (one for cls in classes for code in _codes_of(cls) for one in code.co_consts)
        return any(one in names for one in constants if isinstance(one, str))

    def reads_attributes(self, names: set[str]) -> bool:
        """Does the code of the module read an attribute of such a name?"""
        return any(names.intersection(code.co_names) for code in _codes_of(type(self.module)))


def _codes_of(cls: type) -> Iterator[CodeType]:
    """The code of a class of the user's own: its methods, without those that build it."""
    if not cls.__module__.startswith("torch."):
        for name, method in vars(cls).items():
            if isinstance(method, FunctionType) and not name.startswith("__"):
                yield from _codes(method.__code__)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def forward_of(model: nn.Module) -> Forward:
    """The forward of a model, looked for behind wrappers: they hand any arguments to their only module."""
    model = getattr(model, "_orig_mod", model)
    found = Forward(model, _signature(model))
    inner = list(model.children())
    passes_on = found.any_position and found.any_name and not found.positional
    return forward_of(inner[0]) if passes_on and len(inner) == 1 else found


def _signature(module: nn.Module) -> inspect.Signature:
    method: Any = module.forward
    if isinstance(module, torch.jit.ScriptModule):
        return inspect.Signature([_scripted(one) for one in method.schema.arguments[1:]])
    try:
        return inspect.signature(method)
    except (TypeError, ValueError):  # it is not written in Python
        return inspect.signature(lambda *args, **kwargs: None)  # noqa: ARG005


def _scripted(argument: Any) -> Parameter:
    default = argument.default_value if argument.has_default_value() else Parameter.empty
    return Parameter(argument.name, Parameter.POSITIONAL_OR_KEYWORD, default=default)
