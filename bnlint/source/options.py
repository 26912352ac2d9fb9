"""Options of command lines: unknown, with a default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bnlint.source.values import (
    Args,
    ClassVal,
    Const,
    Obj,
    Place,
    Sym,
    Value,
    known,
    unknown,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter


class Options:
    """What argparse makes of a program's options."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.names: dict[object, dict[str, None]] = {}

    def parser_method(self, parser: Obj, name: str, args: Args, place: Place) -> Value:
        """argparse: an option is unknown and has a default."""
        key = ("options", parser.key)
        if name == "add_argument":
            self.add_option(key, args, place)
            return unknown()
        if name in {"parse_args", "parse_known_args"}:
            namespace = Sym(key, "args")
            return (
                namespace
                if name == "parse_args"
                else self.run.containers.tuple_of(namespace, unknown(), place=place)
            )
        if name == "set_defaults":
            for arg in args.items:
                default = known(arg.value)
                if arg.name and default is not None:
                    place = default.place or arg.place
                    option = Sym((key, arg.name), arg.name, Const(default.value, place, arg.name))
                    self.names.setdefault(key, {})[arg.name] = None
                    self.run.state.set((key, arg.name), option)
            if args.open and not self.run.state.guards:
                self.forget(key)
            return Const(None)
        if name == "parse_args_into_dataclasses":
            return self.run.commands.instances(parser, place)
        if name == "add_arguments":
            self.add_class(key, args, place)
            return unknown()
        if name in {"add_argument_group", "add_mutually_exclusive_group"}:
            return parser
        return unknown()

    def add_class(self, key: object, args: Args, place: Place) -> None:
        """simple_parsing's `parser.add_arguments(Config, dest="config")`"""
        cls, dest = args.value(0, "dataclass"), args.value(1, "dest")
        if isinstance(cls, ClassVal) and isinstance(dest, Const):
            self.run.state.set((key, str(dest.value)), self.run.commands.instance(cls, place))

    def forget(self, key: object) -> None:
        """Nobody knows the defaults of these options any more."""
        for name in self.names.get(key, ()):
            self.run.state.set((key, name), Sym((key, name), name))

    def held(self, key: object) -> dict[Any, Value] | None:
        """The options of what `parse_args` gave, by name; None for anything else."""
        names = self.names.get(key)
        if names is None:
            return None
        return {name: self.run.state.get((key, name)) or unknown(name) for name in names}

    def add_option(self, key: object, args: Args, place: Place) -> None:
        names = [a.value.value for a in args.positional() if isinstance(a.value, Const)]
        flags = [n for n in names if isinstance(n, str)]
        dest = args.value(None, "dest")
        long = next((f for f in flags if f.startswith("--")), flags[0] if flags else "")
        name = (
            dest.value
            if isinstance(dest, Const) and isinstance(dest.value, str)
            else long.lstrip("-").replace("-", "_")
        )
        default = args.value(None, "default")
        action = args.value(None, "action")
        if default is None and isinstance(action, Const) and action.value == "store_true":
            default = Const(False)
        self.names.setdefault(key, {})[name] = None
        constant = known(default)
        found = None if constant is None else Const(constant.value, place, long)
        self.run.state.set((key, name), Sym((key, name), name, found))
