"""What feeds each BatchNorm in a forward, and the shape that one has refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnlint.facts import Arrival, Arrived, Use
from bnlint.finding import Step
from bnlint.trace.layers import is_batchnorm, takes_dimensions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.facts import Answer3
    from bnlint.trace.live import Live
    from bnlint.trace.nodes import Node
    from bnlint.trace.seen import Application, Pass


def nodes(seen: Pass, batch: int = 1) -> list[Node]:
    """The applications of BatchNorm to one batch, in the order in which they happened."""
    return [one.node for one in seen.applications if one.batch == batch and one.node is not None]


def frozen(one: Application, *, evaluated: bool) -> Answer3:
    """Is this layer kept in eval mode for good? In a model that is evaluated every layer looks so."""
    if one.training:
        return "no"
    if not evaluated:
        return "yes"
    takes_gradients = one.module is None or any(
        own.requires_grad for own in one.module.parameters(recurse=False)
    )
    return "no" if takes_gradients else "unknown"


def uses(live: Live, seen: Pass, *, evaluated: bool) -> Iterator[Use]:
    """Each BatchNorm of the model, and what feeds it."""
    for node in nodes(seen):
        one: Application = node.call
        if one.module is None or not (is_batchnorm(one.module) or live.known(one.module)):
            continue
        if live.path(one.module) is None:
            norm = live.layer_at(one.module, live.written(one.module, one.spot))
        else:
            norm = live.norm(one.module)
        before = live.chain(node.inputs[0]) if node.inputs else ()
        where = live.written(one.module, one.spot)
        yield Use(norm, where, live.name, (before,), frozen(one, evaluated=evaluated))


def arrivals(live: Live, seen: Pass) -> Iterator[Arrival]:
    """The BatchNorm that raised because of the shape of what arrived."""
    refused = seen.refused
    if refused is None or live.path(refused.module) is None:
        return
    norm = live.norm(refused.module)
    features = int(getattr(refused.module, "num_features", 0))
    takes = takes_dimensions(refused.module)
    channels = refused.shape[1] if len(refused.shape) > 1 else refused.shape[0]
    made = _step(live, refused.node)
    way = Arrived(len(refused.shape), channels, "yes" if channels == features else "no", made, made)
    yield Arrival(norm, norm.where, features, takes, (way,))


def _step(live: Live, node: Node | None) -> Step | None:
    """What made the tensor that arrived."""
    if node is None or node.kind in {"input", "unknown"}:
        return None
    op = live.op(node)
    return Step(op.where, f"{op.name} makes it")
