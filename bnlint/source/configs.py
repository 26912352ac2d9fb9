"""Configuration: the YAML, JSON and TOML files that a program loads, and the objects that hold them.

A file counts if its name is known and only one file can be meant. Its entries are values like any other,
written where they stand in that file; switches in it (`true`, `null`) are options with a default, for
switching is what they are there for. If the name itself is the default of an option, all of them are.
Objects that give entries as attributes (`EasyDict`, `Namespace`, yacs) are dicts here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from bnlint.source import summary as ir
from bnlint.source.disk import digest
from bnlint.source.documents import MOST_BYTES, Blank, Mapping, Sequence, Tree, parse
from bnlint.source.filenames import FUNCTIONS, Filenames
from bnlint.source.names import words
from bnlint.source.state import ENTRIES, ITEMS, MOST_ITEMS
from bnlint.source.summary import Span
from bnlint.source.values import (
    ALWAYS,
    Args,
    ClassVal,
    Const,
    DictVal,
    Entries,
    External,
    Guards,
    Held,
    Items,
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

LOADS: Final = {
    **dict.fromkeys(("yaml.load", "yaml.safe_load", "yaml.full_load", "yaml.unsafe_load"), ".yaml"),
    **dict.fromkeys(("ruamel.yaml.load", "ruamel.yaml.safe_load", "ruamel.yaml.round_trip_load"), ".yaml"),
    **dict.fromkeys(("json.load", "json.loads", "simplejson.load", "simplejson.loads"), ".json"),
    **dict.fromkeys(("tomllib.load", "tomllib.loads", "tomli.load", "tomli.loads"), ".toml"),
}
"""Functions that read an open file or its text, and what it is written in."""
LOADS_PATHS: Final = {
    **dict.fromkeys(("omegaconf.OmegaConf.load",), ".yaml"),
    **dict.fromkeys(("toml.load", "toml.loads"), ".toml"),
}
"""Those that are given the name of a file as well."""
OPENING: Final = frozenset({"builtins.open", "io.open", "codecs.open"})
WRAPPERS: Final = frozenset(
    {
        "easydict.EasyDict",
        "munch.Munch",
        "munch.munchify",
        "munch.DefaultMunch",
        "munch.DefaultMunch.fromDict",
    }
    | {
        "munch.Munch.fromDict",
        "box.Box",
        "box.ConfigBox",
        "addict.Dict",
        "dotmap.DotMap",
        "attrdict.AttrDict",
    }
    | {"attrdict.AttrMap", "argparse.Namespace", "types.SimpleNamespace", "ml_collections.ConfigDict"}
    | {"ml_collections.config_dict.ConfigDict", "yacs.config.CfgNode", "fvcore.common.config.CfgNode"}
    | {"detectron2.config.CfgNode", "omegaconf.OmegaConf.create", "omegaconf.DictConfig", "bunch.Bunch"}
    | {"omegaconf.OmegaConf.to_container", "omegaconf.OmegaConf.to_object"}
)
"""What makes an object whose entries are its attributes."""
DICTS: Final = WRAPPERS | {"builtins.dict", "collections.OrderedDict"}
COMMAND_LINE: Final = frozenset({"from_cli", "from_dotlist"})
"""Functions of OmegaConf that give what somebody may write behind the program's name."""
QUIET: Final = frozenset({"freeze", "defrost", "lock", "unlock", "dump"})
"""Methods of configurations that change no value."""
TRYING: Final = frozenset(
    {"debug", "debugging", "dev", "smoke", "toy", "sanity", "dummy", "fake", "mock", "overfit"}
)
"""Words in names of files and sections that somebody uses to try things out."""
DICT: Final = frozenset(dir(dict))
MOST_NODES: Final = 4_000
"""Values of a file that is followed; data hold more."""


