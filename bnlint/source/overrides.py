"""`train` and `eval` methods that replace torch's, judged by what their bodies say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from bnlint.facts import Answer3, Override
from bnlint.source import summary as ir
from bnlint.source.layers import torch_name
from bnlint.source.objects import Objects, last_name
from bnlint.source.statements import calls_in, names_in, statements
from bnlint.source.values import Args, ClassVal, External, Func, Obj, Place, fresh

if TYPE_CHECKING:
    from bnlint.source.structure import Structure

FREEZING: Final = re.compile(r"freeze|frozen|eval|fix_|fixed", re.IGNORECASE)
"""A function with such a name, called behind `super().train(mode)`, puts parts back into eval mode."""
TRAVERSING: Final = frozenset({"children", "modules", "named_children", "named_modules", "apply", "setattr"})
"""What a method calls that switches the layers below it by hand."""
HARMLESS: Final = frozenset(
    {"super", "isinstance", "print", "type", "id", "len", "hasattr", "getattr", "repr", "str"}
)
MODE_NAMES: Final = frozenset({"mode", "is_train", "is_training", "train", "training", "flag"})
DEEPEST: Final = 3
"""Methods of its own that an override calls within each other and that are read with it."""


def overrides(structure: Structure, classes: list[ClassVal]) -> Iterator[Override]:
    """The overrides in classes that certainly are modules."""
    for cls in classes:
        if structure.run.objects.is_module(cls) != "yes":
            continue
        for method in cls.klass.methods:
            if method.name in {"train", "eval"} and method.params:
                yield override(structure, cls, method)


@dataclass(slots=True)
class Body:
    """What an override calls, itself or through methods of its own; `lost` where not all could be read."""

    supers: list[ir.Call] = field(default_factory=list)
    switches: list[ir.Call] = field(default_factory=list)
    others: list[ir.Call] = field(default_factory=list)
    sets_flag: bool = False
    lost: bool = False


def override(structure: Structure, cls: ClassVal, method: ir.Function) -> Override:
    name: Literal["train", "eval"] = "train" if method.name == "train" else "eval"
    body = Body()
    read(body, structure.run.objects, cls, method, name, DEEPEST)
    place = Place(cls.module.filename, method.span)
    return Override(
        cls=cls.klass.name,
        method=name,
        where=place.where(),
        returns=returns(method.body, method.params[0].name) if is_switch(method) else "unknown",
        reaches=reaches(body, method),
        honours=honours(body, method),
        batchnorm=structure.has_batchnorm(Obj(fresh(), cls, Args(), place)),
        always_eval=name == "train" and keeps_eval(body),
    )


def read(body: Body, objects: Objects, cls: ClassVal, method: ir.Function, name: str, depth: int) -> None:
    """Collect the calls of a method and of the class's own methods that it calls."""
    receiver = method.params[0].name if method.params else ""
    body.sets_flag |= sets_flag(method.body)
    for call in calls_in(method.body):
        if is_super(call, name, receiver):
            body.supers.append(call)
        elif call_name(call) in {"train", "eval"}:
            body.switches.append(call)
        else:
            body.others.append(call)
            follow(body, objects, cls, call, receiver, name, depth)


def follow(
    body: Body, objects: Objects, cls: ClassVal, call: ir.Call, receiver: str, name: str, depth: int
) -> None:
    """`self.method(…)` is read too; who else gets hold of `self` may do anything."""
    match call.func:
        case ir.Get(base=ir.Name(id=base), attr=attr) if base == receiver:
            found = objects.find(cls, attr)
            if isinstance(found, Func) and depth:
                read(body, objects, cls, found.function, name, depth - 1)
            elif found is not None or not is_closed(objects, cls):
                body.lost = True
            return
    if call_name(call) not in HARMLESS and any(arg.value == ir.Name(receiver) for arg in call.args):
        body.lost = True


def is_closed(objects: Objects, cls: ClassVal) -> bool:
    """Whether every base of a class is the project's own or torch's."""
    for base in objects.bases(cls):
        match base:
            case ClassVal():
                continue
            case External(path=path) if torch_name(path) is not None or path == "builtins.object":
                continue
        return False
    return True


