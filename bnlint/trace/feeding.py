"""What the loader feeds to the training of a live model, and how a wrapper divides it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from bnlint.facts import UNKNOWN, Feed, Setting, Split
from bnlint.finding import Step
from bnlint.trace.modes import ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.facts import Answer3, Unknown
    from bnlint.trace.batches import Source
    from bnlint.trace.live import Live
    from bnlint.trace.passes import Seen
    from bnlint.trace.seen import Application


def feeds(live: Live, seen: Seen, source: Source, *, by_user: bool) -> Iterator[Feed]:
    """The loader, if BatchNorm trains on what it gives.

    `by_user` says that the user's own function gives batches to the model, and so may leave some out.
    """
    applied = ran(live, seen.main)
    training = [one for several in applied.values() for one in several if one.training]
    if not training:
        return
    given = source.samples or max((*seen.sizes, *(size or 0 for size in source.sizes)), default=0)
    full = [one for one in training if _size(one, seen.sizes) == given] or training
    arrives = _arrives(full, given)
    where = live.places.feeding()
    least = min(full, key=lambda one: one.values)
    shortest = min(training, key=lambda one: one.values / max(one.samples, 1))
    length = _length(source, given) if arrives == given else UNKNOWN
    lone = _lone(training, arrives)
    yield Feed(
        where,
        Setting(arrives, where),
        live.name,
        "yes",
        values=least.values,
        single=_single(live, shortest),
        length=length,
        drop_last=Setting(bool(source.drop_last), where) if isinstance(length, int) or lone else None,
        shuffled=source.shuffled,
        guarded="unknown" if by_user and not lone else "no",
        synced=_synced(training),
        steps=Setting(1, where),
        sizes=tuple(seen.sizes),
        lone=lone,
    )


def _size(one: Application, sizes: list[int]) -> int:
    return sizes[one.batch - 1] if 0 < one.batch <= len(sizes) else one.samples


def _arrives(full: list[Application], given: int) -> int:
    """How many samples a layer gets at a time.

    That is what the loader gives, unless all layers get more (sets or sequences that are taken apart), or one
    gets the batch in parts.
    """
    layers: dict[int, list[Application]] = {}
    for one in full:
        layers.setdefault(id(one.module), []).append(one)
    most = [max(one.samples for one in several) for several in layers.values()]
    if min(most) >= given:
        return min(most)
    parts = {
        several[0].samples
        for several in layers.values()
        if len({one.samples for one in several}) == 1
        and sum(one.samples for one in several if one.batch == several[0].batch) == given
    }
    return min(parts, default=given)


def _lone(training: list[Application], arrives: int) -> int:
    """The number of a batch of which one sample reaches a layer that else gets more; 0 if there is none."""
    if arrives < 2:
        return 0
    larger = {id(one.module) for one in training if one.samples > 1}
    lone = (one for one in training if one.raises or (one.samples == 1 and id(one.module) in larger))
    return next((one.batch for one in lone), 0)


def _single(live: Live, one: Application) -> Step | None:
    """The layer that gets one value per channel of each sample, if there is one."""
    if one.values != one.samples or one.module is None:
        return None
    path = live.path(one.module)
    return Step(live.norm(one.module).where, f"`{path}` gets one value per channel of each sample")


def _length(source: Source, whole: int) -> int | Unknown:
    """The number of samples; of batches in memory that of all, where they have one size."""
    known = [size for size in source.sizes if size is not None]
    if known:
        return sum(known) if all(size == whole for size in known[:-1]) else UNKNOWN
    return UNKNOWN if source.length is None else source.length


def _synced(training: list[Application]) -> Answer3:
    """Do all layers see the samples of other processes as well?"""
    from torch import distributed

    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    all_synced = all(isinstance(one.module, nn.SyncBatchNorm) for one in training)
    return "yes" if several and all_synced else "no"


def splits(live: Live, devices: int, feed: Feed | None) -> Iterator[Split]:
    """DataParallel over several devices: each is given its share of a batch."""
    if devices < 2 or feed is None:
        return
    match feed.batch_size.value:
        case int(whole):
            yield Split(
                live.places.check,
                "DataParallel",
                live.name,
                "yes",
                whole=whole,
                share=-(-whole // devices),
                devices=devices,
                loaded=whole,
                synced=feed.synced,
            )