class Configs:
    """What a program knows of its configuration."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.names = Filenames(run)
        self.files: dict[Hashable, Value] = {}
        self.trees: dict[str, Tree | None] = {}
        self.plain: dict[ClassVal, bool] = {}
        self.loaded: set[str] = set()
        self.from_files: set[int] = set()
        """The dicts that files hold, and the lists of what is in them."""
        self.defaults: dict[Hashable, Const] = {}
        """The values of files that somebody may replace, by their keys."""
        self.views: dict[int, Sym] = {}
        """The dicts that `vars(args)` gave, and the objects that they are views of."""

    # calls

    def call(self, path: str, args: Args, place: Place) -> Value | None:
        """A call that opens, reads or wraps configuration; None for all others."""
        if path in CALLS:
            return CALLS[path](self, path, args, place)
        return None

    def call_open(self, _path: str, args: Args, place: Place) -> Value | None:
        first = args.value(0, "file", "filename")
        return None if first is None else self.opened(first, place)

    def opened(self, name: Value, _place: Place) -> Value:
        """An open file, or its text: nothing is known of it but its name."""
        made = unknown("file")
        self.files[made.key] = self.run.force(name)
        return made

    def call_name(self, path: str, args: Args, _place: Place) -> Value | None:
        return self.names.call(path, args)

    def call_load(self, path: str, args: Args, _place: Place) -> Value | None:
        first = args.value(0, "stream", "fp", "s")
        first = unknown() if first is None else self.run.force(first)
        name = self.files.get(first.key) if isinstance(first, Sym) else None
        return None if name is None else self.load(name, LOADS[path])

    def call_load_path(self, path: str, args: Args, _place: Place) -> Value | None:
        found = self.load_any(args, LOADS_PATHS[path])
        return self.interpolated(found) if found is not None and path.startswith("omegaconf") else found

    def load_any(self, args: Args, suffix: str) -> Value | None:
        """What is in a file that is given by its name, or open."""
        first = self.run.force(args.items[0].value) if args.items else unknown()
        return self.load(self.files.get(first.key, first) if isinstance(first, Sym) else first, suffix)

    def fill(self, obj: Obj, args: Args) -> None:
        """`self.__dict__.update(config)`"""
        given = self.run.library.handle_dict(args, obj.place)
        for name, value in self.run.entries(given).held.items() if isinstance(given, DictVal) else ():
            self.run.objects.set_attribute(obj, str(name), self.run.labelled(value, name))

    def call_wrap(self, _path: str, args: Args, place: Place) -> Value | None:
        """`EasyDict(config)`: an object with these entries."""
        first = self.run.force(args.items[0].value) if args.positional() else None
        if first is None:
            return self.run.library.handle_dict(args, place)
        made = self.as_dict(first)
        return first if made is None and isinstance(first, Sym) else made

    def call_structured(self, _path: str, args: Args, _place: Place) -> Value | None:
        return self.as_dict(self.run.force(args.items[0].value)) if args.items else None

    def call_merge(self, _path: str, args: Args, _place: Place) -> Value | None:
        """`OmegaConf.merge(a, b)`: the later one wins."""
        whole: DictVal | None = None
        for arg in args.items:
            part = self.run.force(arg.value)
            if whole is None:
                whole = self.as_dict(part)
                if whole is None:
                    return None
                whole = self.copied(whole)
            else:
                self.merge_any(whole, part)
        return whole if whole is None else self.interpolated(whole)

    def call_vars(self, _path: str, args: Args, place: Place) -> Value | None:
        """`vars(args)`"""
        first = self.run.force(args.items[0].value) if args.items else None
        if isinstance(first, DictVal):
            return first
        return self.view(first, place) if isinstance(first, Sym) else None

    def view(self, namespace: Sym, place: Place | None) -> DictVal | None:
        """The options of a namespace as a dict; what is written there is written in the namespace."""
        held = self.run.options.held(namespace.key)
        if held is None:
            return None
        made = self.run.new_dict(held, place)
        self.views[made.key] = namespace
        return made

    def wrote(self, base: DictVal) -> None:
        """Something was written into a dict: if that is a view of an object, it is written there."""
        namespace = self.views.get(base.key)
        if namespace is None:
            return
        for name, value in self.run.entries(base).held.items():
            self.run.objects.set_attribute(namespace, str(name), value)

    def call_instantiate(self, _path: str, args: Args, place: Place) -> Value | None:
        return self.run.hydra.instantiate(args, place)

    def call_store(self, path: str, args: Args, place: Place) -> Value | None:
        return Obj(fresh(), External(path.removesuffix(".instance")), args, place, ready=True)

    # methods of configurations

    def method(self, base: DictVal, name: str, args: Args, place: Place) -> Value | None:
        """What yacs and others do beside a dict; None for a dict's own methods."""
        first = None if not args.items else self.run.force(args.items[0].value)
        held = self.run.entries(base).held
        if name not in DICT and name in held:
            return self.run.call(held[name], args, place)
        if name in {"clone", "copy_and_resolve_references"}:
            return self.copied(base)
        if name in QUIET:
            return Const(None)
        if name == "merge_from_file" and first is not None:
            found = self.load(first, ".yaml")
            self.merge_any(base, found or first)
            return Const(None)
        if name in {"merge_from_list", "merge_from_dotlist"}:
            self.weaken(base)
            return Const(None)
        if name in {"merge_from_other_cfg", "merge_with", "merge_update"} and first is not None:
            self.merge_any(base, first)
            return Const(None)
        if name in {"toDict", "to_dict", "to_container"}:
            return base
        return None

    def attribute(self, base: DictVal, attr: str) -> Value | None:
        """An entry as an attribute; None for the methods of dicts."""
        entries = self.run.entries(base)
        found = entries.held.get(attr)
        return Sym((base.key, attr), attr) if found is None and attr not in DICT else found

    def merge_any(self, base: DictVal, part: Value) -> None:
        """Something is merged into a configuration. What is not known may replace everything."""
        more = self.as_dict(part)
        if more is not None:
            self.merge(base, more)
        elif isinstance(part, Sym) and part.name in COMMAND_LINE:
            self.weaken(base)
        elif not self.is_asked_for(part):
            self.forget(base)

    def is_asked_for(self, part: Value) -> bool:
        """Whether this happens because somebody asked: `if args.config: cfg.merge_from_file(args.config)`"""
        return isinstance(part, Sym) and any(
            key == part.key or (isinstance(key, tuple) and key[:2] == ("==", part.key))
            for key, _ in self.run.state.guards
        )

    def merge(self, base: DictVal, more: DictVal, *, ambiguous: bool = False) -> None:
        """Write entries over others; where it is `ambiguous` which of the two counts, none is known."""
        new = self.run.entries(more)
        old = self.run.entries(base)
        held = dict(old.held)
        for key, value in new.held.items():
            before = held.get(key)
            if isinstance(before, DictVal) and isinstance(value, DictVal):
                self.merge(before, value, ambiguous=ambiguous)
            elif ambiguous and before is not None:
                held[key] = unknown(str(key))
            else:
                held[key] = self.copied(value) if isinstance(value, DictVal) else value
        self.run.state.set((base.key, ENTRIES), Entries(held, old.open or new.open))

    def weaken(self, base: DictVal) -> None:
        """From now on somebody may have replaced the values: they are what is there by default."""
        if self.run.state.guards:
            return  # they are by default in either case
        held = self.run.entries(base).held
        for value in held.values():
            if isinstance(value, DictVal):
                self.weaken(value)
        self.run.state.set((base.key, ENTRIES), Entries({k: weak(v) for k, v in held.items()}))

    def forget(self, base: DictVal) -> None:
        """From now on no value is known."""
        held = self.run.entries(base).held
        for value in held.values():
            if isinstance(value, DictVal):
                self.forget(value)
        left: dict[Any, Value] = {
            k: v if isinstance(v, DictVal) else unknown(str(k)) for k, v in held.items()
        }
        self.run.state.set((base.key, ENTRIES), Entries(left, open=True))

    def overwritten(self, held: dict[Any, Value]) -> dict[Any, Value]:
        """The entries of a dict when something unknown was written over some of them: no constant is left."""
        return {k: unknown(str(k)) if isinstance(v, Const) or is_option(v) else v for k, v in held.items()}

    # other forms of dicts

    def as_dict(self, value: Value) -> DictVal | None:
        """A configuration as a dict, also one that is an instance or a class with fields; else None."""
        if isinstance(value, ClassVal):
            value = self.run.objects.instantiate(
                value, Args(), Place(value.module.filename, value.klass.span)
            )
        if isinstance(value, DictVal):
            return value
        if not isinstance(value, Obj) or not isinstance(value.cls, ClassVal):
            return None
        fields = [*self.fields(value.cls), *self.run.objects.names.get(value.key, ())]
        held: dict[Any, Value] = {}
        for name in dict.fromkeys(fields):
            found = self.run.objects.attribute(value, name)
            inner = self.as_dict(found) if isinstance(found, Obj) else None
            held[name] = self.run.labelled(found if inner is None else inner, name)
        return self.run.new_dict(held, value.place, open=value.args.open)

    def fields(self, cls: ClassVal) -> list[str]:
        """The fields that a class and its bases declare."""
        lineage = [base for base in self.run.objects.bases(cls) if isinstance(base, ClassVal)]
        body = [stmt for base in reversed(lineage) for stmt in base.klass.body]
        declared = (stmt.target for stmt in body if isinstance(stmt, ir.Declare) and stmt.value is not None)
        return [target.id for target in declared if isinstance(target, ir.Name)]

    def is_plain_dict(self, cls: ClassVal) -> bool:
        """Whether a class is a dict with its entries as attributes, and nothing more."""
        if cls not in self.plain:
            base = self.run.objects.external_base(cls)
            self.plain[cls] = (
                base is not None
                and base.path in DICTS
                and self.run.objects.find(cls, "__getattr__") is not None
                and all(method.name.startswith("__") for method in cls.klass.methods)
            )
        return self.plain[cls]

    def copied(self, value: DictVal) -> DictVal:
        """A dict of its own, and so are those in it."""
        entries = self.run.entries(value)
        held: dict[Any, Value] = {
            k: self.copied(v) if isinstance(v, DictVal) else v for k, v in entries.held.items()
        }
        return self.run.new_dict(held, value.place, open=entries.open)

    def is_plain(self, value: DictVal, depth: int = 0) -> bool:
        """Whether a dict holds nothing but constants and options, as a configuration does."""
        held = self.run.entries(value).held.values()
        return depth < 8 and all(
            isinstance(v, Const | Sym) or (isinstance(v, DictVal) and self.is_plain(v, depth + 1))
            for v in held
        )

    # what the files say together

    def is_beside(self, guards: Guards) -> bool:
        """Whether these conditions may hold in another configuration than the one that the files hold."""
        return any(self.is_other(key, way) for key, way in guards)

    def is_other(self, key: Hashable, way: bool) -> bool:
        """Whether a condition is not certainly what the files say; others are no matter."""
        match key:
            case ("==", asked, choice) if asked in self.defaults:
                return (self.defaults[asked].value == choice) is not way
            case tuple() if key not in self.defaults:
                return any(part in self.defaults for part in key)
        default = self.defaults.get(key)
        return default is not None and bool(default.value) is not way

    def is_written(self, filename: str) -> bool:
        """Whether this is a file that the program loads."""
        return filename in self.loaded

    # what goes through a file

    def is_from_file(self, value: Value | None) -> bool:
        """Whether a value is what a file holds, or the list of it."""
        return isinstance(value, DictVal | ListVal) and value.key in self.from_files

    def goes_through(self, source: Value | None, items: Items) -> bool:
        """Whether a loop goes through what a file holds: to its end, unless that is data."""
        return self.is_from_file(source) and len(items.held) <= MOST_ITEMS

    def descends(self, args: Args, outer: list[Args]) -> bool:
        """Whether a function calls itself for another part of a file: `to_namespace(config["train"])`"""
        given = {arg.value.key for call in outer for arg in call.items if isinstance(arg.value, DictVal)}
        parts = [arg.value for arg in args.items if isinstance(arg.value, DictVal)]
        return any(self.is_from_file(part) and part.key not in given for part in parts)

    # files

    def load(self, name: Value, suffix: str) -> Value | None:
        """What a file holds; None where nobody knows which file it is, or what is in it."""
        name = self.run.force(name)
        constant = known(name)
        if constant is None or not isinstance(constant.value, str | PurePosixPath):
            return None
        filename = self.find(str(constant.value))
        tree = None if filename is None else self.tree(filename, suffix)
        if filename is None or tree is None:
            return None
        return Values(self.run, filename, weak=isinstance(name, Sym)).value(tree, "")

    def find(self, name: str) -> str | None:
        """The one file that a name means: several count as one if they say the same."""
        found = self.names.find(name)
        if len(found) > 1 and len({self.read(path) for path in found}) > 1:
            return None
        return found[0] if found and not TRYING & set(words(os.path.basename(name))) else None

    def read(self, filename: str) -> bytes | None:
        """The bytes of a file, one more than there may be if it is too large."""
        try:
            return self.run.project.disk.read_start(filename, MOST_BYTES + 1)
        except (OSError, ValueError):
            return None

    def tree(self, filename: str, suffix: str) -> Tree | None:
        """What is written in a file, parsed once."""
        data = self.read(filename)
        if data is None:
            return None
        key = f"{suffix}:{digest(data)}"
        if key not in self.trees:
            tree = parse(data, suffix)
            self.trees[key] = tree if tree is not None and size(tree) <= MOST_NODES else None
        return self.trees[key]

    # references between entries

    def interpolated(self, value: Value) -> Value:
        """`${a.b}` stands for another entry; any other `${…}` is unknown, and so is `???`."""
        if isinstance(value, DictVal):
            self.resolve(value, value, 0)
        return value

    def resolve(self, base: DictVal, root: DictVal, depth: int) -> None:
        entries = self.run.entries(base)
        held: dict[Any, Value] = {}
        for key, value in entries.held.items():
            if isinstance(value, DictVal) and depth < 12:
                self.resolve(value, root, depth + 1)
            held[key] = self.referred(value, root, 0)
        self.run.state.set((base.key, ENTRIES), Entries(held, entries.open))

    def referred(self, value: Value, root: DictVal, depth: int) -> Value:
        text = getattr(known(value), "value", None)
        if not isinstance(text, str) or ("${" not in text and text != "???"):
            return value
        inner = text[2:-1]
        if depth > 4 or not (text.startswith("${") and text.endswith("}")) or set(inner) & set("${}:[],"):
            return unknown(str(getattr(value, "name", "")))
        found: Value | None = root
        for name in inner.split("."):
            found = self.run.entries(found).held.get(name) if isinstance(found, DictVal) else None
        return value if found is None else self.referred(found, root, depth + 1)


