"""The running statistics of the layers of a live model, and what the batches of the loader gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bnlint.facts import UNKNOWN, Statistics
from bnlint.trace.layers import is_trained
from bnlint.trace.modes import ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from bnlint.facts import Answer3, Unknown
    from bnlint.trace.live import Live
    from bnlint.trace.record import Application, Pass


def statistics(live: Live, seen: Pass, *, evaluated: bool) -> Iterator[Statistics]:
    """Those of each layer that keeps some, in the order of the model."""
    applied = ran(live, seen)
    first_bad = _first_poisoned(applied)
    for module in live.norms.values():
        mean, var = getattr(module, "running_mean", None), getattr(module, "running_var", None)
        if mean is None or var is None:
            continue
        several = applied.get(id(module), [])
        by_running = evaluated and bool(several) and not any(one.training for one in several)
        if not getattr(module, "track_running_stats", True):
            by_running = False  # they were left behind, which is another finding
        poisoned = first_bad[1] if first_bad is not None and first_bad[0] is module else ""
        seen_mean, seen_var = _pooled(several)
        trained = is_trained(module)
        yield Statistics(
            live.norm(module),
            f"`{live.name}`",
            _numbers(mean),
            _numbers(var),
            _count(module),
            "unknown" if trained is None else "yes" if trained else "no",
            _answer(by_running),
            str(mean.dtype).removeprefix("torch."),
            _numbers(seen_mean),
            _numbers(seen_var),
            len({one.batch for one in several if one.mean is not None}),
            poisoned,
        )


def _answer(truth: bool) -> Answer3:  # noqa: FBT001
    return "yes" if truth else "no"


def _numbers(values: Tensor | None) -> tuple[float, ...]:
    return () if values is None or values.is_meta else tuple(values.detach().double().cpu().tolist())


def _count(module: nn.Module) -> int | Unknown:
    """`num_batches_tracked`; UNKNOWN where the layer has none, or none with a value."""
    count = getattr(module, "num_batches_tracked", None)
    return UNKNOWN if count is None or getattr(count, "is_meta", False) else int(count)


def _pooled(several: list[Application]) -> tuple[Tensor | None, Tensor | None]:
    """The mean and the variance over all batches that were looked at, per channel."""
    looked = [one for one in several if one.mean is not None and one.var is not None]
    if not looked:
        return None, None
    means = torch.stack([one.mean.double() for one in looked if one.mean is not None])
    variances = torch.stack([one.var.double() for one in looked if one.var is not None])
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def _first_poisoned(applied: dict[int, list[Application]]) -> tuple[nn.Module, str] | None:
    """The first layer in the first batch whose statistics in train mode are no numbers; the rest follows it."""
    training = [one for several in applied.values() for one in several if one.training and one.tracked]
    for one in sorted(training, key=lambda one: one.batch):
        if one.mean is None or one.var is None or one.module is None or one.mean.is_meta:
            continue
        for values in (one.mean, one.var):
            if not bool(values.isfinite().all()):
                what = "NaN" if bool(values.isnan().any()) else "an infinity"
                return one.module, f"batch {one.batch} of the loader gives {what}"
    return None
