"""What a checkpoint says of BatchNorm, by itself and beside a live model, as facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

from bnlint.checkpoint.contents import Contents
from bnlint.checkpoint.layers import STATISTICS, Group, groups, lacking
from bnlint.checkpoint.matching import ENOUGH, Match, match, norms
from bnlint.checkpoint.states import State
from bnlint.facts import Facts, Lacking, Layer, Statistics
from bnlint.finding import Where


def facts_of(contents: Contents, model: Any = None) -> tuple[Facts, tuple[str, ...]]:
    """The facts about a checkpoint, and a line for each thing that could not be looked at or compared.

    With a model (an nn.Module), what its BatchNorm layers miss is judged instead of what the file lacks by
    itself. Raises `CheckpointError` where the file does not have the bytes that it promises.
    """
    statistics = [fact for state in contents.states for fact in _statistics(contents, state)]
    missing = [] if model is not None else list(_alone(contents))
    skipped: tuple[str, ...] = ()
    if model is not None:
        missing, skipped = _against(contents, model)
    empty = () if contents.states else (f"{contents.path}: holds no state dict of a model",)
    facts = Facts(statistics=tuple(statistics), lacking=tuple(missing))
    return facts, (*contents.skipped, *skipped, *empty)


def placed(facts: Facts, frame: FrameType) -> Facts:
    """Facts about a state dict that no file holds stand where a program hands it over."""

    def there(layer: Layer) -> Layer:
        if not layer.where.filename.startswith("<"):
            return layer
        where = Where(frame.f_code.co_filename, frame.f_lineno or 1, module=layer.where.module)
        return replace(layer, where=where)

    return replace(
        facts,
        statistics=tuple(replace(one, norm=there(one.norm)) for one in facts.statistics),
        lacking=tuple(replace(one, norm=there(one.norm)) for one in facts.lacking),
    )


def _statistics(contents: Contents, state: State) -> Iterator[Statistics]:
    for group in groups(state).values():
        if group.tracks:
            mean, var = (group.parts[name] for name in STATISTICS)
            yield Statistics(
                _layer(contents, state, group.name),
                _held(contents, state),
                mean.numbers(),
                var.numbers(),
                group.count,
                group.trained,
                "yes",
                var.dtype,
            )


def _alone(contents: Contents) -> Iterator[Lacking]:
    """What a state lacks that no other state of its file has, if the file is all that there is."""
    tracked = {group.unwrapped for s in contents.states for group in groups(s).values() if group.tracks}
    for state in contents.states if contents.whole else ():
        for group, proved in lacking(state):
            if group.unwrapped not in tracked:
                layer = _layer(contents, state, group.name)
                assumed = None if proved else f"{_named(group)} is a BatchNorm"
                yield Lacking(layer, _held(contents, state), group.missing, assumed=assumed)


def _named(group: Group) -> str:
    return f"`{group.name}`" if group.name else "it"


def _held(contents: Contents, state: State) -> str:
    """How a state is called: by its file, and by its path where the file has several."""
    return f"`{state.path}` of {contents.held}" if len(contents.states) > 1 and state.path else contents.held


def _layer(contents: Contents, state: State, name: str) -> Layer:
    path = f"{state.path}.{name}" if len(contents.states) > 1 and state.path else name
    return Layer("BatchNorm", "batchnorm", Where(contents.filename, module=path or None))


def _against(contents: Contents, model: Any) -> tuple[list[Lacking], tuple[str, ...]]:
    """What the layers of a model miss in the state that is its own, or why none is."""
    against = f"`{type(model).__name__}`"
    matches = [(match(state, model), state) for state in contents.states]
    if not matches:
        return [], ()
    found, state = max(matches, key=lambda pair: pair[0].share)
    if found.share < ENOUGH:
        prefix = f', the most behind "{found.theirs or found.ours}"' if found.theirs or found.ours else ""
        return [], (
            f"{contents.path}: holds {found.share:.0%} of the parameters of {against}{prefix}: not its state",
        )
    skipped = list(_other_sizes(contents, state, found, model))
    if not contents.whole:
        return [], (*skipped, f"{contents.path}: one of several files: name their index to compare all")
    return list(_missed(contents, state, found, model)), tuple(skipped)


def _missed(contents: Contents, state: State, found: Match, model: Any) -> Iterator[Lacking]:
    for norm in norms(model):
        path = f"{norm.name}." if norm.name else ""
        names = tuple(name for name in STATISTICS if found.entry(path + name) is None)
        if names and (found.entry(f"{path}weight") or found.near(norm.name)):
            layer = Layer(norm.cls, "batchnorm", Where(contents.filename, module=norm.name or None))
            yield Lacking(layer, _held(contents, state), names, f"`{type(model).__name__}`")


def _other_sizes(contents: Contents, state: State, found: Match, model: Any) -> Iterator[str]:
    for norm in norms(model):
        entry = found.entry(f"{norm.name}.running_mean" if norm.name else "running_mean")
        shape = state.tensors[entry].shape if entry else ()
        if norm.channels is not None and shape and shape != (norm.channels,):
            yield (
                f"{contents.path}: `{norm.name}` has {shape[0]} channels in it, and {norm.channels} in "
                f"`{type(model).__name__}`: it cannot be loaded there"
            )
