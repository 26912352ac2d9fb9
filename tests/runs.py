"""Findings as a run on a live model gives them: one bug in each of the 53 BatchNorm layers of a ResNet."""

from __future__ import annotations

from dataclasses import replace

from findings import ABOUT, BASE, TINY, VIEW

from bnlint.finding import Finding, Step, Where
from bnlint.picture import against
from bnlint.report import Report, View

FILE = f"{BASE}/net.py"
SOURCE = [
    "class Block(nn.Module):",
    "    def __init__(self, width):",
    "        self.bn = nn.BatchNorm2d(width)",
]
LAYERS = [
    "bn1",
    *(
        f"layer{stage}.{block}.bn{number}"
        for stage, blocks in enumerate((3, 4, 6, 3), start=1)
        for block in range(blocks)
        for number in (1, 2, 3)
    ),
    *(f"layer{stage}.0.downsample.1" for stage in (1, 2, 3, 4)),
]
"""In an order that nobody would read them in."""


def at(layer: str, row: int = 3) -> Where:
    return Where(FILE, row, 9, row, 40, module=layer)


def tiny(layer: str, values: int) -> Finding:
    """Too few values, of which each layer has its own number."""
    return Finding(
        "BN301",
        "tiny-batch",
        f"`{layer}` sees {values} values per channel; give it larger batches.",
        "warning",
        "high",
        at(layer),
        measured={"values": values, "threshold": 16},
    )


def shifted(layer: str, shift: float, channels: int = 3) -> Finding:
    """Statistics of other data, with a picture."""
    seen = [0.1 * number for number in range(channels)]
    return Finding(
        "BN408",
        "stale-statistics",
        f"The running mean of `{layer}` is off by {shift:.1f} standard deviations.",
        "error",
        "medium",
        at(layer),
        measured={"shift": shift, "threshold": 0.5},
        picture=against(f"Means of {layer}", "mean", "running_mean", seen, [one + shift for one in seen]),
    )


TINIES = [tiny(layer, 2 + number % 7) for number, layer in enumerate(LAYERS)]
SHIFTED = [shifted(layer, 1 + number) for number, layer in enumerate(LAYERS[:5])]
EVAL = Finding(
    "BN101",
    "missing-eval",
    "The model is evaluated in train mode; call `model.eval()`.",
    "error",
    "high",
    at("", 1),
    (Step(Where(FILE, 2, 5), "the model is built here"),),
)
LIVE = [*TINIES, *SHIFTED, EVAL]
LIVE_VIEW = replace(VIEW, lines=lambda where: SOURCE if where.filename == FILE else ())


def report(findings: list[Finding] = LIVE, view: View = LIVE_VIEW) -> Report:
    return Report(tuple(findings), ("head.bn: never called in 8 batches",), 53, view, noun="layer")


__all__ = [
    "ABOUT",
    "EVAL",
    "LAYERS",
    "LIVE",
    "LIVE_VIEW",
    "SHIFTED",
    "TINIES",
    "TINY",
    "report",
    "shifted",
    "tiny",
]
