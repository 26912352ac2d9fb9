"""Batch normalisation that a module computes itself: what it normalises by, whatever its mode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bnlint.facts import UNKNOWN, Answer3, Computed, Setting
from bnlint.finding import Step
from bnlint.source import summary as ir
from bnlint.source.layers import FUNCTIONS, torch_name
from bnlint.source.link import functions_of
from bnlint.source.moments import MOMENTS, Moments, Normalised
from bnlint.source.names import is_test_file, words
from bnlint.source.objects import last_name
from bnlint.source.overrides import is_closed
from bnlint.source.paths import passes
from bnlint.source.scripts import ADAPTING
from bnlint.source.statements import calls_in, expressions, names_in, statements
from bnlint.source.structure import where_of
from bnlint.source.values import ArgVal, ClassVal, Const, Func, Obj, Place, Sym, Value

if TYPE_CHECKING:
    from bnlint.source.events import Functional
    from bnlint.source.structure import Structure

MEANT: Final = ADAPTING | {"few", "shot", "fewshot", "fsl", "transductive", "precise", "adaptive", "adabn"}
"""Words in the name of a file, a class or a function that normalises by the batch on purpose."""
MEANT_CLASS: Final = MEANT | {"train", "training", "batchwise", "ghost", "virtual", "loss", "whitening"}
"""The same, in the name of a class."""
FROZEN: Final = re.compile(
    r"froze|freez|fix|eval|static|affine|infer|fold|fuse|quant|pretrain|convert|const|deploy|test|target",
    re.IGNORECASE,
)
"""A class of such a name has statistics that come from elsewhere and stay as they are."""
BATCHNORM_NAME: Final = re.compile(r"(?i:batch_?norm)|BN|(?<![A-Za-z])bn(?![a-z])")
"""Names of what is meant as batch normalisation."""
BATCH_MOMENT: Final = re.compile(
    r"(^|_)batch_?(mean|mu|var|variance|std|stats|statistics)(_|$)", re.IGNORECASE
)
"""Names of the batch's own mean and variance."""
OTHER_NORM: Final = re.compile(
    r"instance|layer_?norm|group|graph|pair|rms|pixel|spectral|whiten|decorrel|ghost|virtual|mini|contrast|loss"
    r"|criterion|standardi|ada(?!pt)|\bln\b|\bin\b",
    re.IGNORECASE,
)
"""Names of what normalises otherwise, or for another reason."""
KEPT: Final = re.compile(
    r"running|moving|momentum|(^|_)ema(_|$)|(^|_)(stored|global|pop|population|tracked|inference|saved|fixed)_"
    r"|track_|decay|(^|_)(avg|average|mean|mu|var)_?(ema|avg|hat|all|global|test)$",
    re.IGNORECASE,
)
"""Names of statistics that a module keeps."""
MODE: Final = re.compile(
    r"(^|_)(train|training|eval|evaluate|test|testing|mode|phase|inference|is_grad_enabled|grad_enabled)(_|$)",
    re.IGNORECASE,
)
"""Names of what tells training from evaluation."""
BUFFERS: Final = frozenset({"zeros", "ones", "empty", "full", "Parameter", "Tensor", "FloatTensor", "tensor"})
"""What makes the statistics of a module."""
INITIAL: Final = frozenset(
    {"__init__", "reset_running_stats", "reset_parameters", "reset_stats", "init_parameters", "init_weights"}
    | {"_load_from_state_dict", "extra_repr", "__repr__", "__setstate__"}
)
"""Methods that write statistics and do not follow the data."""
STATISTICS: Final = ("running_mean", "running_var")
TRAINING: Final = 5
"""The position of `training` in `F.batch_norm` and in `torch.batch_norm`."""


def computed(structure: Structure, classes: list[ClassVal]) -> Iterator[Computed]:
    """Every batch normalisation that a module computes itself."""
    yield from Calls(structure).facts()
    for cls in classes:
        if may_normalise(cls.klass):
            yield from handwritten(structure, cls)


def bodies(structure: Structure, cls: Value) -> list[ClassVal]:
    """A class and the project's classes that it inherits from."""
    return [base for base in structure.run.objects.bases(cls) if isinstance(base, ClassVal)]


