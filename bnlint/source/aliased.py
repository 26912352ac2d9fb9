"""State of a model that somebody keeps without a copy and uses once the model has moved on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from bnlint.facts import Answer3, Snapshot
from bnlint.finding import Step, Where
from bnlint.source import summary as ir
from bnlint.source.events import words_of
from bnlint.source.interpret import spell
from bnlint.source.kept import WHOLE, Reuse
from bnlint.source.names import is_test_file, words
from bnlint.source.statements import conditioned, expressions, within
from bnlint.source.structure import where_of
from bnlint.source.values import ClassVal, Obj, Place, Value

if TYPE_CHECKING:
    from bnlint.source.scripts import Scripts

BEST: Final = frozenset({"best", "optimal", "optimum", "improved", "improvement", "improves"})
"""Words for what is kept because nothing later may be as good."""
METRICS: Final = frozenset(
    {"loss", "acc", "accuracy", "score", "metric", "auc", "iou", "miou", "dice", "psnr", "ssim", "error"}
    | {"err", "map", "mae", "mse", "rmse", "ndcg", "ppl", "perplexity", "f", "recall", "precision", "reward"}
)
"""Words for what says how good a model is."""
ORDER: Final = frozenset({"<", "<=", ">", ">="})
DONE: Final = {
    "loaded": "it is loaded here",
    "saved": "it is saved here",
    "returned": "it is returned here",
    "used": "it is used here",
}


class Setting(NamedTuple):
    """What keeps something: the target, the conditions around it, and the model as it is written."""

    target: ir.Expr | None
    tests: tuple[ir.Expr, ...]
    model: str = ""


class Aliases:
    """Looks for kept state that is no copy."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts
        self.run = scripts.run
        self.kept = scripts.run.kept

    def __iter__(self) -> Iterator[Snapshot]:
        found: dict[object, list[tuple[Setting, Reuse]]] = {}
        for reuse in self.kept.reuses:
            body = self.kept.bodies[reuse.kept.time]
            setting = setting_of(body, reuse.kept.place.span)
            if setting is not None and self.is_wrong(reuse, setting):
                group = id(body), setting.target and spell(setting.target)
                found.setdefault(group, []).append((setting, reuse))
        for wrong in found.values():
            picked = [one for one in wrong if one[0].tests]  # the others only fill the name until then
            for setting, reuse in picked or wrong:
                yield self.fact(reuse, setting)
        for cls in self.run.project.classes:
            yield from self.across_methods(cls)

    def is_wrong(self, reuse: Reuse, setting: Setting) -> bool:
        """Whether what was kept is meant to be what it was then.

        A state that goes back into its own model does nothing there. What is saved or returned may be meant
        to be the newest, unless it was kept because it was the best.
        """
        return is_best(setting) or (reuse.same and not setting.tests)

    def fact(self, reuse: Reuse, setting: Setting) -> Snapshot:
        kept, moved = reuse.kept, reuse.moved
        model = setting.model or self.scripts.name(kept.model)
        name = "" if setting.target is None else spell(setting.target)
        how = f"`{model}` trains on here" if moved.trained else f"`{model}` gets another state here"
        return Snapshot(
            where=where_of(kept.place),
            model=model,
            name=name,
            of="model" if kept.what == WHOLE else "state",
            moved="trained" if moved.trained else "loaded",
            batchnorm=self.answer(kept.model),
            path=(
                *self.built(kept.model),
                Step(where_of(moved.place), how),
                Step(where_of(reuse.place), DONE[reuse.use]),
            ),
        )

    def built(self, model: Value) -> Iterator[Step]:
        if isinstance(model, Obj):
            yield Step(where_of(model.place), f"`{self.scripts.name(model)}` is built here")

    # an object that keeps state in one method and gives it back in another

    def across_methods(self, cls: ClassVal) -> Iterator[Snapshot]:
        """Early stopping and its like: nobody calls both methods without training in between."""
        methods = [method for method in cls.klass.methods if "state_dict" in method.calls]
        if not methods or is_test_file(cls.module.filename):
            return
        loads = dict(self.given_back(cls))
        for method in methods if loads else ():
            for stmt, tests in conditioned(method.body):
                match stmt:
                    case ir.Assign(
                        targets=(ir.Get(base=ir.Name(id="self"), attr=attr) as target, *_), value=value
                    ):
                        call = aliased_call(value)
                        if call is None or attr not in loads or not is_best(Setting(target, tests)):
                            continue
                        yield self.of_attribute(cls, target, call, loads[attr])

    def given_back(self, cls: ClassVal) -> Iterator[tuple[str, Where]]:
        """The attributes that are loaded into a model, and where."""
        filename = cls.module.filename
        for method in cls.klass.methods:
            if "load_state_dict" not in method.calls:
                continue
            for part in expressions(method.body):
                match part:
                    case ir.Call(
                        func=ir.Get(attr="load_state_dict"),
                        args=(ir.Arg(value=ir.Get(base=ir.Name(id="self"), attr=attr)), *_),
                        span=span,
                    ):
                        yield attr, where_of(Place(filename, span))

    def of_attribute(self, cls: ClassVal, target: ir.Get, call: ir.Call, loaded: Where) -> Snapshot:
        place = Place(cls.module.filename, call.span)
        base = call.func.base if isinstance(call.func, ir.Get) else call.func
        return Snapshot(
            where=where_of(place),
            model=spell(base) or "the model",
            name=spell(target),
            of="state",
            moved="trained",
            batchnorm=self.batchnorm(place),
            path=(Step(loaded, DONE["loaded"]),),
        )

    def batchnorm(self, place: Place) -> Answer3:
        """Whether the models whose state is taken at a place have BatchNorm, as far as any is known."""
        answers = {self.answer(model) for model in self.kept.models.get(place, ())}
        return answers.pop() if len(answers) == 1 else self.doubt

    def answer(self, model: Value) -> Answer3:
        """Whether a model has BatchNorm; in a project without it nothing is unknown."""
        found = self.scripts.structure.has_batchnorm(model)
        return self.doubt if found == "unknown" else found

    @cached_property
    def doubt(self) -> Answer3:
        """What is known of a model of which nothing is known: whether the project has BatchNorm at all."""
        foreign = self.run.objects.foreign.values()
        if self.scripts.record.norms or any(
            self.scripts.structure.has_batchnorm(f) == "yes" for f in foreign
        ):
            return "unknown"
        return "no"


