"""`bnlint.check`: a live model is run on some batches, the rules judge, and a report says what they found."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from bnlint import __version__, config
from bnlint.checkpoint import Contents, contents_of, facts_of, placed
from bnlint.facts import Facts
from bnlint.pipeline import about
from bnlint.progress import shown
from bnlint.report import Report, View
from bnlint.rule import judge, of_engine
from bnlint.source.texts import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType


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
    max_batches: int,
    forward: Callable[[Any, Any], Any] | None = None,
    state_dict: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] | None = None,
    progress: bool | Callable[[float, str], object] | None = None,
    frame: FrameType | None = None,
    factories: tuple[Any, Any] = (None, None),
) -> Report:
    """Run the model, and judge what was seen.

    `frame` is the code that asks, `factories` have made the model and the loader, where that is known: they
    say where layers and loaders are written.
    """
    if stage not in STAGES:
        raise ValueError(f'stage is "train" or "eval", not {stage!r}')
    if max_batches < 1:
        raise ValueError("max_batches is 1 at least")
    settings = config.here(select, ignore)
    require_torch()
    from torch import nn

    from bnlint.trace.examine import Request, examine
    from bnlint.trace.locate import Origin

    if not isinstance(model, nn.Module):
        raise TypeError(f"check takes an nn.Module, not {type(model).__name__}")
    contents = None if state_dict is None else contents_of(state_dict)  # before anything runs
    with closing(shown(progress)) as tell:
        traced = examine(model, loader, Request(stage, forward, max_batches, tell, Origin(frame, *factories)))
    facts, skipped = _with_state(traced.facts, contents, model, frame)
    view = View(lines=Sources().lines, about=about, base=os.getcwd(), version=__version__)
    found = tuple(judge(facts, of_engine(ENGINE, settings.codes), settings.thresholds))
    return Report(found, (*traced.skipped, *skipped), traced.checked, view, noun="BatchNorm layer")


def _with_state(
    facts: Facts, contents: Contents | None, model: Any, frame: FrameType | None
) -> tuple[Facts, tuple[str, ...]]:
    """The facts, with what a state dict or a file lacks for the model."""
    if contents is None:
        return facts, ()
    from bnlint.trace.examine import unwrapped

    held, skipped = facts_of(contents, unwrapped(model))
    if frame is not None:
        held = placed(held, frame)
    own = {(one.norm.where.module, repr((one.mean, one.var))) for one in facts.statistics}
    others = [one for one in held.statistics if (one.norm.where.module, repr((one.mean, one.var))) not in own]
    merged = replace(facts, lacking=(*facts.lacking, *held.lacking), statistics=(*facts.statistics, *others))
    return merged, skipped