class Values:
    """Turns the tree of a file into values."""

    def __init__(self, run: Interpreter, filename: str, *, weak: bool) -> None:
        self.run = run
        self.filename = filename
        self.weak = weak
        self.known: dict[int, Value] = {}
        run.configs.loaded.add(filename)

    def place(self, span: Span | None) -> Place | None:
        return None if span is None else Place(self.filename, span)

    def value(self, tree: Tree, name: str) -> Value:
        """One value; what has an anchor is one object wherever it is named."""
        if TRYING & set(words(name)):
            return unknown(name)
        if isinstance(tree, Mapping | Sequence):
            if id(tree) not in self.known:
                self.known[id(tree)] = unknown(name)
                self.known[id(tree)] = self.container(tree)
            return self.known[id(tree)]
        if isinstance(tree, Blank):
            return unknown(name)
        made = Const(tree.value, self.place(tree.span), name)
        is_switch = tree.value is None or isinstance(tree.value, bool)
        if not is_switch and not self.weak:
            return made
        option = Sym(fresh(), name, made)
        self.run.configs.defaults[option.key] = made
        return option

    def container(self, tree: Mapping | Sequence) -> Value:
        """A list or a dict; it holds the same wherever the program first asked for it."""
        state = self.run.root
        if isinstance(tree, Sequence):
            place = self.place(tree.span) or Place(self.filename, Span(1, 0, 1, 0))
            listed = ListVal(fresh(), "list", place)
            held = tuple(Held(ALWAYS, self.value(item, ""), place) for item in tree.items)
            state.set((listed.key, ITEMS), Items(held))
            return listed
        made = DictVal(fresh(), self.place(tree.span))
        self.run.configs.from_files.add(made.key)
        entries = {key: self.value(item, str(key)) for key, item in tree.entries.items()}
        state.set((made.key, ENTRIES), Entries(entries))
        return made


