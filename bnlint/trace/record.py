"""Watches a forward: which BatchNorm runs in which mode on what, and what made it.

`TorchFunctionMode` sees each function of torch that the model calls, functional and in-place ones too, and
hooks of the process say in which module it happens. Statistics of a batch are had for free: a BatchNorm in
train mode is given buffers of ours with momentum 1, and the model's own are left alone.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from bnlint.trace import operations
from bnlint.trace.layers import is_batchnorm, takes_dimensions
from bnlint.trace.leaves import leaves
from bnlint.trace.nodes import Node, Provenance
from bnlint.trace.seen import Application, Pass, Refused
from bnlint.trace.spots import spot_of

if TYPE_CHECKING:
    from collections.abc import Callable

BY_LAYER: Final = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
BY_TORCH: Final = ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps")
"""The parameters of `F.batch_norm`, and of `torch.batch_norm`."""
DEFAULTS: Final[dict[str, Any]] = {"training": False, "momentum": 0.1, "eps": 1e-5}
SELF_MADE: Final = frozenset({"mul", "multiply", "mul_", "__mul__", "__rmul__", "where"})
"""What activations are written with."""
COMPARISONS: Final = frozenset({"gt", "ge", "lt", "le", "__gt__", "__ge__", "__lt__", "__le__", "sign"})
SAMPLED: Final = 1024
"""So many values per channel are looked at where the statistics of a batch have to be computed."""


class Recorder(TorchFunctionMode):
    """Records what runs while it is entered. `statistics` says that those of eval mode are looked at, too."""

    def __init__(
        self, model: nn.Module, adopt: Callable[[nn.Module], None], *, statistics: bool = True
    ) -> None:
        super().__init__()
        self.seen = Pass()
        self._statistics = statistics
        self._provenance = Provenance()
        self._adopt = adopt
        self._stack: list[nn.Module] = []
        self._counts: list[int] = []
        self._registered = {id(module) for module in model.modules()}
        self._layers = {
            id(tensor): module
            for module in model.modules()
            for tensor in (*module._parameters.values(), *module._buffers.values())  # noqa: SLF001
            if tensor is not None
        }
        self._model = model
        self._handles: list[Any] = []

    # entering and leaving

    def __enter__(self) -> Recorder:  # noqa: PYI034  `Self` is not in Python 3.10
        self._handles = [
            hooks.register_module_forward_pre_hook(self._before),
            hooks.register_module_forward_hook(self._after, always_call=True),
        ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *problem: object) -> None:
        super().__exit__(*problem)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()

    def begin(self, inputs: Any) -> None:
        """A batch is about to go in: its tensors are inputs."""
        self._provenance.clear()
        self._stack.clear()
        self._counts.clear()
        self.seen.batches += 1
        for tensor in leaves(inputs):
            self._provenance.note(tensor[1], Node("input", "input"))

    def end(self, output: Any) -> None:
        """A batch has come out; the tensors of the first one are kept, without the graph behind them."""
        if not self.seen.outputs:
            self.seen.outputs = [
                (path, tensor.detach(), self._provenance.of(tensor)) for path, tensor in leaves(output)
            ]

    # modules

    def _before(self, module: nn.Module, _args: tuple[Any, ...]) -> None:
        self._stack.append(module)
        self._counts.append(len(self.seen.applications))
        self.seen.called.add(id(module))
        if id(module) not in self._registered:
            self._adopt(module)

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if is_batchnorm(module) and args and self._stack and self._stack[-1] is module:
            if output is None:
                self._note_refusal(module, args[0], sys.exc_info()[1])
            elif self._counts[-1] == len(self.seen.applications):
                self._note_unseen(module, args[0], output)
        while self._stack:
            self._counts.pop()
            if self._stack.pop() is module:
                break

    def _note_refusal(self, module: nn.Module, x: Any, error: BaseException | None) -> None:
        if isinstance(x, Tensor) and error is not None and _misfits(module, x):
            self.seen.refused = Refused(module, tuple(x.shape), error, self._provenance.of(x))

    def _note_unseen(self, module: nn.Module, x: Any, output: Any) -> None:
        """A BatchNorm that normalises by a function of its own, as SyncBatchNorm does on several devices."""
        if isinstance(x, Tensor) and isinstance(output, Tensor) and x.dim() > 1:
            mean = getattr(module, "running_mean", None)
            training = module.training or mean is None
            seen = self._application({"running_mean": mean, "training": training}, x)
            seen.node = Node("batchnorm", "batch_norm", self._inputs((x,), {}), seen.spot, module, call=seen)
            self.seen.applications.append(seen)
            self._provenance.note(output, seen.node)

    # functions

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = operations.named(func)
        if operations.KINDS.get(name) == "batchnorm":
            return self._normalise(func, name, args, kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._note(result, name, args, kwargs)
        elif isinstance(result, (tuple, list)):
            made: Node | None = None
            for one in result:
                if isinstance(one, Tensor):
                    made = self._node(name, args, kwargs) if made is None else replace(made)
                    self._provenance.note(one, made)
        elif name == "__setitem__" and isinstance(args[0], Tensor):
            self._note(args[0], name, args, kwargs)
        return result

    def _note(self, result: Tensor, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if result.__class__ is not nn.Parameter:
            self._provenance.note(result, self._node(name, args, kwargs))

    def _node(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node:
        """The operation as a node. A value that is multiplied by its own sigmoid is an activation (Swish)."""
        kind = operations.kind_of(name, args, kwargs)
        inputs = self._inputs(*operations.valued(name, args, kwargs))
        if name == "maximum" and len(inputs) == 1 and self._is_zero(args):
            kind = "activation"
        module = self._stack[-1] if self._stack else None
        node = Node(kind, name, inputs, spot_of(sys._getframe(2)), module)  # noqa: SLF001
        if kind in {"conv", "linear"}:
            node.module, node.bias, node.made = self._weighted(args, kwargs, module)
        elif kind == "dropout":
            node.rate = _rate(args, kwargs, module)
        elif len(inputs) > 1:
            _as_activation(node)
        elif kind in {"multiply", "add"} and not _has_tensors(args, kwargs):
            node.kind = "identity"  # all values are scaled or shifted alike
        return node

    def _inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Node, ...]:
        """What made the tensors that go in; parameters and constants are none."""
        found: list[Node] = []
        for value in (*args, *kwargs.values()) if kwargs else args:
            if isinstance(value, Tensor):
                self._add(found, value)
            elif isinstance(value, (tuple, list)):
                for one in value:
                    if isinstance(one, Tensor):
                        self._add(found, one)
        return tuple(found)

    def _add(self, found: list[Node], tensor: Tensor) -> None:
        node = self._provenance.of(tensor)
        if node is None and self._comes_from_elsewhere(tensor):
            node = Node("unknown", "")
            self._provenance.note(tensor, node)
        if node is not None and node.is_data:
            found.append(node)

    def _is_zero(self, args: tuple[Any, ...]) -> bool:
        """Is one of the arguments a tensor of zeros that was made for this?"""
        made = [self._provenance.of(one) for one in args if isinstance(one, Tensor)]
        return any(node is not None and "zeros" in node.name for node in made)

    def _comes_from_elsewhere(self, tensor: Tensor) -> bool:
        """Was it made where nothing is seen, as in a scripted part? Parameters and buffers were not."""
        return not isinstance(tensor, nn.Parameter) and id(tensor) not in self._layers and tensor.dim() > 0

    def _weighted(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], module: nn.Module | None
    ) -> tuple[nn.Module | None, bool, int | None]:
        """The layer whose weight or bias this is, whether there is a bias, and how many channels it makes."""
        weight = args[1] if len(args) > 1 else kwargs.get("weight")
        bias = args[2] if len(args) > 2 else kwargs.get("bias")
        has_bias = isinstance(bias, Tensor)
        owner = self._layers.get(id(weight)) or self._layers.get(id(bias))
        if owner is None and isinstance(module, (nn.Linear, _ConvNd)):
            owner = module
        made = (
            bias.numel()
            if isinstance(bias, Tensor)
            else weight.shape[0]
            if isinstance(weight, Tensor)
            else None
        )
        return owner, has_bias, made

    # BatchNorm

    def _normalise(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a BatchNorm in its mode; in train mode statistics go into buffers of ours."""
        order = BY_LAYER if getattr(func, "__module__", "") == "torch.nn.functional" else BY_TORCH
        given: dict[str, Any] = {**DEFAULTS, **dict(zip(order, args, strict=False)), **kwargs}
        x = given["input"]
        if not isinstance(x, Tensor) or x.dim() < 2:
            return func(*args, **kwargs)
        seen = self._application(given, x)
        seen.node = node = Node("batchnorm", name, self._inputs((x,), {}), seen.spot, seen.module, call=seen)
        if seen.training and seen.values == 1 and order is BY_LAYER:
            seen.raises = True
            result = torch.zeros_like(x)
        elif seen.training and seen.tracked and not _is_transformed(x):
            result = self._measure(func, order, args, kwargs, given, seen)
        else:
            if seen.of_data and self._statistics and self.seen.batches <= FEW and not _is_transformed(x):
                _sample(seen, x.detach())
            result = func(*args, **kwargs)
        self.seen.applications.append(seen)
        self._provenance.note(result[0] if isinstance(result, tuple) else result, node)
        return result

    def _application(self, given: dict[str, Any], x: Tensor) -> Application:
        mean, weight = given.get("running_mean"), given.get("weight")
        owner = self._stack[-1] if self._stack else None
        module = self._layers.get(id(mean)) or self._layers.get(id(weight))
        if module is None and is_batchnorm(owner):
            module = owner
        channels = x.shape[1]
        return Application(
            module=module,
            owner=owner,
            training=bool(given["training"]),
            asked=owner is not None and owner.training,
            momentum=given.get("momentum"),
            eps=given.get("eps", DEFAULTS["eps"]),
            tracked=isinstance(mean, Tensor) or _has_buffers(module),
            samples=x.shape[0],
            values=x.numel() // channels if channels else 0,
            channels=channels,
            dimensions=x.dim(),
            grad=torch.is_grad_enabled(),
            batch=self.seen.batches,
            spot=spot_of(sys._getframe(3), module),  # noqa: SLF001
            keeps=id(mean) in self._layers,
            inner=None if owner is None else spot_of(sys._getframe(3)),  # noqa: SLF001
            running_mean=mean if isinstance(mean, Tensor) else None,
            running_var=given.get("running_var"),
            weight=weight if isinstance(weight, Tensor) else None,
        )

    def _measure(  # noqa: PLR0913, PLR0917  as it was called, and as it is understood
        self,
        func: Any,
        order: tuple[str, ...],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        given: dict[str, Any],
        seen: Application,
    ) -> Any:
        """Normalise by the batch, and keep its mean and variance."""
        like = seen.running_mean if seen.running_mean is not None else given["input"]
        options: dict[str, Any] = {"device": given["input"].device, "dtype": _kept_in(like)}
        many = seen.channels if seen.running_mean is None else seen.running_mean.numel()
        seen.mean, seen.var = torch.zeros(many, **options), torch.ones(many, **options)
        ours = {"running_mean": seen.mean, "running_var": seen.var, "momentum": 1.0}
        if seen.eps <= 0:
            ours["eps"] = DEFAULTS["eps"]  # torch refuses it, which is another finding
        renewed = [ours.get(key, value) for key, value in zip(order, args, strict=False)]
        rest = {**kwargs, **{key: value for key, value in ours.items() if key not in order[: len(args)]}}
        return func(*renewed, *args[len(order) :], **rest)


