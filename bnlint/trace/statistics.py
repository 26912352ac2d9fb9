"""The running statistics of the layers of a live model, and what the batches of the loader gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bnlint.facts import Statistics
from bnlint.trace.modes import ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from bnlint.trace.live import Live
    from bnlint.trace.seen import Application, Pass


def statistics(live: Live, seen: Pass, *, evaluated: bool) -> Iterator[Statistics]:
    """Those of each layer that keeps some, in the order of the model."""
    applied = ran(live, seen)
    first_bad = _first_poisoned(applied)
    for norm in live.norms.values():
        if norm.mean is None or norm.var is None:
            continue
        several = applied.get(id(norm.module), [])
        by_running = evaluated and bool(several) and not any(one.training for one in several)
        seen_mean, seen_var = _pooled(several)
        yield Statistics(
            live.norm(norm.module),
            f"`{live.name}`",
            mean=_numbers(norm.mean),
            var=_numbers(norm.var),
            count=norm.count,
            trained=norm.trained,
            # those that training leaves behind are another finding
            evaluated="yes" if by_running and norm.tracks else "no",
            dtype=str(norm.mean.dtype).removeprefix("torch."),
            seen_mean=_numbers(seen_mean),
            seen_var=_numbers(seen_var),
            batches=len({one.batch for one in several if one.mean is not None}),
            poisoned=first_bad[1] if first_bad is not None and first_bad[0] is norm.module else "",
        )


def _numbers(values: Tensor | None) -> tuple[float, ...]:
    return () if values is None or values.is_meta else tuple(values.detach().double().cpu().tolist())


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
    """The first layer, in the first batch, whose statistics are no numbers in train mode."""
    training = [one for several in applied.values() for one in several if one.training and one.tracked]
    for one in sorted(training, key=lambda one: one.batch):
        if one.mean is None or one.var is None or one.module is None or one.mean.is_meta:
            continue
        for values in (one.mean, one.var):
            if not bool(values.isfinite().all()):
                what = "NaN" if bool(values.isnan().any()) else "an infinity"
                return one.module, f"batch {one.batch} of the loader gives {what}"
    return None
