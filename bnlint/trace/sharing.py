"""BatchNorm layers that one forward applies several times: in several places, or over a sequence."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from torch import nn

from bnlint.facts import MOVES, Recurrent, Shared
from bnlint.finding import Step
from bnlint.trace.operations import SLICES
from bnlint.trace.order import frozen, nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.finding import Where
    from bnlint.trace.live import Live
    from bnlint.trace.nodes import Node
    from bnlint.trace.seen import Pass


THROUGH: Final = MOVES | {"activation"}
"""What does not say where a tensor comes from."""
LEAST: Final = 8
"""Values per channel of which a mean says something."""


def _feeder(node: Node) -> Node | None:
    """What feeds a BatchNorm, past what only moves or bends values."""
    before = node.inputs[0] if node.inputs else None
    while before is not None and before.kind in THROUGH and len(before.inputs) == 1:
        before = before.inputs[0]
    return before


def applications(seen: Pass) -> dict[int, list[Node]]:
    """The applications to the first batch, by layer; a state that begins as a constant is none."""
    found: dict[int, list[Node]] = {}
    for node in nodes(seen):
        if node.call.module is not None and node.inputs:
            found.setdefault(id(node.call.module), []).append(node)
    return found


def shared(live: Live, seen: Pass, *, evaluated: bool) -> Iterator[Shared]:
    """BatchNorm layers that are applied in several places of one forward, or to several kinds of data."""
    for several in applications(seen).values():
        module = several[0].call.module
        if live.path(module) is None or len(several) < 2:
            continue
        state = frozen(several[0].call, evaluated=evaluated)
        norm = live.norm(module)
        again = _repeated(live, module)
        if again is not None:
            holder, where = again
            yield Shared(norm, where, "repeated", container=type(holder).__name__, frozen=state)
        elif (fed := _two_feeders(several)) is not None:
            feeders = tuple(live.op(node) for node, _ in fed)
            steps = tuple(Step(op.where, f"{op.name} feeds it here") for op in feeders)
            where = live.written(module, fed[1][1].call.spot)
            yield Shared(norm, where, "applied", feeders, frozen=state, evidence=steps)
        elif (distance := _distance(several)) is not None:
            yield Shared(norm, norm.where, "inputs", frozen=state, distance=distance)


def _two_feeders(several: list[Node]) -> tuple[tuple[Node, Node], tuple[Node, Node]] | None:
    """Two different operations of which both feed it, each with the application; None if there may be none.

    What is written once and runs several times, in a loop or a method, is one place, unless different layers
    feed it. A layer that itself runs several times has its weights shared on purpose.
    """
    fed = [(before, node) for node in several if (before := _feeder(node)) is not None]
    if len(fed) < len(several) or any(before.kind == "unknown" for before, _ in fed):
        return None
    runs = _runs(several)
    made = [_layers(before) for before, _ in fed]
    if any(runs[id(layer.module)] > 1 for layers in made for layer in layers):
        return None
    places = {node.call.spot and node.call.spot[:2] for node in several}
    for number in range(1, len(fed)):
        one, other = ({id(layer.module) for layer in made[index]} for index in (0, number))
        if (one and other and one != other) or (len(places) > 1 and fed[0][0].kind != fed[number][0].kind):
            return (_shown(fed[0][0], made[0]), fed[0][1]), (
                _shown(fed[number][0], made[number]),
                fed[number][1],
            )
    return None


def _shown(feeder: Node, layers: list[Node]) -> Node:
    """The layer behind a sum or a product, where there is one."""
    return layers[0] if layers else feeder


def _is_layer(node: Node) -> bool:
    return node.kind in {"conv", "linear"} and node.module is not None


def _layers(node: Node, depth: int = 3) -> list[Node]:
    """The layers that make a tensor, also those behind sums and products, nearest first."""
    while node.kind in THROUGH and len(node.inputs) == 1:
        node = node.inputs[0]
    if _is_layer(node):
        return [node]
    if depth == 0 or node.kind in {"batchnorm", "norm"}:
        return []
    return [layer for one in node.inputs for layer in _layers(one, depth - 1)]


def _runs(several: list[Node]) -> dict[int, int]:
    """How often each convolution and each linear map runs before the last application."""
    found: dict[int, int] = {}
    for node in {id(one): one for last in several for one in last.ancestors()}.values():
        if _is_layer(node):
            found[id(node.module)] = found.get(id(node.module), 0) + 1
    return found


def _distance(several: list[Node]) -> float | None:
    """How far apart the inputs of a layer are that is applied to several, as siamese networks do.

    It is the difference of the means of a channel, in deviations: the median of all channels. None where the
    applications depend on each other, or nothing was measured.
    """
    first, *others = several
    if any(first is before for other in others for before in other.ancestors()):
        return None
    found = []
    for other in others:
        one, two = first.call, other.call
        if one.mean is None or two.mean is None or min(one.values, two.values) < LEAST:
            return None
        apart = (one.mean - two.mean).abs() / ((one.var + two.var) / 2).clamp(min=1e-12).sqrt()
        found.append(float(apart.median()))
    return max(found)


def _repeated(live: Live, module: nn.Module) -> tuple[nn.Module, Where] | None:
    """A container that holds the layer, or a module with it, more than once, and where it does so again."""
    for path, holder in live.model.named_modules():
        if isinstance(holder, (nn.Sequential, nn.ModuleList)):
            names: dict[int, list[str]] = {}
            for name, child in holder._modules.items():  # noqa: SLF001
                if child is not None and any(inner is module for inner in child.modules()):
                    names.setdefault(id(child), []).append(f"{path}.{name}" if path else name)
            twice = next((several for several in names.values() if len(several) > 1), None)
            if twice is not None:
                where = live.places.built(twice[1])
                return holder, replace(where, module=live.path(module))
    return None


def recurrent(live: Live, seen: Pass, *, evaluated: bool) -> Iterator[Recurrent]:
    """BatchNorm layers that lie on the way from a hidden state to the next one."""
    for several in applications(seen).values():
        module = several[0].call.module
        if live.path(module) is not None and len(several) > 1 and _recurs(several):
            norm = live.norm(module)
            loop = Step(live.written(module, several[1].spot), f"it runs {len(several)} times in one forward")
            yield Recurrent(norm, norm.where, "loop", loop, frozen(several[0].call, evaluated=evaluated))


def _recurs(several: list[Node]) -> bool:
    """Does each application depend on the one before it, and on a further step of a sequence?"""
    before: set[int] = set()
    for earlier, later in pairwise(several):
        steps = {step for node in _between(earlier, later) for step in _joining(node, earlier)}
        if not steps - before:
            return False
        before |= steps
    return True


def _between(earlier: Node, later: Node) -> Iterator[Node]:
    """The operations on the ways from one application to a later one."""
    reached: dict[int, bool] = {id(earlier): True}
    order: list[Node] = []
    stack = [(later, False)]
    while stack:
        node, done = stack.pop()
        if done:
            reached[id(node)] = any(reached.get(id(one), False) for one in node.inputs)
            if reached[id(node)]:
                order.append(node)
        elif id(node) not in reached:
            reached[id(node)] = False
            stack.append((node, True))
            stack.extend((one, False) for one in node.inputs)
    return iter(order)


def _joining(node: Node, earlier: Node) -> Iterator[int]:
    """The parts of sequences, by identity, that join here and do not come by way of `earlier`."""
    if len(node.inputs) > 1:
        for one in node.inputs:
            before = list(one.ancestors())
            if earlier not in before:
                yield from (id(part) for part in before if part.name in SLICES and part.spot is not None)