def methods(classes: list[ClassVal]) -> Iterator[ir.Function]:
    for cls in classes:
        yield from cls.klass.methods


def is_meant(filename: str, cls: str, functions: list[str]) -> bool:
    """Whether a name says that the batch normalises on purpose."""
    named = {w for name in (filename.rpartition("/")[2], *functions) for w in words(spaced(name))}
    return bool(named & MEANT) or bool(set(words(spaced(cls))) & MEANT_CLASS)


def spaced(name: str) -> str:
    """A name with its abbreviations apart: `MAMLBatchNorm` has three words."""
    return re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])", "_", name)


def learns(structure: Structure, cls: ClassVal) -> Answer3:
    """Whether a module has parameters of its own that are learnt."""
    if is_torch_batchnorm(structure, cls):
        return "yes"
    found = [
        c
        for m in methods(bodies(structure, cls))
        for c in calls_in(m.body)
        if last_name(c.func) == "Parameter"
    ]
    if not found:
        return "no"
    held = [c for c in found if any(a.name == "requires_grad" for a in c.args)]
    return "yes" if len(held) < len(found) else "no"


def is_torch_batchnorm(structure: Structure, cls: ClassVal) -> bool:
    """Whether a class inherits torch's BatchNorm, statistics included."""
    base = structure.run.objects.external_base(cls)
    name = None if base is None else torch_name(base.path)
    return name is not None and "BatchNorm" in name


# F.batch_norm