FEW: Final = 2
"""Batches of which statistics are looked at in eval mode, where they cost something."""


def _misfits(layer: nn.Module, x: Tensor) -> bool:
    """Does a layer not take an input of this shape? It can raise for other reasons."""
    takes = takes_dimensions(layer)
    if takes and x.dim() not in takes:
        return True
    features = getattr(layer, "num_features", None)
    return x.dim() > 1 and isinstance(features, int) and x.shape[1] != features


def _is_transformed(x: Tensor) -> bool:
    """Does it stand for others inside `torch.vmap` and its like, where its values are not to be kept?"""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(x))  # noqa: SLF001  # there is no public one


def _kept_in(like: Tensor) -> torch.dtype:
    return like.dtype if like.dtype.is_floating_point else torch.float32


def _has_buffers(module: nn.Module | None) -> bool:
    return module is not None and isinstance(getattr(module, "running_mean", None), Tensor)


def _sample(seen: Application, x: Tensor) -> None:
    """The statistics of some of the values, evenly spread over the batch."""
    flat = x.flatten(2) if x.dim() > 2 else x.unsqueeze(2)
    stride = max(1, seen.values // SAMPLED)
    some = flat[:, :, :: min(stride, flat.shape[2])].float()
    if some.shape[0] * some.shape[2] > 1:
        seen.var, seen.mean = torch.var_mean(some, dim=(0, 2))


def _rate(args: tuple[Any, ...], kwargs: dict[str, Any], module: nn.Module | None) -> float | None:
    """The probability of a dropout; that of a layer counts in either mode, that of a call where it drops."""
    own = getattr(module, "p", None)
    if isinstance(module, _DropoutNd) and isinstance(own, (int, float)):
        return float(own)
    rate = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    training = args[2] if len(args) > 2 else kwargs.get("training", True)
    return float(rate) if training and isinstance(rate, (int, float)) else 0.0


def _has_tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Is there a second tensor among the arguments, such as a learned scale?"""
    values = (*args, *kwargs.values())
    return sum(isinstance(value, Tensor) and value.dim() > 0 for value in values) > 1


def _as_activation(node: Node) -> None:
    """Turn what is computed from one value alone into an activation: x sigmoid(x), where(x > 0, x, 0.1 x)."""
    if node.kind not in {"multiply", "concat"} or node.name not in SELF_MADE:
        return
    ways = [_bent_from(one) for one in node.inputs]
    for source in ways[0]:
        bends = [_until(source, way) for way in ways]
        if None not in bends:
            bent = any(one.kind == "activation" for way in bends for one in way or ())
            if bent or node.name == "where":
                node.kind, node.name, node.inputs = "activation", "activation", (source,)
            return


def _until(source: Node, way: list[Node]) -> list[Node] | None:
    """The part of a way from a value back to its source, or to another part of what that was cut from."""
    for number, one in enumerate(way):
        if one is source or (one.name in operations.SLICES and one.inputs == source.inputs):
            return way[:number]
    return None


def _bent_from(node: Node) -> list[Node]:
    """A value, and what it is computed from by itself alone: scaled, compared, through activations."""
    found = [node]
    while len(node.inputs) == 1 and (node.kind in {"activation", "identity"} or node.name in COMPARISONS):
        node = node.inputs[0]
        found.append(node)
    return found
