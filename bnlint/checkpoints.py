"""`bnlint.check_state_dict` and `bnlint checkpoint`: what checkpoints hold is judged by rules."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from bnlint import __version__, config
from bnlint.checkpoint import CheckpointError, Contents, contents_of, facts_of, placed, read
from bnlint.checkpoint.folders import checkpoints_in
from bnlint.pipeline import about
from bnlint.report import Report, View
from bnlint.rule import judge, of_engine

if TYPE_CHECKING:
    from types import FrameType

    from bnlint.finding import Finding

ENGINE = "C"
"""The mark of rules that checkpoints can break."""

Progress = Callable[[float, str], None]
"""Is told which part is done, and what is looked at now."""


def report(
    model: Any, state: Mapping[str, Any] | str | os.PathLike[str], frame: FrameType | None = None
) -> Report:
    """Judge one state dict or file, beside a model if there is one; `frame` is the code that asks.

    Raises `CheckpointError`, `TypeError`.
    """
    if model is not None and not hasattr(model, "named_modules"):
        raise TypeError(f"the model is no torch.nn.Module, but of type {type(model).__name__}")
    return _report(*_judged(contents_of(state), model, config.here(None, None), frame))


def of_files(
    paths: Collection[str],
    model: Any = None,
    settings: config.Settings | None = None,
    progress: Progress = lambda _done, _doing: None,
) -> tuple[Report, tuple[str, ...]]:
    """Judge files, and the checkpoints in folders; and a line for each file that cannot be read."""
    settings = settings or config.here(None, None)
    found: list[Finding] = []
    skipped: list[str] = []
    unreadable, checked = [], 0
    files = [file for path in paths for file in (checkpoints_in(path) if os.path.isdir(path) else [path])]
    for number, path in enumerate(files):
        progress(number / len(files), os.path.basename(path))
        try:
            findings, lines, holds = _judged(read(path), model, settings)
        except CheckpointError as problem:
            unreadable.append(str(problem))
            continue
        found += findings
        skipped += lines
        checked += holds
    return _report(found, skipped, checked), tuple(unreadable)


def _judged(
    contents: Contents, model: Any, settings: config.Settings, frame: FrameType | None = None
) -> tuple[list[Finding], list[str], int]:
    """The findings about a checkpoint, what was skipped, and whether it holds anything to look at."""
    facts, skipped = facts_of(contents, model)
    if frame is not None:
        facts = placed(facts, frame)
    found = list(judge(facts, of_engine(ENGINE, settings.codes), settings.thresholds))
    return found, list(skipped), int(bool(contents.states))


def _report(findings: list[Finding], skipped: list[str], checked: int) -> Report:
    view = View(about=about, base=os.getcwd(), version=__version__)
    return Report(tuple(findings), tuple(skipped), checked, view, "checkpoint")