class Calls:
    """The calls of `F.batch_norm` that were recorded, judged together: all ways through a forward count."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.run = structure.run
        self.events = self.run.events.record.functional
        self.flags = [(event, self.flag(event)) for event in self.events]

    def facts(self) -> Iterator[Computed]:
        seen: set[tuple[Place, int]] = set()
        for event, flag in self.flags:
            cls = event.owner.cls
            if isinstance(cls, ClassVal) and (event.place, cls.key) not in seen:
                seen.add((event.place, cls.key))
                fact = self.fact(event, cls, flag)
                if fact is not None:
                    yield fact

    def fact(self, event: Functional, cls: ClassVal, flag: ArgVal | None) -> Computed | None:
        held = self.statistics(event, cls)
        if held is None or any(
            stmt.name in {"train", "eval"} for stmt in methods(bodies(self.structure, cls))
        ):
            return None
        owner, attribute = held
        own = owner is event.owner
        training = self.setting(event, flag)
        return Computed(
            cls=cls.klass.name,
            how="functional",
            where=where_of(event.place),
            training=training,
            statistics="yes",
            updated=self.updated(cls, attribute) if own and training.value is False else "unknown",
            trained=learns(self.structure, cls),
            meant=self.meant(event, cls, training),
            assumed=self.assumed(event, flag),
            evidence=training.evidence,
        )

    # the flag

    def flag(self, event: Functional) -> ArgVal | None:
        """The argument `training`; None where it is left out or not known."""
        return event.args.get(TRAINING, "training")

    def setting(self, event: Functional, flag: ArgVal | None) -> Setting:
        """The flag with which every path through the forward normalises."""
        where = where_of(event.place)
        value = self.constant(event, flag)
        if value is None or not self.is_on_every_path(event, value):
            return Setting(UNKNOWN, where, given=flag is not None)
        if flag is None:
            return Setting(value, where, given=False)
        const = self.run.force(flag.value)
        steps: tuple[Step, ...] = ()
        if isinstance(const, Const) and const.place is not None and const.place != flag.place:
            steps = (Step(where_of(const.place), f"`{const.name or 'training'}` is {value} here"),)
        return Setting(value, where_of(flag.place), evidence=steps)

    def constant(self, event: Functional, flag: ArgVal | None) -> bool | None:
        """What `training` certainly is; torch's default is False."""
        if flag is None:
            return None if event.args.open else False
        match self.run.force(flag.value):
            case Const(value=bool() as value) as const if not self.is_varied(event, const):
                return value
        return None

    def is_on_every_path(self, event: Functional, value: bool) -> bool:
        """Whether every way through the forward that returns passes such a call."""
        alike: dict[int, set[ir.Span]] = {}
        for other, flag in self.flags:
            if other.owner.cls is event.owner.cls and self.constant(other, flag) is value:
                for func, span in other.path:
                    alike.setdefault(id(func.function), set()).add(span)
        return all(passes(func.function.body, alike[id(func.function)]) for func, _ in event.path)

    def parameter(self, event: Functional, const: Const) -> ir.Param | None:
        """The parameter whose default a constant is."""
        functions = [func.function for func, _ in event.path]
        if isinstance(event.owner.cls, ClassVal):
            functions += methods(bodies(self.structure, event.owner.cls))
        params = (p for function in functions for p in function.params)
        return next((p for p in params if const.place is not None and p.span == const.place.span), None)

    def is_varied(self, event: Functional, const: Const) -> bool:
        """Whether somebody may give another value than the default, or write the attribute that holds it."""
        attribute = flag_attribute(event)
        if attribute and any(assigns(body, attribute) for name, body in self.bodies() if name != "__init__"):
            return True
        param = self.parameter(event, const)
        if param is None:
            return False
        return any(gives(call, param.name) for _, body in self.bodies() for call in calls_in(body))

    def bodies(self) -> Iterator[tuple[str, ir.Block]]:
        """What the files and the functions of the project do, with their names."""
        summaries = self.run.project.summaries.values()
        yield from (("", summary.body) for summary in summaries)
        yield from ((function.name, function.body) for function in functions_of(summaries))

    def assumed(self, event: Functional, flag: ArgVal | None) -> str | None:
        """That nobody outside of what was read gives another value."""
        const = None if flag is None else self.run.force(flag.value)
        param = self.parameter(event, const) if isinstance(const, Const) else None
        return None if param is None else f"nobody passes another `{param.name}`"

    # the statistics

    def statistics(self, event: Functional, cls: ClassVal) -> tuple[Obj, str] | None:
        """The module that keeps what a call is given as `running_mean`, and its name there."""
        if is_instance_norm(event.path[-1][0].function):
            return None
        mean = event.args.value(1, STATISTICS[0])
        var = event.args.value(2, STATISTICS[1])
        held = None if mean is None else self.attribute(event.owner, mean)
        if held is None or var is None or self.attribute(event.owner, var) is None:
            return None
        owner, attribute = held
        if owner is event.owner and not self.registers(cls, attribute):
            return None
        return held

    def attribute(self, module: Obj, value: Value) -> tuple[Obj, str] | None:
        """The attribute of a module, or of a BatchNorm that it holds, that a value is."""
        value = self.run.force(value)
        parts = [p for p in self.run.objects.registered.get(module.key, ()) if isinstance(p, Obj)]
        for owner in (module, *(p for p in parts if self.run.objects.kind(p) == "batchnorm")):
            match value:
                case Sym(key=(key, str() as name)) if key == owner.key:
                    return owner, name
            for name in self.run.objects.names.get(owner.key, ()):
                if self.run.root.get((owner.key, name)) is value:
                    return owner, name
        return None

    def registers(self, cls: ClassVal, attribute: str) -> bool:
        """Whether a module makes statistics of this name."""
        if attribute in STATISTICS and is_torch_batchnorm(self.structure, cls):
            return True
        return any(makes_buffer(m, attribute) for m in methods(bodies(self.structure, cls)))

    def updated(self, cls: ClassVal, attribute: str) -> Answer3:
        """Whether anything but the call itself moves the statistics."""
        if not is_closed(self.structure.run.objects, cls) and not is_torch_batchnorm(self.structure, cls):
            return "unknown"
        own = [m for m in methods(bodies(self.structure, cls)) if m.name not in INITIAL]
        if any(moves(m, attribute) or normalises_by_batch(m) for m in own):
            return "yes"
        names = {m.name for m in methods(bodies(self.structure, cls))}
        others = functions_of(self.run.project.summaries.values())
        return (
            "unknown" if any(moves(f, attribute) for f in others if f.name not in names | INITIAL) else "no"
        )

    def meant(self, event: Functional, cls: ClassVal, training: Setting) -> Answer3:
        """Whether the flag is fixed on purpose, by a name or by a momentum of 1 or 0."""
        if is_meant(cls.module.filename, cls.klass.name, [f.function.name for f, _ in event.path]):
            return "yes"
        if training.value is False and FROZEN.search(cls.klass.name):
            return "yes"
        momentum = event.args.value(6, "momentum")
        if (
            momentum is not None
            and isinstance(value := self.run.force(momentum), Const)
            and value.value in {0, 1}
        ):
            return "yes"
        return "unknown" if is_test_file(event.place.filename) else "no"


