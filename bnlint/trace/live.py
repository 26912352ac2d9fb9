"""A live model as facts speak of it: paths, layers with their places, operations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import nn

from bnlint.facts import Layer, Op, Setting
from bnlint.trace.layers import class_name, layer
from bnlint.trace.locate import Places

if TYPE_CHECKING:
    from bnlint.facts import Chain, Kind
    from bnlint.finding import Where
    from bnlint.trace.nodes import Node
    from bnlint.trace.norms import Norm
    from bnlint.trace.spots import Spot


@dataclass(eq=False)
class Live:
    """A model without its wrappers, and where its parts are built."""

    model: nn.Module
    places: Places
    norms: dict[str, Norm]
    _by_module: dict[int, Norm] = field(init=False)
    _paths: dict[int, str] = field(init=False)
    _layers: dict[tuple[int, Kind], Layer] = field(init=False, default_factory=dict)
    _ops: dict[int, tuple[Node, Op]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_module = {id(norm.module): norm for norm in self.norms.values()}
        self._paths = {id(module): path for path, module in self.model.named_modules()}

    @property
    def name(self) -> str:
        """The class of the model."""
        return class_name(self.model)

    def path(self, module: nn.Module | None) -> str | None:
        """The path of a module; None where the model does not know it."""
        return None if module is None else self._paths.get(id(module))

    def layer(self, module: nn.Module, kind: Kind) -> Layer:
        """A layer as a fact, with the place that builds it."""
        key = (id(module), kind)
        if key not in self._layers:
            path = self.path(module)
            where = replace(self.places.check, module=None) if path is None else self.places.built(path)
            made = layer(module, kind, where)
            if path is not None and kind == "batchnorm":
                passed = self.places.passed(path, made.cls, made.arguments)
                made = replace(made, arguments={**made.arguments, **passed})
            self._layers[key] = made
        return self._layers[key]

    def known(self, module: nn.Module | None) -> Norm | None:
        """A module as one of the layers that normalise; None if it is none."""
        return None if module is None else self._by_module.get(id(module))

    def norm(self, module: nn.Module) -> Layer:
        """A layer that normalises as a fact; of a home-made one the settings are those of its call."""
        found = self.layer(module, "batchnorm")
        norm = self.known(module)
        if norm is None or norm.call is None:
            return found
        where = found.where
        own = {"eps": norm.call.eps, "momentum": norm.call.momentum, "track_running_stats": True}
        own |= {"affine": bool(norm.parameters), "num_features": norm.call.channels}
        return replace(found, arguments={key: Setting(value, where) for key, value in own.items()})

    def layer_at(self, module: nn.Module, where: Where) -> Layer:
        """A BatchNorm that the model does not know as a fact."""
        return layer(module, "batchnorm", where)

    def written(self, module: nn.Module | None, spot: Spot | None) -> Where:
        """Where the order is written: the element of a container, or the call in `forward`."""
        path = self.path(module)
        if path is not None and (spot is None or spot.contained):
            return self.places.built(path)
        return self.places.calling(spot, path)

    def ending(self, module: nn.Module) -> Where | None:
        """Where the model builds the block of another class that a layer is in; None where it is in none."""
        path = self.path(module) or ""
        parts = path.split(".")
        around = (self.model.get_submodule(".".join(parts[:depth])) for depth in range(1, len(parts)))
        if all(isinstance(one, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) for one in around):
            return None
        return self.places.built_by_model(path)

    def op(self, node: Node) -> Op:
        """An operation as a fact; it stands in the chains of all layers behind it."""
        if id(node) not in self._ops:
            self._ops[id(node)] = node, self._op(node)
        return self._ops[id(node)][1]

    def _op(self, node: Node) -> Op:
        module = node.module if node.module is not None and _is_leaf(node.module) else None
        where = self.written(module, node.spot)
        name = class_name(module) if module is not None else node.name
        made: Layer | None = None
        if node.kind in {"conv", "linear"}:
            made = self.layer(module, node.kind) if module is not None else _functional(node, where)
        elif node.kind == "batchnorm" and node.module is not None and self.known(node.module) is not None:
            made, name = self.norm(node.module), class_name(node.module)
        elif node.kind == "dropout":
            made = Layer(name, "dropout", where, {"p": Setting(node.rate, where)})
        return Op(node.kind, name, where, made)

    def chain(self, node: Node | None) -> Chain:
        """The operations before a tensor, nearest first, up to where several tensors meet."""
        found: list[Op] = []
        while node is not None:
            found.append(self.op(node))
            node = node.inputs[0] if len(node.inputs) == 1 else None
        return tuple(found)


def _functional(node: Node, where: Where) -> Layer:
    """A convolution or a linear map that is a function, with tensors of the user's."""
    channels = "out_channels" if node.kind == "conv" else "out_features"
    settings = {"bias": Setting(node.bias, where), channels: Setting(node.made, where)}
    return Layer(node.name, node.kind, where, settings)


def _is_leaf(module: nn.Module) -> bool:
    """Is this one of torch's layers, whose operation it is, and not a block of somebody's?"""
    return type(module).__module__.startswith("torch.nn") and not isinstance(
        module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    )