def is_switch(method: ir.Function) -> bool:
    """Whether a method can be called as torch's is: one that needs more means something else."""
    needed = [p for p in method.params[1:] if p.default is None and p.kind in {"both", "position", "keyword"}]
    return not needed or (len(needed) == 1 and len(method.params) == 2 and needed[0].name in MODE_NAMES)


def reaches(body: Body, method: ir.Function) -> Answer3:
    """Whether the method gets to torch's own switch, or does what it does."""
    if body.supers:
        return "yes"
    abstract = any(last_name(d) in {"abstractmethod", "overload"} for d in method.decorators)
    if body.lost or body.switches or abstract or not method.body or isinstance(method.body[0], ir.Raise):
        return "unknown"
    if any(call_name(c) in TRAVERSING for c in body.others):
        return "unknown"
    return "no"


def honours(body: Body, method: ir.Function) -> Answer3:
    """Whether the parameter `mode` decides anything."""
    if method.name == "eval" or body.lost or any(p.kind in {"*", "**"} for p in method.params):
        return "unknown"
    parameter = method.params[1].name if len(method.params) > 1 else ""
    if parameter in set(names_in(method.body)):
        return "yes"
    receiver = ir.Name(method.params[0].name)
    if any(not isinstance(a.value, ir.Lit) and a.value != receiver for c in body.supers for a in c.args):
        return "unknown"
    return "no" if parameter == "mode" or body.supers else "unknown"


def is_kept_in_eval(objects: Objects, cls: ClassVal) -> bool:
    """Whether a class's `train` puts parts of it back into eval mode, so that their BatchNorm is frozen."""
    train = objects.find(cls, "train")
    if not isinstance(train, Func) or train.function.name != "train":
        return False
    body = Body()
    read(body, objects, cls, train.function, "train", DEEPEST)
    return keeps_eval(body)


def keeps_eval(body: Body) -> bool:
    """The model, or a part of it, goes back to eval mode whatever is asked."""
    if any(is_constant_false(c) for c in (*body.supers, *body.switches)):
        return True
    if not body.supers:
        return False
    return (
        body.sets_flag
        or any(call_name(c) == "eval" for c in body.switches)
        or any(FREEZING.search(call_name(c)) or call_name(c) == "apply" for c in body.others)
    )


def sets_flag(block: ir.Block) -> bool:
    """`layer.training = False`"""
    for stmt in statements(block):
        match stmt:
            case ir.Assign(targets=(ir.Get(attr="training"),), value=ir.Lit(value=False)):
                return True
    return False


def returns(body: ir.Block, receiver: str) -> Literal["self", "nothing", "unknown"]:
    """What comes back: "nothing" where no path returns anything."""
    values = list(returned(body))
    if not values:
        return "unknown" if not body or any(isinstance(s, ir.Raise) for s in body) else "nothing"
    if all(value is None for value in values):
        return "nothing"
    if all(value == ir.Name(receiver) for value in values):
        return "self"
    return "unknown"


def returned(body: ir.Block) -> Iterator[ir.Expr | None]:
    for stmt in statements(body):
        if isinstance(stmt, ir.Return):
            yield stmt.value


def call_name(call: ir.Call) -> str:
    return last_name(call.func)


def is_super(call: ir.Call, name: str, receiver: str) -> bool:
    """`super().train(…)`, `super(Net, self).eval()`, `nn.Module.train(self, …)`, or `self.train(False)`."""
    match call.func:
        case ir.Get(base=ir.Call(func=ir.Name(id="super"))):
            return call_name(call) in {"train", "eval"}
        case ir.Get(base=ir.Name(id=base), attr="train") if base == receiver:
            return name == "eval"
        case ir.Get(base=ir.Get() | ir.Name(), attr="train" | "eval"):
            return any(arg.value == ir.Name(receiver) for arg in call.args[:1])
    return False


def is_constant_false(call: ir.Call) -> bool:
    """`train(False)`, or `eval()` inside `train`: the module is kept in eval whatever is asked."""
    if call_name(call) == "train":
        return any(isinstance(a.value, ir.Lit) and a.value.value is False for a in call.args)
    return False