def flag_attribute(event: Functional) -> str:
    """The attribute that a call is given as `training`, empty if it is none."""
    function, span = event.path[-1]
    call = next((c for c in calls_in(function.function.body) if c.span == span), None)
    positional = [] if call is None else [a for a in call.args if a.name is None]
    given = [a for a in call.args if a.name == "training"] if call is not None else []
    match [*given, *positional[TRAINING : TRAINING + 1]]:
        case [ir.Arg(value=ir.Get(attr=attribute))]:
            return str(attribute)
    return ""


def assigns(body: ir.Block, attribute: str) -> bool:
    """Whether statements write to an attribute of this name."""
    for stmt in statements(body):
        match stmt:
            case ir.Assign(targets=targets) if any(mentions(t, attribute) for t in targets):
                return True
            case ir.Update(target=target) if mentions(target, attribute):
                return True
    return False


def gives(call: ir.Call, name: str) -> bool:
    """Whether a call may give an argument of this name: by its name, in `**`, or as a bare flag."""
    if last_name(call.func) in FUNCTIONS:
        return False
    for arg in call.args:
        match arg:
            case ir.Arg(name="**") | ir.Arg(name=None, value=ir.Lit(value=bool())):
                return True
            case ir.Arg(name=given, value=value):
                if given == name or (given is None and MODE.search(last_name(value))):
                    return True
    return False


def is_instance_norm(function: ir.Function) -> bool:
    """Whether samples become channels of one sample: `x.view(1, N * C, …)`."""
    for call in calls_in(function.body):
        if last_name(call.func) in {"view", "reshape"} and any(is_one(a.value) for a in call.args[:2]):
            return True
    return False


def is_one(node: ir.Expr) -> bool:
    match node:
        case ir.Lit(value=1) | ir.Display(items=(ir.Lit(value=1), *_)):
            return True
    return False


def makes_buffer(method: ir.Function, attribute: str) -> bool:
    """`self.register_buffer("attribute", torch.zeros(…))` or `self.attribute = torch.zeros(…)`."""
    for call in calls_in(method.body):
        match call:
            case ir.Call(func=ir.Get(attr="register_buffer"), args=(first, second, *_)):
                if first.value == ir.Lit(attribute) and second.value != ir.Lit(None):
                    return True
    for stmt in statements(method.body):
        match stmt:
            case ir.Assign(targets=(ir.Get(attr=name),), value=value) if name == attribute:
                if any(last_name(c.func) in BUFFERS for c in calls_in((stmt,))) and value != ir.Lit(None):
                    return True
    return False


def moves(function: ir.Function, attribute: str) -> bool:
    """Whether a function may write to an attribute of this name: assigned, changed in place, given away."""
    if assigns(function.body, attribute):
        return True
    for call in calls_in(function.body):
        match call.func:
            case ir.Get(base=base, attr=name) if name.endswith("_") and mentions(base, attribute):
                return True
        if last_name(call.func) not in FUNCTIONS and any(is_attribute(a.value, attribute) for a in call.args):
            return True
    return False


def normalises_by_batch(function: ir.Function) -> bool:
    """Whether a function calls `F.batch_norm` with another flag than False, which moves the statistics."""
    for call in calls_in(function.body):
        positional = [a for a in call.args if a.name is None][TRAINING : TRAINING + 1]
        given = [*positional, *(a for a in call.args if a.name in {"training", "**"})]
        if last_name(call.func) == "batch_norm" and any(a.value != ir.Lit(False) for a in given):
            return True
    return False


