"""Generators of random numbers that models and loaders hold, and the loader that draws from them."""

from __future__ import annotations

import random
import sys
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from bnlint.trace.containers import Undo, keep_dict

SAMPLERS = ("sampler", "batch_sampler")
"""Where a loader and its samplers hold samplers."""


def keep_generator(generator: Any) -> Undo:
    """The state of a generator of random numbers of torch, Python or numpy."""
    if isinstance(generator, torch.Generator):
        state = generator.get_state()
        return lambda: generator.set_state(state)
    if isinstance(generator, random.Random):
        numbers = generator.getstate()
        return lambda: generator.setstate(numbers)
    if hasattr(generator, "bit_generator"):
        bits = generator.bit_generator
        before = bits.state
        return lambda: setattr(bits, "state", before)
    legacy = generator.get_state(legacy=False)
    return lambda: generator.set_state(legacy)


def is_generator(cls: type) -> bool:
    """Are the instances of a class generators whose state can be read?"""
    if issubclass(cls, random.SystemRandom):
        return False
    numpy = sys.modules.get("numpy")
    of_numpy = () if numpy is None else (numpy.random.Generator, numpy.random.RandomState)
    return issubclass(cls, (torch.Generator, random.Random, *of_numpy))


def keep_loader(loader: object) -> list[Undo]:
    """The attributes of a loader and of its samplers, and the generators that these draw from.

    The data set is left alone, and so are iterators: what they hide could not be put back with the rest.
    """
    steps: list[Undo] = []
    for thing in _samplers(loader):
        held = vars(thing)
        steps.append(keep_dict(held))
        steps += [keep_generator(value) for value in held.values() if is_generator(type(value))]
    return steps


def _samplers(loader: object) -> list[object]:
    """The loader and whatever it takes its order from; each once."""
    found: list[object] = []
    todo = [loader]
    while todo:
        thing = todo.pop()
        held = getattr(thing, "__dict__", None)
        data = isinstance(thing, (Tensor, Dataset)) or hasattr(thing, "__next__")
        if isinstance(held, dict) and not data and all(thing is not one for one in found):
            found.append(thing)
            todo += [held.get(name) for name in SAMPLERS]
    return found
