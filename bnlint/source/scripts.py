"""What programs do with models: evaluate, train, feed, save and load them. The record becomes facts."""

from __future__ import annotations

import re
from collections.abc import Container, Hashable, Iterator
from dataclasses import replace
from typing import Final, Literal

from bnlint.facts import UNKNOWN, Answer3, Forward, Load, Save, Setting
from bnlint.finding import Step
from bnlint.source import events, zoo
from bnlint.source.names import is_test_file, words
from bnlint.source.objects import LOSS_ENDINGS
from bnlint.source.state import NOT_SET, SetAt
from bnlint.source.structure import Structure, where_of
from bnlint.source.values import (
    ALWAYS,
    Args,
    ClassVal,
    Const,
    External,
    Func,
    Obj,
    Place,
    Sym,
    Value,
    alternatives,
)

EVALUATION: Final = frozenset(
    {
        "test",
        "tests",
        "testing",
        "val",
        "valid",
        "validate",
        "validation",
        "eval",
        "evaluate",
        "evaluation",
        "evaluator",
    }
    | {"infer", "inference", "predict", "prediction", "predictions", "evaluating", "validating"}
)
"""Words in the name of a function that evaluates."""
PREDICTION: Final = frozenset(
    {"infer", "inference", "predict", "prediction", "predictions", "evaluate", "validate"}
)
"""Of these, the ones that say so whatever the data."""
TRAINING: Final = frozenset(
    {"train", "training", "fit", "finetune", "trainer", "update", "optimize", "learn"}
)
"""Words in the name of a function that trains."""
SPECIAL: Final = frozenset(
    {
        "bn",
        "precise",
        "adapt",
        "adaptation",
        "tta",
        "tent",
        "calibrate",
        "calibration",
        "stats",
        "statistics",
        "mc",
    }
    | {
        "memory",
        "bank",
        "momentum",
        "ema",
        "teacher",
        "generate",
        "generator",
        "sample",
        "sampling",
        "flops",
        "profile",
    }
    | {
        "benchmark",
        "speed",
        "summary",
        "init",
        "initialize",
        "warmup",
        "export",
        "trace",
        "onnx",
        "dropout",
        "maml",
        "inner",
    }
    | {
        "attack",
        "bayesian",
        "uncertainty",
        "visualize",
        "embed",
        "forward",
        "step",
        "meta",
        "swa",
        "gan",
        "params",
        "count",
    }
)
"""Words that say why a forward in train mode may be meant."""
ADAPTING: Final = frozenset(
    {"maml", "meta", "reptile", "anil", "tent", "tta", "adapt", "moco", "byol", "ema", "swa"}
    | {"bayesian", "bayes", "uncertainty"}
)
"""Words in the name of a file or a class whose method is to run in train mode."""
HELD_OUT: Final = re.compile(
    r"(?<![a-z])(test|val|valid|validation|eval|dev|query|gallery)(?=_|\d|\W|$|loader|data|set|iter|dl|gen|batch|[A-Z])"
    r"|(?<=[a-z_])(Test|Val|Valid|Validation|Eval)(?=[A-Z_]|$|\W|loader|data|set)"
)
"""Names of data that is held out."""
COUNTING: Final = re.compile(r"(\w+\()*range\(")
"""A loop that counts: what its bounds are called says little of the data."""
DUMMY: Final = frozenset(
    {
        "rand",
        "randn",
        "zeros",
        "ones",
        "empty",
        "randint",
        "full",
        "rand_like",
        "randn_like",
        "ones_like",
        "zeros_like",
    }
    | {"arange", "noise", "fixed_noise", "dummy_input", "dummy", "z"}
)
"""Data that is made up: such a forward only tries the model."""


