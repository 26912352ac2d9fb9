"""Axes: from where to where they go, their round numbers, and the bins of a histogram."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `least` to `most`; `logarithmic` says that equal factors have equal distances."""

    least: float
    most: float
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value lies on the way from the least (0) to the most (1)."""
        low, high, at = map(self._position, (self.least, self.most, value))
        return (at - low) / (high - low)

    def ticks(self, number: int) -> list[float]:
        """Round numbers on the axis, about as many as asked for."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.least) - 1e-9), math.floor(math.log10(self.most) + 1e-9)
            stride = max(1, math.ceil((last - first + 1) / number))
            return [10.0**power for power in range(first, last + 1, stride)]
        step = _step((self.most - self.least) / max(number - 1, 1))
        first, last = math.ceil(self.least / step - 1e-9), math.floor(self.most / step + 1e-9)
        return [count * step for count in range(first, last + 1)]

    def _position(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value


def _step(least: float) -> float:
    """The round number that is at least so large."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * step for step in STEPS if power * step >= least * (1 - 1e-9))


def spanning(values: Iterable[float], *, logarithmic: bool = False, zero: bool = False) -> Scale:
    """An axis for all values that are numbers; `zero` says that it has to hold 0, too (bars begin there)."""
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not logarithmic)]
    least, most = min(finite, default=1.0), max(finite, default=1.0)
    if logarithmic:
        low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
        return Scale(10.0**low, 10.0 ** max(high, low + 1), logarithmic=True)
    if zero:
        least, most = min(least, 0.0), max(most, 0.0)
    if least == most:
        least, most = least - 0.5, most + 0.5
    return Scale(least, most)


def brief(value: float) -> str:
    """A number in few signs: whole ones as they are, others with three digits."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}"


def edges(samples: Iterable[Sequence[float]], number: int) -> list[float]:
    """The borders of bins of one round width that hold all values."""
    scale = spanning(value for values in samples for value in values)
    step = _step((scale.most - scale.least) / number)
    first, last = math.floor(scale.least / step + 1e-9), math.floor(scale.most / step + 1e-9) + 1
    return [count * step for count in range(first, last + 1)]


def counts(values: Iterable[float], borders: Sequence[float]) -> list[int]:
    """How many values lie in each bin: from its lower border on, up to the upper one."""
    import bisect

    found = [0] * (len(borders) - 1)
    for value in values:
        if borders[0] <= value < borders[-1]:
            found[bisect.bisect_right(borders, value) - 1] += 1
    return found