def mentions(node: object, attribute: str) -> bool:
    """Whether an attribute of this name stands anywhere in an expression."""
    if isinstance(node, ir.Get) and node.attr == attribute:
        return True
    return isinstance(node, tuple) and any(mentions(part, attribute) for part in node)


def is_attribute(node: ir.Expr, attribute: str) -> bool:
    match node:
        case ir.Get(base=base, attr=name):
            return name == attribute or (name == "data" and is_attribute(base, attribute))
    return False


# written out


def may_normalise(klass: ir.Class) -> bool:
    """Whether a class may normalise a batch: its name says so, or it computes moments and knows of a norm."""
    if BATCHNORM_NAME.search(klass.name):
        return True
    if not klass.words & {"norm", "some norm"} and "norm" not in klass.name.lower():
        return False
    return any(method.calls & MOMENTS for method in klass.methods)


def handwritten(structure: Structure, cls: ClassVal) -> Iterator[Computed]:
    """A module that normalises by the mean and the variance of its batch, and keeps neither."""
    objects = structure.run.objects
    forward = objects.find(cls, "forward")
    if not isinstance(forward, Func) or objects.is_module(cls) != "yes" or not is_closed(objects, cls):
        return
    classes = bodies(structure, cls)
    own = list(methods(classes))
    if forward.function not in own or is_torch_batchnorm(structure, cls):
        return
    found = Moments(structure.run, cls).normalised(forward)
    if found is None:
        return
    where = where_of(found.place)
    yield Computed(
        cls=cls.klass.name,
        how="handwritten",
        where=where,
        training=Setting(UNKNOWN if asks_mode(found, own) else True, where, given=False),
        statistics="unknown" if keeps(found, own) else "no",
        trained="yes" if is_batchnorm(found, cls) and learns_scale(structure, cls) else "no",
        meant=meaning(found, cls),
        evidence=(Step(where_of(found.mean), "the mean of this batch"),),
    )


def meaning(found: Normalised, cls: ClassVal) -> Answer3:
    """Whether a name says that the batch normalises on purpose, or that something else is normalised."""
    functions = [f.name for f in found.functions]
    if is_meant(cls.module.filename, cls.klass.name, functions) or OTHER_NORM.search(cls.klass.name):
        return "yes"
    return "unknown" if is_test_file(cls.module.filename) else "no"


def is_batchnorm(found: Normalised, cls: ClassVal) -> bool:
    """Whether the names say that this is batch normalisation."""
    names = [cls.klass.name, *(f.name for f in found.functions)]
    if any(BATCHNORM_NAME.search(name) for name in names):
        return True
    used = {name for f in found.functions for name in names_in(f.body)}
    return found.of_channels and found.guarded and any(map(BATCH_MOMENT.search, used))


def learns_scale(structure: Structure, cls: ClassVal) -> bool:
    """Whether a module learns a scale, itself or by a layer that predicts it."""
    if learns(structure, cls) == "yes":
        return True
    made = {last_name(c.func) for m in methods(bodies(structure, cls)) for c in calls_in(m.body)}
    return bool(made & {"Linear", "Embedding", "Conv1d", "Conv2d", "Conv3d", "register_parameter"})


def asks_mode(found: Normalised, own: list[ir.Function]) -> bool:
    """Whether anything in a module may tell training from evaluation."""
    if any(m.name in {"train", "eval"} for m in own):
        return True
    functions = [*own, *(f for f in found.functions if f not in own)]
    return any(MODE.search(name) for f in functions for name in used_names(f.body))


def keeps(found: Normalised, own: list[ir.Function]) -> bool:
    """Whether a module may keep running statistics."""
    if found.stored or any("register_buffer" in m.calls for m in own):
        return True
    functions = [*own, *(f for f in found.functions if f not in own)]
    params = (p.name for f in functions for p in f.params)
    return any(KEPT.search(n) for n in params) or any(
        KEPT.search(n) for f in functions for n in used_names(f.body)
    )


def used_names(body: ir.Block) -> Iterator[str]:
    """The names, attributes and short strings in a body."""
    for part in expressions(body):
        match part:
            case ir.Name(id=name) | ir.Get(attr=name) | ir.Lit(value=str() as name):
                yield name
