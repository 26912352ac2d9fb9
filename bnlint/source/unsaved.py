"""Home-made normalisations whose running statistics `state_dict()` does not see."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, Literal

from bnlint.facts import Unsaved
from bnlint.source import summary as ir
from bnlint.source.names import is_test_file
from bnlint.source.objects import last_name
from bnlint.source.statements import calls_in, expressions, statements
from bnlint.source.structure import where_of
from bnlint.source.values import ClassVal, External, Place

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

NORM: Final = re.compile(r"(?<!group)(?<!layer)(?<!instance)norm(?!al)|bn(?![a-z])", re.IGNORECASE)
"""Names of classes that normalise a batch."""
PAIRS: Final = tuple(
    (f"{when}_mean", f"{when}_{what}") for when in ("running", "moving") for what in ("var", "std")
)
"""What running statistics are called."""
MAKERS: Final = frozenset(
    {"zeros", "ones", "full", "empty", "Tensor", "FloatTensor", "tensor", "zero_", "fill_"}
)
"""What makes a plain tensor."""
SAVING: Final = frozenset(
    {"state_dict", "_save_to_state_dict", "get_extra_state", "__getstate__", "_load_from_state_dict"}
)
"""Methods by which a module writes into its state what is no buffer."""

How = Literal["attributes", "not persistent"]


def unsaved(run: Interpreter, classes: Iterable[ClassVal]) -> Iterator[Unsaved]:
    """One fact for each normalisation of a project that loses its statistics when it is saved."""
    for cls in classes:
        if NORM.search(cls.klass.name) and not is_test_file(cls.module.filename):
            methods = {method.name: method for method in cls.klass.methods}
            init = methods.get("__init__")
            if init is None or not is_plain_module(run, cls) or SAVING & methods.keys():
                continue
            yield from lost(cls, init, [m for m in methods.values() if m is not init])


def is_plain_module(run: Interpreter, cls: ClassVal) -> bool:
    """Whether nothing that a class inherits from can register buffers of these names, or save them."""
    bases = [base for base in run.objects.bases(cls) if base is not cls]
    return bool(bases) and all(
        isinstance(base, External) and base.path in {"torch.nn.Module", "torch.nn.modules.Module"}
        for base in bases
    )


def lost(cls: ClassVal, init: ir.Function, others: list[ir.Function]) -> Iterator[Unsaved]:
    ways: tuple[tuple[How, dict[str, ir.Span]], ...] = (
        ("attributes", dict(attributes(init))),
        ("not persistent", dict(buffers(init))),
    )
    for pair in PAIRS:
        for how, found in ways:
            if all(name in found for name in pair):
                used = any(mentions(method, pair[0]) for method in others)
                where = where_of(Place(cls.module.filename, found[pair[0]]))
                yield Unsaved(where, cls.klass.name, pair, how, "yes" if used else "unknown")


def attributes(init: ir.Function) -> Iterator[tuple[str, ir.Span]]:
    """The plain tensors that a constructor leaves in attributes."""
    for stmt in statements(init.body):
        match stmt:
            case ir.Assign(
                targets=(ir.Get(base=ir.Name(id="self"), attr=attr),), value=ir.Call() as made, span=span
            ):
                if last_name(made.func) in MAKERS:
                    yield attr, span


def buffers(init: ir.Function) -> Iterator[tuple[str, ir.Span]]:
    """The buffers that a constructor registers for the time being only."""
    for call in calls_in(init.body):
        match call:
            case ir.Call(
                func=ir.Get(attr="register_buffer"), args=(ir.Arg(value=ir.Lit(value=str() as name)), *rest)
            ):
                flags = [a.value for a in rest if a.name == "persistent"] or [a.value for a in rest[1:2]]
                if any(isinstance(flag, ir.Lit) and flag.value is False for flag in flags):
                    yield name, call.span


def mentions(method: ir.Function, attr: str) -> bool:
    """Whether a method works with an attribute of its instance."""
    return any(
        isinstance(part, ir.Get) and part.attr == attr and part.base == ir.Name("self")
        for part in expressions(method.body)
    )