class Scripts:
    """Turns the record of what happened into facts."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.run = structure.run
        self.record = structure.run.events.record
        self.trained_files = {e.place.filename for e in self.record.forwards if e.trained}
        self.trained_files |= {p.filename for p in self.record.training_loops}
        self.evaluated = {setting(m) for e in self.record.forwards if not e.trained for m in e.modes}

    # forwards

    def forwards(self, without: Container[events.Forward] = ()) -> Iterator[Forward]:
        """What is worth judging of the calls of models; `without` is what another rule judges."""
        for event in map(self.as_saved, (e for e in self.record.forwards if e not in without)):
            modes = frozenset(m.mode for m in event.modes)
            if not event.trained and (modes != {"train"} or event.parts_switched):
                continue
            why = () if event.trained else tuple(self.evaluation(event))
            purpose: Literal["training", "evaluation", "unknown"] = (
                "training" if event.trained else "evaluation" if why else "unknown"
            )
            if purpose == "unknown":
                continue
            stuck = self.stuck(event) if event.trained else None
            if purpose == "training" and stuck is None:
                continue
            if purpose == "evaluation" and (
                self.is_callers_choice(event)
                or self.is_wrapper(event)
                or self.is_loss(event.model)
                or asks_for_losses(event)
            ):
                continue
            yield Forward(
                model=self.name(event.model),
                where=where_of(event.place),
                purpose=purpose,
                modes=modes,
                batchnorm=self.structure.has_batchnorm(event.model, event.resting),
                dropout=self.structure.has_dropout(event.model, event.resting),
                why=why,
                path=tuple(self.path(event)),
                stuck=None
                if stuck is None
                else Step(where_of(stuck.place), "this `eval()` is still in force in the next turn"),
                loop=where_of(event.loops[0].place) if event.loops else None,
                assumed=self.assumption(event.model),
            )

    def as_saved(self, event: events.Forward) -> events.Forward:
        """A whole model that comes from a file is in the mode that it was saved in, if that is always one."""
        model, saved = event.model, self.record.saved_whole
        if not isinstance(model, Obj) or not model.assumed or event.modes != (NOT_SET,):
            return event
        modes = {setting.mode for setting in saved}
        return replace(event, modes=tuple(saved[:1])) if modes == {"train"} else event

    def name(self, model: Value) -> str:
        """How a message calls a model: as the source first names it, or by its class."""
        if isinstance(model, Obj):
            return model.name or self.run.objects.class_name(model)
        return model.name or "the model" if isinstance(model, Sym) else "the model"

    def assumption(self, model: Value) -> str | None:
        if isinstance(model, Obj) and model.assumed:
            return f"`{self.name(model)}` was saved in train mode, as others are, and contains BatchNorm"
        return None

    def path(self, event: events.Forward) -> Iterator[Step]:
        """Where the model was built, who last set its mode, who called."""
        model = event.model
        shown: set[Place] = set()
        if isinstance(model, Obj):
            shown.add(model.place)
            made = "is loaded here, as it was saved" if model.assumed else "is built here, in train mode"
            yield Step(where_of(model.place), f"`{self.name(model)}` {made}")
        for mode in event.modes:
            if mode.place not in shown and mode.place.filename:
                shown.add(mode.place)
                yield Step(where_of(mode.place), mode.how)
        for call in event.calls:
            if call.place is not None and call.place not in shown:
                shown.add(call.place)
                yield Step(where_of(call.place), f"`{call.name}` is called here")

    # evaluation

    def evaluation(self, event: events.Forward) -> Iterator[Step]:
        """What shows that a forward evaluates; nothing where it may as well not."""
        if self.is_special(event) or self.is_made_up(event.args):
            return
        if event.hook is not None:
            yield from self.hooked(event, event.hook)
            return
        inner = event.calls[-1] if event.calls else None
        function = self.evaluating_function(event)
        loop = next((lp for lp in reversed(event.loops) if HELD_OUT.search(lp.words)), None)
        held_out = self.held_out(event)
        no_grad = event.contexts[-1] if event.contexts else None
        trains_here = any(lp.place in self.record.training_loops for lp in event.loops)
        if self.is_part_of_a_step(event) and held_out is None and no_grad is None:
            return
        if (
            inner is not None
            and inner.function in self.record.training_functions
            and held_out is None
            and loop is None
        ):
            return
        steps: list[Step] = []
        if function is not None and function.place is not None:
            steps.append(Step(where_of(function.place), f"`{function.name}` evaluates"))
        if held_out is not None:
            steps.append(Step(where_of(event.place), f"its data comes from `{held_out}`"))
        if no_grad is not None:
            steps.append(
                Step(
                    where_of(no_grad.place),
                    f"`{no_grad.what}`: no gradients, but BatchNorm is not in eval mode",
                )
            )
        named = function is not None and (
            bool(set(words(function.name)) & PREDICTION) or no_grad or held_out or event.loops
        )
        trains = trains_here or (not event.calls and event.place.filename in self.trained_files)
        if named or held_out is not None or (no_grad is not None and not trains):
            yield from steps
        elif self.is_loaded(event.model) and event.place.filename not in self.trained_files:
            yield Step(where_of(event.place), "its weights were loaded, and nothing here trains")

    def is_part_of_a_step(self, event: events.Forward) -> bool:
        """Whether a loop around a forward trains in each of its turns."""
        return any(loop.place in self.record.stepping_loops for loop in event.loops)

    def hooked(self, event: events.Forward, hook: events.Hook) -> Iterator[Step]:
        """What shows that a method evaluates that a framework calls; training ones only do in a loop.

        A detector answers with its losses in train mode alone: what is not known to have BatchNorm is not
        judged where the framework has set the mode.
        """
        if self.structure.has_batchnorm(event.model, event.resting) != "yes":
            return
        loop = next((lp for lp in reversed(event.loops) if HELD_OUT.search(lp.words)), None)
        if hook.mode == "eval":
            yield Step(where_of(hook.place), f"{hook.framework} calls `{hook.name}` to evaluate")
        elif loop is not None and event.contexts:
            yield Step(where_of(loop.place), f"its data comes from `{loop.words}`")

    def evaluating_function(self, event: events.Forward) -> events.Call | None:
        """The innermost function whose name says that it evaluates, unless one inside it trains."""
        for call in reversed(event.calls):
            if call.function in self.record.training_functions:
                return None
            found = set(words(call.name))
            if found & EVALUATION and not found & TRAINING:
                return call
        return None

    def is_special(self, event: events.Forward) -> bool:
        """Whether a name says that train mode may be meant, or that this is a test of the code."""
        calls = [c.name for c in event.calls if c.name not in {"forward", "__call__"}]
        inner = calls[-1] if calls else ""
        named = set(words(inner))
        if named & EVALUATION:
            named.discard("step")  # `eval_step` says what kind of step it is
        is_hook = event.hook is not None and inner == event.hook.name
        if not is_hook and named & SPECIAL:
            return True
        around = [event.place.filename.rpartition("/")[2], *(c.owner for c in event.calls)]
        if isinstance(event.model, Obj) and isinstance(event.model.cls, ClassVal):
            around.append(event.model.cls.klass.name)
        if any(set(words(name)) & ADAPTING for name in around):
            return True
        if self.switches_itself(event.model):
            return True
        return any(c.name.startswith(("test_", "check_")) and is_test_file(c.filename) for c in event.calls)

    def switches_itself(self, model: Value) -> bool:
        """Whether the forward of a model sets modes itself: then nobody outside decides them."""
        forward = self.run.objects.find(model.cls, "forward") if isinstance(model, Obj) else None
        return isinstance(forward, Func) and bool(forward.function.calls & {"train", "eval"})

    def is_made_up(self, args: Args) -> bool:
        values = [v for a in args.items for _, v in alternatives(a.value)]
        named = [v.name for v in values if isinstance(v, Sym)]
        return bool(named) and all(n in DUMMY for n in named)

    def held_out(self, event: events.Forward) -> str | None:
        """The name of the held-out data that a forward is given."""
        source = event.source
        names = [loop.phase for loop in event.loops if loop.phase in EVALUATION]
        while isinstance(source, Obj) and source.args.items and not source.name:
            inner = source.args.items[0].value
            source = inner if isinstance(inner, Obj | Sym) else None
        if isinstance(source, Obj | Sym) and source.name:
            names.append(source.name)
        if event.loops and (event.contexts or not COUNTING.match(event.loops[-1].words)):
            names.append(event.loops[-1].words)
        return next((n for n in names if HELD_OUT.search(n)), None)

    def is_callers_choice(self, event: events.Forward) -> bool:
        """Whether a method was called from outside, after another one had set the mode.

        Then the caller may have changed it in between, unless the method itself switches other models.
        """
        if not event.outside or not event.calls:
            return False
        here = event.calls[0].name
        if all(m.purpose.split(" > ")[0] == here for m in event.modes):
            return False
        switched = {m.purpose.split(" > ")[0] for m in self.record.switched if m.mode == "eval"}
        return here not in switched

    def is_wrapper(self, event: events.Forward) -> bool:
        """Whether BatchNorm could only be in a part that came from elsewhere, in a mode that nobody knows."""
        model = event.model
        if isinstance(model, Obj) and (model.assumed or comes_from_zoo(model)):
            return False
        built = all(mode.how == events.BUILT for mode in event.modes)
        return built and self.structure.has_batchnorm(model) == "unknown"

    def is_loss(self, model: Value) -> bool:
        """Whether a module is a loss that holds what it is about: it is not what is evaluated."""
        return isinstance(model, Obj) and self.run.objects.class_name(model).endswith(LOSS_ENDINGS)

    def is_loaded(self, model: Value) -> bool:
        return isinstance(model, Obj) and (model.assumed or model.key in self.record.loaded)

    # stuck in eval

    def stuck(self, event: events.Forward) -> SetAt | None:
        """An `eval()` of an earlier turn that nothing has undone."""
        now: dict[object, int] = dict(event.turn())
        left = [m for m in event.modes if m.mode == "eval" and self.is_left_behind(m, now, event)]
        for other in event.modes:
            if other.mode != "eval" and not (is_of_somebody(other) and self.is_before(other, now)):
                return None
        found = next(
            (m for m in left if setting(m) in self.evaluated or set(words(m.purpose)) & EVALUATION), None
        )
        return found if len(left) == sum(m.mode == "eval" for m in event.modes) else None

    def is_left_behind(self, mode: SetAt, now: dict[object, int], event: events.Forward) -> bool:
        """Whether a mode comes from an earlier turn, or from a call of this one that evaluated."""
        shared = [(turn, now[span]) for span, turn in mode.turn if span in now]
        if any(then < turn for then, turn in shared):
            return True
        function = mode.purpose.rpartition(" > ")[2]
        running = any(call.name == function for call in event.calls)
        return bool(shared) and not running and bool(set(words(function)) & EVALUATION)

    def is_before(self, mode: SetAt, now: dict[object, int]) -> bool:
        """Whether a mode was set before this turn of the loops began."""
        return mode.turn != tuple(now.items())

    # frozen

    def frozen(self, model: Value) -> Answer3:
        """Whether the BatchNorm layers of a model may be kept in eval mode."""
        if not isinstance(model, Obj):
            return "unknown"
        if isinstance(model.cls, ClassVal) and (
            self.run.objects.find(model.cls, "train") is not None or freezes(model.cls)
        ):
            return "unknown"
        if any(a.name is not None and "freeze" in a.name for a in model.args.items):
            return "unknown"
        return "no"

    # state

    def loads(self) -> Iterator[Load]:
        whole: set[Hashable] = set()
        for event in self.record.loads:
            setting = self.strictness(event)
            loses = event.dropped is not None and (event.merged or setting.value is False)
            if setting.value is True and not loses:
                whole.add(event.model.key)
            if event.model.key in whole or not (loses or setting.value is False):
                continue  # statistics came with a load that was strict
            dropped = hash(event.result.key) in self.record.discarded
            yield Load(
                where_of(event.place),
                self.name(event.model),
                setting,
                "no" if dropped else "unknown",
                self.structure.has_batchnorm(event.model),
                filtered=filter_step(event.dropped) if loses and event.dropped else None,
            )

    def strictness(self, event: events.StateLoad) -> Setting:
        """What the call says of `strict`."""
        strict = event.args.get(1, "strict")
        if strict is None:
            return Setting(UNKNOWN if event.args.open else True, where_of(event.place), given=False)
        value = self.run.force(strict.value)
        return Setting(value.value if isinstance(value, Const) else UNKNOWN, where_of(strict.place))

    def saves(self) -> Iterator[Save]:
        averaged = self.run.averages.targets()
        for event in self.record.saves:
            what = event.taken.what
            if any(isinstance(m, Obj) and m.key in averaged for m in (event.taken.model, event.into)):
                continue  # its first step, or its way back: one bug is one finding
            if what not in {"parameters", "trainable", "nothing", "filtered"}:
                continue
            if what == "trainable" and self.is_adapted(event.taken.model):
                continue
            yield Save(
                where_of(event.place if event.how == "exchanged" else event.taken.place),
                self.name(event.taken.model),
                what,  # type: ignore[arg-type]
                "saved" if event.how == "saved" else "exchanged",
                self.state_has_batchnorm(event.taken.model),
                "yes" if event.buffers_beside else "no",
            )

    def is_adapted(self, model: Value) -> bool:
        """Whether a model may train little more than what was added to a base that is saved elsewhere.

        It is frozen, or a part of it is; or nobody knows what was built into it.
        """
        if self.structure.has_batchnorm(model) != "yes":
            return True
        inside = self.run.objects.inside(model)
        return any(self.run.frozen.is_frozen(key) is not None for key in inside)

    def state_has_batchnorm(self, model: Value) -> Answer3:
        """Whether saved state lacks anything; in a project without BatchNorm nothing is unknown."""
        answer = self.structure.has_batchnorm(model)
        return "no" if answer == "unknown" and not self.record.norms else answer


def filter_step(place: Place) -> Step:
    """The filter that dropped the statistics from what is loaded."""
    return Step(where_of(place), "this filter lets no running statistics through")


def asks_for_losses(event: events.Forward) -> bool:
    """Whether a detector of torchvision is given targets: it answers with its losses in train mode only."""
    cls = event.model.cls if isinstance(event.model, Obj) else None
    detects = isinstance(cls, External) and cls.path.startswith("torchvision.models.detection.")
    return detects and len(event.args.items) > 1


def comes_from_zoo(model: Obj) -> bool:
    """Whether a model comes from a library of vision models, whose constructors give it in train mode.

    Most models of transformers are about text and have no BatchNorm: of one that the table does not know
    nothing is assumed.
    """
    path = model.cls.path if isinstance(model.cls, External) else ""
    return zoo.is_home(path) and not path.startswith("transformers.")


def freezes(cls: ClassVal) -> bool:
    """Whether a class has a method, or calls one, that freezes something."""
    methods = cls.klass.methods
    names = {m.name for m in methods}.union(*(m.calls for m in methods))
    return any("freeze" in name.lower() or "frozen" in name.lower() for name in names)


def is_of_somebody(mode: SetAt) -> bool:
    """Whether a mode is train, or the one that a model from outside was handed over in."""
    return mode.mode == "train" or (mode.mode == "unknown" and mode.how == events.BUILT)


def setting(mode: SetAt) -> SetAt:
    """What set a mode, whatever is known where it holds."""
    return mode._replace(guards=ALWAYS)
