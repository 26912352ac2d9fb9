"""What the dataflow of a forward says about the order of layers: uses, answers, shared and recurrent layers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from bnlint.facts import MOVES, Answer, Arrival, Arrived, Op, Recurrent, Shared, Use
from bnlint.finding import Step
from bnlint.trace.layers import takes_dimensions, takes_gradients
from bnlint.trace.operations import SLICES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.facts import Answer3
    from bnlint.finding import Where
    from bnlint.trace.live import Live
    from bnlint.trace.nodes import Node
    from bnlint.trace.record import Application, Pass


def nodes(seen: Pass, batch: int = 1) -> list[Node]:
    """The applications of BatchNorm to one batch, in the order in which they happened."""
    return [one.node for one in seen.applications if one.batch == batch and one.node is not None]


def frozen(one: Application, *, evaluated: bool) -> Answer3:
    """Is this layer kept in eval mode for good? In a model that is evaluated every layer looks so."""
    if one.training:
        return "no"
    if not evaluated:
        return "yes"
    return "no" if one.module is None or takes_gradients(one.module) else "unknown"


def uses(live: Live, seen: Pass, *, evaluated: bool) -> Iterator[Use]:
    """Each BatchNorm of the model, and what feeds it."""
    for node in nodes(seen):
        one: Application = node.call
        if one.module is None or live.path(one.module) is None:
            continue
        norm = live.norm(one.module)
        before = live.chain(node.inputs[0]) if node.inputs else ()
        where = live.written(one.module, one.spot)
        yield Use(norm, where, live.name, (before,), frozen(one, evaluated=evaluated))


# answers

HEAD: Final = re.compile(
    r"(^|[._])(classifier|logits?|score|fc_out|final_fc|head|fc|out|output|predictor?)(\.|$)", re.IGNORECASE
)
"""Paths of layers that make an answer, and keys under which one is returned."""
SURE: Final = re.compile(r"(^|[._])(logits?|scores?|prob(abilitie)?s)$", re.IGNORECASE)
"""Keys under which nothing but an answer is returned."""
NO_HEAD: Final = re.compile(
    r"proj|embed|neck|encoder|backbone|feat|repr|bottleneck|trunk|body|stem", re.IGNORECASE
)
"""Words that say that something goes on behind."""
IMAGE: Final = (1, 3)
"""Channels of images."""
SPARE: Final = 4
"""Of so many classes that there can be, at most one may be missing in the batches that were seen."""


def answers(live: Live, seen: Pass, given: list[Tensor], targets: list[Any]) -> Iterator[Answer]:
    """The tensors that come out of the model, and what says that they are its answer."""
    for path, tensor, node in seen.outputs:
        last = _last_norm(node)
        if last is None or last.call.module is None or live.path(last.call.module) is None:
            continue
        built = live.norm(last.call.module).where
        why = [Step(built, text) for text in _reasons(live, path, tensor, node, given, targets)]
        where = live.ending(last.call.module) or live.written(last.call.module, last.spot)
        yield Answer(live.name, where, live.chain(node), tuple(why[:2]))


BEHIND: Final = MOVES - {"pool"} | {"resample", "softmax", "activation"}


def _last_norm(node: Node | None) -> Node | None:
    """The BatchNorm that an output comes out of, if it does."""
    while node is not None and node.kind in BEHIND and len(node.inputs) == 1:
        node = node.inputs[0]
    return node if node is not None and node.kind == "batchnorm" else None


def _reasons(
    live: Live, path: str, tensor: Tensor, node: Node | None, given: list[Tensor], targets: list[Any]
) -> Iterator[str]:
    """What says that this tensor is the answer of the model."""
    shape = tuple(tensor.shape)
    for target in targets:
        if not isinstance(target, Tensor) or tensor.dim() < 1:
            continue
        if _counts_classes(tensor, target, targets):
            yield f"its {shape[1]} channels are the classes of the loader's targets: it is the model's answer"
            break
        if target.is_floating_point() and target.numel() == tensor.numel():
            yield f"it has the shape {shape} of the loader's targets: it is the model's answer"
            break
    words = _names(live, path, node)
    if SURE.search(path):
        yield f"it is returned as `{path}`: it is the model's answer"
    if targets and any(isinstance(target, Tensor) for target in targets):
        return  # they are known, and it is not compared with them as it is
    squashed = _squashed(node)
    if squashed in {"softmax", "log_softmax"}:
        yield f"{squashed} makes probabilities of it: it is the model's answer"
    if any(HEAD.search(word) for word in words) and not any(NO_HEAD.search(word) for word in words):
        yield f"`{next(word for word in words if HEAD.search(word))}` makes it: it is the model's answer"
    if (
        tensor.dim() == 4
        and shape[1] in IMAGE
        and given
        and (squashed in {"tanh", "sigmoid"} or given[0].dim() == 2)
    ):
        yield f"it is an image, of the shape {shape}: it is the model's answer"
    elif given and tensor.dim() == 4 and shape == tuple(given[0].shape) and shape[1] in IMAGE:
        yield f"it has the shape {shape} of the input: it is the model's answer"
    if tensor.dim() <= 2 and tensor.numel() == shape[0] and tensor.dim():
        yield "it is one number for each sample: it is the model's answer"


def _counts_classes(tensor: Tensor, target: Tensor, targets: list[Any]) -> bool:
    """Has the tensor one channel for each class that the targets name, give or take a class that was not seen?"""
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool or tensor.dim() < 2:
        return False
    many = [one for one in targets if isinstance(one, Tensor) and one.numel()]
    highest = max((int(one.max()) for one in many), default=-1) + 1
    counts = {tensor.shape[1], tensor.shape[-1]}
    return any(1 < highest <= channels <= highest + max(1, highest // SPARE) for channels in counts)


def _names(live: Live, path: str, node: Node | None) -> list[str]:
    """How the tensor is called where it is returned, and the layers that made it last."""
    found = [path] if path and not path.isdecimal() else []
    while node is not None and len(found) < 4:
        name = live.path(node.module)
        if node.kind in {"linear", "conv", "batchnorm"} and name:
            found.append(name)
        if node.kind in {"linear", "conv"}:
            break
        node = node.inputs[0] if len(node.inputs) == 1 else None
    return found


def _squashed(node: Node | None) -> str:
    """The activation behind which the tensor is returned."""
    while node is not None and node.kind in {"reshape", "identity", "resample"} and len(node.inputs) == 1:
        node = node.inputs[0]
    return node.name.strip("_") if node is not None and node.kind in {"activation", "softmax"} else ""


# one layer in several places


def _feeder(node: Node) -> Node | None:
    """What feeds a BatchNorm, past what only moves values."""
    before = node.inputs[0] if node.inputs else None
    while before is not None and before.kind in MOVES and len(before.inputs) == 1:
        before = before.inputs[0]
    return before


def applications(seen: Pass) -> dict[int, list[Node]]:
    """The applications to the first batch, by layer."""
    found: dict[int, list[Node]] = {}
    for node in nodes(seen):
        if node.call.module is not None:
            found.setdefault(id(node.call.module), []).append(node)
    return found


def shared(live: Live, seen: Pass, *, evaluated: bool) -> Iterator[Shared]:
    """BatchNorm layers that are applied in several places of one forward."""
    for several in applications(seen).values():
        module = several[0].call.module
        path = live.path(module)
        if path is None or len(several) < 2:
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


def _two_feeders(several: list[Node]) -> tuple[tuple[Node, Node], tuple[Node, Node]] | None:
    """Two layers that both feed it, each with where it does; None where one may be the same as the other."""
    made = [
        (before, node)
        for node in several
        if (before := _feeder(node)) is not None
        and before.kind in {"conv", "linear"}
        and before.module is not None
    ]
    if len(made) != len(several):
        return None
    other = next((one for one in made if one[0].module is not made[0][0].module), None)
    return None if other is None else (made[0], other)


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
    for earlier, later in zip(several, several[1:], strict=False):
        between = list(_between(earlier, later))
        if not between or not any(_joins_a_step(node, earlier) for node in between):
            return False
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


def _joins_a_step(node: Node, earlier: Node) -> bool:
    """Does another tensor join here that comes from one step of a sequence, and not by way of `earlier`?"""
    for one in node.inputs:
        if len(node.inputs) > 1 and all(before is not earlier for before in one.ancestors()):
            if any(before.name in SLICES and before.spot is not None for before in one.ancestors()):
                return True
    return False


# shapes


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
    op: Op = live.op(node)
    return Step(op.where, f"{op.name} makes it")
