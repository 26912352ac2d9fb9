"""`bnlint.check`: a live model is run on some batches, the rules judge, and a report says what they found."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from bnlint import __version__
from bnlint.facts import Facts
from bnlint.pipeline import about
from bnlint.report import Report, View
from bnlint.rule import all_rules, judge
from bnlint.source.texts import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    from bnlint.rule import Rule

ENGINE = "R"
"""The mark of rules about live models."""
STAGES = ("train", "eval")


def require_torch() -> None:
    """Raise `ImportError` where there is none."""
    try:
        import torch  # noqa: F401
    except ImportError as problem:
        raise ImportError('check needs torch: pip install "bnlint[torch]"') from problem


def report(  # noqa: PLR0913
    model: Any,
    loader: Any,
    *,
    stage: Literal["train", "eval"],
    forward: Callable[[Any, Any], Any] | None,
    max_batches: int,
    state_dict: Mapping[str, Any] | str | os.PathLike[str] | None,
    select: Sequence[str] | None,
    ignore: Sequence[str] | None,
    progress: bool | Callable[[float, str], None] | None,
    frame: FrameType | None,
    factory: Any = None,
) -> Report:
    """Run the model, and judge what was seen. `frame` is the code that asks."""
    if stage not in STAGES:
        raise ValueError(f'stage is "train" or "eval", not {stage!r}')
    if max_batches < 1:
        raise ValueError("max_batches is 1 at least")
    rules = chosen(select, ignore)
    require_torch()
    from torch import nn

    from bnlint.trace.examine import Request, examine

    if not isinstance(model, nn.Module):
        raise TypeError(f"check takes an nn.Module, not {type(model).__name__}")
    traced = examine(
        model, loader, Request(stage, forward, max_batches, frame, lambda done, doing: None, factory)
    )
    facts, skipped = _with_state(traced.facts, state_dict, model)
    view = View(lines=Sources().lines, about=about, base=os.getcwd(), version=__version__)
    return Report(
        tuple(judge(facts, rules)), (*traced.skipped, *skipped), traced.checked, view, noun="BatchNorm layer"
    )


def _with_state(
    facts: Facts, state: Mapping[str, Any] | str | os.PathLike[str] | None, model: Any
) -> tuple[Facts, tuple[str, ...]]:
    """The facts, with what a state dict or a file lacks for the model."""
    if state is None:
        return facts, ()
    from bnlint.checkpoint import facts_of, of_program, read
    from bnlint.trace.examine import unwrapped

    contents = read(state) if isinstance(state, (str, os.PathLike)) else of_program(state)
    held, skipped = facts_of(contents, unwrapped(model))
    return replace(facts, lacking=(*facts.lacking, *held.lacking)), skipped


def chosen(select: Sequence[str] | None, ignore: Sequence[str] | None, engine: str = ENGINE) -> list[Rule]:
    """The rules of an engine that are asked for, by code, beginning of a code, or name."""
    from bnlint.config.selectors import selection, selector

    words = [selector(word) for word in select] if select is not None else ["ALL"]
    codes, _ = selection([{"select": words, "ignore": [selector(word) for word in ignore or ()]}])
    return [rule for rule in all_rules() if engine in rule.engines and rule.code in codes]
