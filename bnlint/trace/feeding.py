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
    from bnlint.trace.record import Application, Pass


def feeds(live: Live, seen: Pass, source: Source, sizes: list[int]) -> Iterator[Feed]:
    """The loader, if BatchNorm trains on what it gives."""
    training = [one for several in ran(live, seen).values() for one in several if one.training]
    if not training:
        return
    whole = source.samples or max((*sizes, *(size or 0 for size in source.sizes)), default=0)
    if not whole:
        whole = max(one.samples for one in training)
    where = live.places.feeding()
    full = [one for one in training if _size(one, sizes) == whole] or training
    least = min(full, key=lambda one: one.values)
    shortest = min(training, key=lambda one: one.values / max(one.samples, 1))
    length = _length(source, sizes, whole)
    yield Feed(
        where,
        Setting(whole, where),
        live.name,
        "yes",
        values=least.values,
        single=_single(live, shortest),
        length=length,
        drop_last=Setting(bool(source.drop_last), where) if isinstance(length, int) else None,
        shuffled=source.shuffled,
        guarded="no",
        synced=_synced(training),
        steps=Setting(1, where),
        sizes=tuple(sizes),
    )


def _size(one: Application, sizes: list[int]) -> int:
    return sizes[one.batch - 1] if 0 < one.batch <= len(sizes) else one.samples


def _single(live: Live, one: Application) -> Step | None:
    """The layer that gets one value per channel of each sample, if there is one."""
    if one.values != one.samples or one.module is None:
        return None
    path = live.path(one.module)
    return Step(live.norm(one.module).where, f"`{path}` gets one value per channel of each sample")


def _length(source: Source, sizes: list[int], whole: int) -> int | Unknown:
    """The number of samples; of batches in memory, and of a single short one that was seen, that of their sizes."""
    known = [size for size in source.sizes if size is not None]
    if known:
        return sum(known) if all(size == whole for size in known[:-1]) else UNKNOWN
    if source.length is not None:
        return source.length
    return whole + 1 if whole > 1 and 1 in sizes else UNKNOWN


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