def aliased_call(value: ir.Expr) -> ir.Call | None:
    """`model.state_dict()`, perhaps in a shallow copy."""
    match value:
        case ir.Call(func=ir.Get(attr="state_dict"), args=()):
            return value
        case ir.Call(func=ir.Get(base=base, attr="copy"), args=()):
            return aliased_call(base)
        case ir.Call(func=ir.Name(id="dict" | "OrderedDict") | ir.Get(attr="OrderedDict"), args=(arg,)):
            return aliased_call(arg.value)
    return None


def is_best(setting: Setting) -> bool:
    """Whether something is kept because it is the best: its name says so, or the condition around it."""
    named = setting.target is not None and bool(set(words(spell(setting.target))) & BEST)
    return named or any(compares(test) for test in setting.tests)


def compares(test: ir.Expr) -> bool:
    """Whether a condition is about how good a model is: `acc > best`, `is_best`, `loss < lowest`."""
    text = set(words(words_of(test)))
    if text & BEST:
        return True
    return any(isinstance(part, ir.Compare) and part.op in ORDER for part in parts_of(test)) and bool(
        text & METRICS
    )


def parts_of(test: ir.Expr) -> Iterator[ir.Expr]:
    """The conditions that a condition is made of."""
    yield test
    match test:
        case ir.Logic(parts=parts):
            for part in parts:
                yield from parts_of(part)
        case ir.Unary(operand=inner):
            yield from parts_of(inner)


def setting_of(body: ir.Block, span: ir.Span) -> Setting | None:
    """The statement of a function that holds a place."""
    for stmt, tests in conditioned(body):
        match stmt:
            case ir.Assign(targets=(target, *_), value=value, span=whole):
                if whole == span or holds(value, span):
                    return Setting(target_of(target, value, span), tests, written(value, span))
            case ir.Declare(target=target, value=ir.Call() as value) if holds(value, span):
                return Setting(target, tests, written(value, span))
            case ir.Do(value=value) | ir.Return(value=ir.Call() as value) if holds(value, span):
                return Setting(None, tests, written(value, span))
    return None


def target_of(target: ir.Expr, value: ir.Expr, span: ir.Span) -> ir.Expr:
    """What the value at a place is assigned to, also where several are assigned at once."""
    match target, value:
        case ir.Display(items=targets), ir.Display(items=values) if len(targets) == len(values):
            return next((t for t, v in zip(targets, values, strict=True) if holds(v, span)), target)
    return target


def written(value: ir.Expr, span: ir.Span) -> str:
    """How the source calls the model whose state is taken at a place, or that gets another name."""
    for part in within(value):
        match part:
            case ir.Call(func=ir.Get(base=base), span=place) if place == span:
                return spell(base)
    return spell(value) if isinstance(value, ir.Name | ir.Get) else ""


def holds(value: ir.Expr, span: ir.Span) -> bool:
    """Whether an expression holds the one at a place."""
    return any(getattr(part, "span", None) == span for part in within(value))
