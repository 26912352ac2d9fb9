"""Which tensors that a model returns are its answer: the targets say it, or names, or their shape."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from bnlint.facts import MOVES, Answer
from bnlint.finding import Step
from bnlint.trace.leaves import leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bnlint.trace.live import Live
    from bnlint.trace.nodes import Node
    from bnlint.trace.seen import Pass

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
"""Of so many classes that there can be, one may be missing in the batches that were seen."""
IGNORED: Final = (255, -100)
"""Targets that stand for no class."""
PROBABILITIES: Final = frozenset({"softmax", "log_softmax", "sigmoid"})
LOSSES: Final = frozenset(
    """cross_entropy cross_entropy_loss nll_loss binary_cross_entropy binary_cross_entropy_with_logits
    mse_loss l1_loss smooth_l1_loss huber_loss multi_margin_loss gaussian_nll_loss kl_div soft_margin_loss
    multilabel_margin_loss multilabel_soft_margin_loss poisson_nll_loss""".split()  # noqa: SIM905
)
"""Functions that compare their first argument with their second."""
BEHIND: Final = MOVES - {"pool"} | {"resample", "softmax", "activation"}
"""What may stand between a BatchNorm and the answer."""


@dataclass(frozen=True, slots=True)
class Clues:
    """What a check knows of answers: the inputs and the targets of the loader, all tensors."""

    given: list[Tensor]
    targets: list[Tensor]
    classes: int

    @classmethod
    def of(cls, inputs: Any, targets: list[Any]) -> Clues:
        """From the inputs of the first batch, and the targets of all."""
        tensors = [tensor for target in targets for _, tensor in leaves(target)]
        return cls([tensor for _, tensor in leaves(inputs)], tensors, max(map(_classes, tensors), default=0))

    def fits(self, tensor: Tensor) -> str:
        """Why targets are compared with this tensor; empty where they are not."""
        most = self.classes + max(1, self.classes // SPARE)
        for target in self.targets:
            if target.numel() == tensor.numel() and (target.is_floating_point() or self.classes == 2):
                return f"it has the shape {tuple(tensor.shape)} of the loader's targets"
            if any(1 < self.classes <= channels <= most for channels in _places(tensor, target)):
                return f"its shape {tuple(tensor.shape)} has a place for each class of the loader's targets"
        return ""


def _places(tensor: Tensor, target: Tensor) -> Iterator[int]:
    """The sizes of those dimensions of a tensor in which classes can stand, for targets of this shape."""
    shape, wanted = tuple(tensor.shape), tuple(target.shape)
    if not _classes(target) or len(shape) < 2:
        return
    if len(wanted) == len(shape) - 1 and (len(wanted) > 2 or shape[2:] == wanted[1:]):
        yield shape[1]  # (N, classes, ...) for (N, ...); maps may be resized for the loss
    if wanted == shape[:-1]:
        yield shape[-1]
    if math.prod(wanted) == shape[0] and math.prod(shape[2:]) == 1:
        yield shape[1]


def _classes(target: Tensor) -> int:
    """The number of classes up to the highest one in these targets; 0 where they are no classes."""
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool or not target.numel():
        return 0
    known = target[(target != IGNORED[0]) & (target != IGNORED[1])]
    return int(known.max()) + 1 if known.numel() else 0


def answers(live: Live, seen: Pass, clues: Clues) -> Iterator[Answer]:
    """The tensors that come out of a BatchNorm and the model, and what says that they are its answer."""
    fitting = any(clues.fits(tensor) and not NO_HEAD.search(path) for path, tensor, _ in seen.outputs)
    for path, tensor, node in seen.outputs:
        compared = _before_loss(node)
        last = _last_norm(node if compared is None else compared[1])
        if last is None or last.module is None or live.path(last.module) is None:
            continue
        where = live.ending(last.module) or live.written(last.module, last.spot)
        if compared is not None:
            why = [f"`{compared[0]}` compares it with a target"]
        elif fitting:  # others stand beside the answer
            why = [] if NO_HEAD.search(path) else [clues.fits(tensor), *_by_key(path)]
        else:
            why = [*_by_key(path), *_named(live, path, tensor, node, clues)]
        step = (Step(where, f"{text}: it is the model's answer") for text in [one for one in why if one][:1])
        yield Answer(live.name, where, live.chain(node if compared is None else compared[1]), tuple(step))


def _by_key(path: str) -> Iterator[str]:
    if SURE.search(path):
        yield f"it is returned as `{path}`"


def _before_loss(node: Node | None) -> tuple[str, Node] | None:
    """The loss that a returned number comes out of, and what it compares; None if it is no loss."""
    waiting = [node] if node is not None else []
    for one in waiting:
        if one.name in LOSSES and len(one.inputs) > 1 and _is_given(one.inputs[1]):
            return one.name, one.inputs[0]
        if one.kind in {"add", "multiply", "identity", "reshape"} or one.name in {"sum", "mean"}:
            waiting.extend(one.inputs)
    return None


def _is_given(node: Node) -> bool:
    """Is it what the loader gives, as targets are, and not computed as features of it are?"""
    while node.kind in MOVES and len(node.inputs) == 1:
        node = node.inputs[0]
    return node.kind in {"input", "unknown"}


def _last_norm(node: Node | None) -> Node | None:
    """The BatchNorm that an output comes out of, if it does."""
    while node is not None and node.kind in BEHIND and len(node.inputs) == 1:
        node = node.inputs[0]
    return node if node is not None and node.kind == "batchnorm" else None


def _named(live: Live, path: str, tensor: Tensor, node: Node | None, clues: Clues) -> Iterator[str]:
    """What else says that a tensor is an answer. Names of layers do where no target speaks against it."""
    squashed = _squashed(node)
    if squashed in PROBABILITIES:
        yield f"{squashed} makes probabilities of it"
    words = _words(live, path, node)
    fits = not clues.targets or (tensor.dim() > 1 and clues.classes <= tensor.shape[1] <= 2 * clues.classes)
    if fits and not any(map(NO_HEAD.search, words)):
        yield from (f"`{word}` makes it" for word in words if HEAD.search(word))
    yield from _shaped(tuple(tensor.shape), squashed, clues.given)


def _shaped(shape: tuple[int, ...], squashed: str, given: list[Tensor]) -> Iterator[str]:
    """What the shape of a tensor says."""
    if len(shape) == 4 and shape[1] in IMAGE and given:
        if shape == tuple(given[0].shape):
            yield f"it has the shape {shape} of the input"
        elif squashed in {"tanh", "sigmoid"} or given[0].dim() == 2:
            yield f"it is an image, of shape {shape}"
    if shape in {shape[:1], (*shape[:1], 1)}:
        yield "it is one number for each sample"


def _words(live: Live, path: str, node: Node | None) -> list[str]:
    """How the tensor is called where it is returned, and the layers that made it last."""
    found = [path] if path and not path.isdecimal() else []
    while node is not None:
        name = live.path(node.module)
        if node.kind in {"linear", "conv", "batchnorm"} and name:
            found.append(name)
        node = node.inputs[0] if len(node.inputs) == 1 and node.kind not in {"linear", "conv"} else None
    return found


def _squashed(node: Node | None) -> str:
    """The activation behind which the tensor is returned."""
    while node is not None and node.kind in {"reshape", "identity", "resample"} and len(node.inputs) == 1:
        node = node.inputs[0]
    return node.name.strip("_") if node is not None and node.kind in {"activation", "softmax"} else ""
