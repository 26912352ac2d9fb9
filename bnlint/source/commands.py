"""What a command line gives to functions and classes: click, typer, fire, absl and parsers of dataclasses.

Each option is unknown and has a default, as those of argparse. `save_hyperparameters` of Lightning is here
as well: it gives what a constructor was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from bnlint.source import summary as ir
from bnlint.source.configs import weak
from bnlint.source.objects import last_name
from bnlint.source.values import (
    Args,
    ArgVal,
    ClassVal,
    Const,
    DictVal,
    External,
    Func,
    ListVal,
    Obj,
    Place,
    Sym,
    Value,
    fresh,
    known,
    unknown,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

DECORATORS: Final = frozenset({"option", "argument", "main"})
"""The last names of decorators that give something to the function below them."""
ABSL: Final = tuple(
    f"absl.flags.DEFINE_{kind}" for kind in ("integer", "float", "string", "bool", "boolean", "enum", "list")
)
FLAGS: Final = "absl.flags.FLAGS"
RUNNERS: Final = (
    "typer.run",
    "fire.Fire",
    "jsonargparse.CLI",
    "jsonargparse.auto_cli",
    "tyro.cli",
    "absl.app.run",
)
"""Functions that call a function with what the command line says."""
PARSERS: Final = (
    "tyro.cli",
    "simple_parsing.parse",
    "pyrallis.parse",
    "jsonargparse.CLI",
    "jsonargparse.auto_cli",
)
"""Functions that make an instance of a class of what the command line says."""
DEEPEST: Final = 4


class Commands:
    """Follows what reaches a program from its command line."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.flags: dict[str, dict[str, Sym]] = {}

    # decorators

    def parameter(self, func: Func, param: ir.Param) -> Value | None:
        """What a decorator gives to a parameter that nobody else gives anything."""
        for decorator, path in self.decorators(func):
            if path == "hydra.main" and param is func.function.params[0]:
                return self.run.hydra.composed(func, self.run.arguments_outside(func, decorator.args))
        return self.options(func).get(param.name)

    def options(self, func: Func) -> dict[Any, Value]:
        """The options that click gives to a function."""
        found: dict[Any, Value] = {}
        for decorator, path in self.decorators(func):
            if path in {"click.option", "click.argument"}:
                option = self.option(self.run.arguments_outside(func, decorator.args))
                found[option.name] = option
        return found

    def decorators(self, func: Func) -> Iterator[tuple[ir.Call, str]]:
        """The decorators that may give something, with their names outside the project."""
        for decorator in func.function.decorators:
            if isinstance(decorator, ir.Call) and last_name(decorator) in DECORATORS:
                target = self.run.eval_outside(func, decorator.func)
                if isinstance(target, External):
                    yield decorator, target.path

    def option(self, args: Args) -> Sym:
        """`@click.option("--batch-size", "-b", default=2)`"""
        given = (self.run.force(arg.value) for arg in args.positional())
        names = [v.value for v in given if isinstance(v, Const) and isinstance(v.value, str)]
        plain = [name for name in names if not name.startswith("-")]
        long = max(names, key=lambda name: len(name) - len(name.lstrip("-")), default="")
        dest = plain[0] if plain else long.split("/")[0].lstrip("-").replace("-", "_").lower()
        return self.by_default(args.get(None, "default"), dest, long)

    def by_default(self, given: ArgVal | None, name: str, label: str) -> Sym:
        """An option with this default, if one is known."""
        default = None if given is None else known(self.run.force(given.value))
        if given is None or default is None or default.value is None or default.value is ...:
            return Sym(fresh(), name)
        return Sym(fresh(), name, Const(default.value, default.place or given.place, label or name))

    # functions

    def call(self, path: str, args: Args, place: Place) -> Value | None:
        """A call that gives something of the command line; None for all others."""
        if path in CALLS:
            return CALLS[path](self, path, args, place)
        return None

    def call_option(self, _path: str, args: Args, _place: Place) -> Value | None:
        """`typer.Option(2)`, as the default of a parameter"""
        return self.by_default(args.get(0, "default"), "", "")

    def call_runner(self, path: str, args: Args, place: Place) -> Value | None:
        first = None if not args.items else self.run.force(args.items[0].value)
        if isinstance(first, Func):
            return self.run.call(first, Args(optional=True), place)
        return self.call_parser(path, args, place) if path in PARSERS else None

    def call_parser(self, _path: str, args: Args, place: Place) -> Value | None:
        first = None if not args.items else self.run.force(args.items[0].value)
        return self.instance(first, place) if isinstance(first, ClassVal) else None

    def call_flag(self, _path: str, args: Args, _place: Place) -> Value | None:
        """`flags.DEFINE_integer("batch_size", 2, "…")`: known by its name in all files."""
        first = args.value(0, "name")
        if not isinstance(first, Const) or not isinstance(first.value, str):
            return None
        option = self.by_default(args.get(1, "default"), first.value, f"--{first.value}")
        self.flags.setdefault(first.value, {})[self.run.frame.filename] = option
        holder = Sym(fresh(), first.value)
        self.run.state.set((holder.key, "value"), option)
        return holder

    def flag(self, name: str) -> Value | None:
        """`FLAGS.name`: the one of this file, or the only one."""
        found = self.flags.get(name, {})
        own = found.get(self.run.frame.filename)
        if own is not None or len(found) != 1:
            return own
        return next(iter(found.values()))

    # classes

    def instance(self, cls: ClassVal, place: Place) -> Value:
        """An instance whose fields are options."""
        made = self.run.objects.instantiate(cls, Args(), place)
        if isinstance(made, Obj):
            self.loosen(made, 0)
        return made

    def loosen(self, obj: Obj, depth: int) -> None:
        names = self.run.configs.fields(obj.cls) if isinstance(obj.cls, ClassVal) else []
        for name in dict.fromkeys([*names, *self.run.objects.names.get(obj.key, ())]):
            value = self.run.objects.attribute(obj, name)
            if isinstance(value, Obj) and depth < DEEPEST:
                self.loosen(value, depth + 1)
            else:
                self.run.objects.hold(obj, name, weak(value))

    def instances(self, parser: Obj, place: Place) -> Value:
        """`HfArgumentParser((A, B)).parse_args_into_dataclasses()`"""
        first = parser.args.value(0, "dataclass_types")
        items = None if first is None else self.run.items(first)
        held = (
            [first or unknown()]
            if items is None or not isinstance(first, ListVal)
            else [h.value for h in items.held]
        )
        classes = [self.run.force(value) for value in held]
        made = [self.instance(c, place) if isinstance(c, ClassVal) else unknown() for c in classes]
        return self.run.containers.tuple_of(*made, place=place)

    # Lightning

    def hyperparameters(self, model: Obj, args: Args, place: Place) -> None:
        """`self.save_hyperparameters()`: what the constructor was given, or the object that is named."""
        first = self.run.force(args.items[0].value) if args.positional() else None
        if isinstance(first, DictVal | Sym):
            self.run.objects.hold(model, "hparams", first)
            return
        frame = next((f for f in reversed(self.run.frames) if f.self is model and f.name == "__init__"), None)
        if frame is None or frame.func is None:
            return
        held: dict[Any, Value] = {}
        for param in frame.func.function.params[1:]:
            value: Value | None = self.run.state.get((frame.key, param.name))
            if param.kind == "**" and isinstance(value, DictVal):
                held.update(self.run.entries(value).held)
            elif value is not None:
                held[param.name] = value
        self.run.objects.hold(model, "hparams", self.run.new_dict(held, place))


Handler = Callable[[Commands, str, Args, Place], Value | None]
CALLS: Final[dict[str, Handler]] = {
    **dict.fromkeys(("typer.Option", "typer.Argument"), Commands.call_option),
    **dict.fromkeys(PARSERS, Commands.call_parser),
    **dict.fromkeys(RUNNERS, Commands.call_runner),
    **dict.fromkeys(ABSL, Commands.call_flag),
}
