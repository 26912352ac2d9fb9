"""Models that become programs of their own: traced, exported, fused, or scripted and saved.

What torch does with the mode differs, and was tried: `torch.jit.trace` and `torch.export` write the
operations of the mode into the program, where no `eval()` reaches them; fusing and freezing raise in
train mode; `torch.jit.script` keeps the flag, so that only a file made of it is final. The ONNX exporter
by TorchScript, `to_onnx`, `to_torchscript`, `optimize_for_inference` and `optimize_for_mobile` switch
to eval by themselves, and what prepares quantisation-aware training belongs in train mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from bnlint import facts
from bnlint.source.events import Forward
from bnlint.source.names import is_test_file, words
from bnlint.source.values import Args, Const, Obj, Place, Sym, Value, alternatives, contradicts, fresh

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter
    from bnlint.source.scripts import Scripts


class Export(NamedTuple):
    """What a call makes of a model: how people name it, and what becomes of the mode."""

    name: str
    effect: facts.Effect


TRACE: Final = Export("torch.jit.trace", "recorded")
FUSE: Final = Export("fuse_modules", "refused")
PREPARE: Final = Export("prepare_fx", "refused")
EXPORTS: Final = {
    "torch.jit.trace": TRACE,
    "torch.jit.trace_module": Export("torch.jit.trace_module", "recorded"),
    "torch.export.export": Export("torch.export.export", "recorded"),
    "torch.onnx.export": Export("torch.onnx.export", "recorded"),
    "torch.onnx.dynamo_export": Export("torch.onnx.dynamo_export", "recorded"),
    "torch.jit.freeze": Export("torch.jit.freeze", "refused"),
    "torch.quantization.fuse_modules": FUSE,
    "torch.ao.quantization.fuse_modules": FUSE,
    "torch.quantization.quantize_fx.fuse_fx": Export("fuse_fx", "refused"),
    "torch.ao.quantization.quantize_fx.fuse_fx": Export("fuse_fx", "refused"),
    "torch.quantization.quantize_fx.prepare_fx": PREPARE,
    "torch.ao.quantization.quantize_fx.prepare_fx": PREPARE,
    "torch.fx.experimental.optimization.fuse": Export("torch.fx.experimental.optimization.fuse", "refused"),
}
"""The calls that need a model in eval mode."""
EXPORTING: Final = frozenset(path.rpartition(".")[2] for path in EXPORTS) | {"script"}
"""The last names of all of these."""
SCRIPTED: Final = Export("torch.jit.script", "kept")
MODEL: Final = ("model", "mod", "func", "m", "obj")
"""What the argument is called that holds the model."""
ON_PURPOSE: Final = frozenset(
    {"flops", "macs", "profile", "profiling", "benchmark", "latency", "speed", "qat"}
)
"""Words in the name of a function that look at a model rather than export it, or train what they export."""
TRAINED_LATER: Final = frozenset({"prepare_qat", "prepare_qat_fx", "prepare_qat_pt2e", "add_graph"})
"""Calls beside an export that want the model in train mode, or only draw it."""

Model: TypeAlias = "Obj | Sym"


@dataclass(slots=True, eq=False)
class Exported:
    """A model is handed to an exporter, as `seen`; `made` is the program that comes back."""

    seen: Forward
    export: Export
    made: Sym | None


class Exports:
    """Watches the calls that make programs of models."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.happened: list[Exported] = []
        self.scripted: set[object] = set()

    def called(self, path: str, args: Args, place: Place) -> Value | None:
        """What an exporter gives back; None where the library knows better."""
        if path == "torch.jit.script":
            self.scripted.update(model.key for model in self.models(args))
            return None
        if path == "torch.jit.save":
            self.saved(args, place)
            return None
        export = EXPORTS.get(path)
        if export is None or (path == "torch.onnx.export" and not self.asks_for_dynamo(args)):
            return None
        made = None if export.effect == "refused" else Sym(fresh(), export.name)
        self.add(export, args, place, made)
        return made

    def asks_for_dynamo(self, args: Args) -> bool:
        """Whether it is surely the new exporter: the old one, the default for long, switches to eval."""
        dynamo = args.value(None, "dynamo")
        return isinstance(dynamo, Const) and dynamo.value is True and args.value(None, "training") is None

    def saved(self, args: Args, place: Place) -> None:
        """A program that was scripted goes into a file, with its flag."""
        if any(model.key in self.scripted for model in self.models(args)):
            self.add(SCRIPTED, args, place, None)

    def models(self, args: Args) -> Iterator[Model]:
        """The models that an exporter can have been given here."""
        given = next((a for a in args.items if a.name in MODEL), args.items[0] if args.items else None)
        guards = self.run.state.guards
        for under, value in () if given is None else alternatives(self.run.force(given.value)):
            if isinstance(value, Obj | Sym) and not contradicts(under, guards):
                yield value

    def add(self, export: Export, args: Args, place: Place, made: Sym | None) -> None:
        if self.run.eager or self.is_on_purpose():
            return
        for model in self.models(args):
            seen = self.run.events.seen(model, args, place)
            self.happened.append(Exported(seen, export, made))

    def is_on_purpose(self) -> bool:
        """Whether somebody around trains what comes back, or only looks at it."""
        frame = self.run.frame
        calls = frame.module.summary.calls if frame.func is None else frame.func.function.calls
        return bool(calls & TRAINED_LATER)


def exports(scripts: Scripts) -> Iterator[facts.Export]:
    """The exports that certainly happen in train mode."""
    trained = {e.model.key for e in scripts.record.forwards if e.trained and isinstance(e.model, Sym)}
    for event in scripts.run.exports.happened:
        seen = event.seen
        if {m.mode for m in seen.modes} != {"train"} or seen.parts_switched:
            continue
        if event.made is not None and event.made.key in trained:
            continue  # the program itself is trained
        if is_trial(seen) or scripts.is_callers_choice(seen) or scripts.is_wrapper(seen):
            continue
        yield facts.Export(
            model=scripts.name(seen.model),
            where=seen.place.where(),
            call=event.export.name,
            effect=event.export.effect,
            modes=frozenset(m.mode for m in seen.modes),
            batchnorm=scripts.structure.has_batchnorm(seen.model, seen.resting),
            dropout=scripts.structure.has_dropout(seen.model, seen.resting),
            path=tuple(scripts.path(seen)),
            assumed=scripts.assumption(seen.model),
        )


def is_trial(event: Forward) -> bool:
    """Whether a name says that the model is only looked at, or that this is a test of the code."""
    names = [c.name for c in event.calls]
    if any(set(words(name)) & ON_PURPOSE for name in names):
        return True
    return any(n.startswith(("test_", "check_")) for n in names) or is_test_file(event.place.filename)