def is_option(value: Value) -> bool:
    """Whether a value is unknown and has a default."""
    return isinstance(value, Sym) and value.default is not None


def weak(value: Value) -> Value:
    """A value that somebody may have replaced."""
    return Sym(fresh(), value.name, value) if isinstance(value, Const) else value


def size(tree: Tree) -> int:
    """How many values a tree holds; each counts once."""
    seen: set[int] = set()
    pending = [tree]
    while pending:
        one = pending.pop()
        if id(one) not in seen:
            seen.add(id(one))
            match one:
                case Mapping(entries=entries):
                    pending.extend(entries.values())
                case Sequence(items=items):
                    pending.extend(items)
    return len(seen)


Handler = Callable[[Configs, str, Args, Place], Value | None]
CALLS: Final[dict[str, Handler]] = {
    **dict.fromkeys(OPENING, Configs.call_open),
    **dict.fromkeys(FUNCTIONS, Configs.call_name),
    **dict.fromkeys(LOADS, Configs.call_load),
    **dict.fromkeys(LOADS_PATHS, Configs.call_load_path),
    **dict.fromkeys(WRAPPERS, Configs.call_wrap),
    "omegaconf.OmegaConf.structured": Configs.call_structured,
    "omegaconf.OmegaConf.merge": Configs.call_merge,
    "omegaconf.OmegaConf.unsafe_merge": Configs.call_merge,
    "builtins.vars": Configs.call_vars,
    **dict.fromkeys(("hydra.utils.instantiate", "hydra.utils.call"), Configs.call_instantiate),
    "hydra.core.config_store.ConfigStore.instance": Configs.call_store,
}
