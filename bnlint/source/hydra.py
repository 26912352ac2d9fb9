"""Hydra: the configuration that it composes of files and of registered classes, and what it builds of it.

Every value may be replaced by the command line: it is what the files say by default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from bnlint.source.configs import TRYING, Values
from bnlint.source.documents import Mapping, Scalar, Sequence, Tree
from bnlint.source.names import words
from bnlint.source.values import (
    Args,
    ArgVal,
    Const,
    DictVal,
    External,
    Func,
    Partial,
    Place,
    Value,
    known,
)

if TYPE_CHECKING:
    from bnlint.source.interpret import Interpreter

STORE: Final = "hydra.core.config_store.ConfigStore"
PACKAGE: Final = re.compile(rb"#\s*@package\s+(\S+)")
"""The comment that says where in the whole a file's values go."""
DEEPEST: Final = 6
MOST_ROUNDS: Final = 3
"""A choice that overrides another one is known when the files were gone through once."""


class Part(NamedTuple):
    """Values and where they go; None where nobody knows them. `late`: nobody knows what they replace."""

    package: tuple[str, ...]
    values: DictVal | None
    late: bool = False


class Chosen(NamedTuple):
    """An entry of a list of defaults."""

    group: str
    option: str
    package: tuple[str, ...]


@dataclass
class Search:
    """A composition: where the files are, and the choices that replace others."""

    folder: str | None
    overrides: dict[str, str | None] = field(default_factory=dict)


class Hydra:
    """Composes configurations."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.stored: dict[tuple[str, str], Value] = {}

    def store(self, args: Args) -> None:
        """`cs.store(group="db", name="mysql", node=MySQLConfig)`"""
        group, name = self.text(args.value(1, "group")) or "", self.text(args.value(0, "name"))
        node = args.value(None, "node") or args.value(1)
        if name is not None and node is not None:
            self.stored[group, name.removesuffix(".yaml")] = self.run.force(node)

    def text(self, value: Value | None) -> str | None:
        found = None if value is None else self.run.force(value)
        return found.value if isinstance(found, Const) and isinstance(found.value, str) else None

    # composing

    def composed(self, func: Func, args: Args) -> Value | None:
        """What `@hydra.main(config_path=…, config_name=…)` gives; None where it is not known."""
        path, name = args.value(0, "config_path"), self.text(args.value(1, "config_name"))
        if name is None or args.open:
            return None
        below = self.text(path)
        folder = None if below is None else os.path.join(os.path.dirname(func.module.filename), below)
        search = Search(None if folder is None else os.path.normpath(folder))
        parts: list[Part] = []
        for _ in range(MOST_ROUNDS):
            before = dict(search.overrides)
            parts = list(self.parts(search, Chosen("", name.removesuffix(".yaml"), ()), 0))
            if before == search.overrides:
                break
        return self.joined(parts)

    def joined(self, parts: list[Part]) -> Value | None:
        """The whole of its parts; None where a part is missing that may replace anything."""
        root = self.run.new_dict({})
        for part in parts:
            if part.values is None and not part.package:
                return None
            base = self.below(root, part.package)
            if part.values is None:
                self.run.configs.forget(base)
            else:
                self.run.configs.merge(base, part.values, ambiguous=part.late)
        return self.run.configs.interpolated(root)

    def below(self, base: DictVal, package: tuple[str, ...]) -> DictVal:
        """The dict in a dict that a package names, made if it is not there."""
        for name in package:
            inner = self.run.entries(base).held.get(name)
            if not isinstance(inner, DictVal):
                inner = self.run.new_dict({})
                self.run.set_item(base, Const(name), inner)
            base = inner
        return base

    def parts(self, search: Search, chosen: Chosen, depth: int) -> Iterator[Part]:
        """A configuration: what its defaults name, and what it says itself."""
        stored = self.stored.get((chosen.group, chosen.option))
        found = self.file(search, chosen)
        if depth > DEEPEST or (found is None and stored is None) or TRYING & set(words(chosen.option)):
            yield Part(chosen.package, None)
            return
        if found is None:
            yield Part(chosen.package, self.node(stored))
            return
        filename, tree, package = found
        package = chosen.package if package is None else package
        own = Mapping({k: v for k, v in tree.entries.items() if k != "defaults"}, tree.span)
        values = Values(self.run, filename, weak=True).value(own, "")
        mine = Part(package, values if isinstance(values, DictVal) else None)
        defaults = tree.entries.get("defaults")
        items = defaults.items if isinstance(defaults, Sequence) else []
        says_itself = False
        for item in items:
            if isinstance(item, Scalar) and item.value == "_self_":
                says_itself = True
                yield mine
            else:
                for inner in self.chosen(search, chosen.group, package, item):
                    yield from self.parts(search, inner, depth + 1)
        if not says_itself:
            yield mine._replace(late=bool(items))

    def node(self, stored: Value | None) -> DictVal | None:
        """A registered class or dict; one with defaults of its own is not followed."""
        found = None if stored is None else self.run.configs.as_dict(stored)
        if found is None or "defaults" in self.run.entries(found).held:
            return None
        made = self.run.configs.copied(found)
        self.run.configs.weaken(made)
        return made

    def file(self, search: Search, chosen: Chosen) -> tuple[str, Mapping, tuple[str, ...] | None] | None:
        """The file of a choice, what it holds, and the package that it names."""
        if search.folder is None:
            return None
        configs = self.run.configs
        filename = os.path.join(search.folder, chosen.group, f"{chosen.option}.yaml")
        tree: Tree | None = configs.tree(filename, ".yaml") if configs.names.is_ours(filename) else None
        if isinstance(tree, Scalar) and tree.value is None:
            tree = Mapping({})  # an empty file
        if not isinstance(tree, Mapping):
            return None
        found = PACKAGE.search((configs.read(filename) or b"")[:1000])
        return filename, tree, None if found is None else package_of(found[1].decode(), chosen)

    def chosen(self, search: Search, group: str, package: tuple[str, ...], item: Tree) -> Iterator[Chosen]:
        """The configurations that one entry of a list of defaults names."""
        if isinstance(item, Scalar) and isinstance(item.value, str):
            name, _, where = item.value.partition("@")
            folder, _, option = name.rpartition("/")
            if name.startswith("/"):
                yield Chosen(folder.strip("/"), option, located(package, (), where))
            else:
                below = tuple(folder.split("/")) if folder else ()
                yield Chosen(joined_group(group, folder), option, located(package, below, where))
        elif isinstance(item, Mapping):
            for key, value in item.entries.items():
                yield from self.chosen_of(search, group, package, str(key), value)

    def chosen_of(
        self, search: Search, group: str, package: tuple[str, ...], key: str, value: Tree
    ) -> Iterator[Chosen]:
        """`db: mysql`, `override db: mysql`, `optional db: mysql`, `/db@server.db: [mysql, fast]`"""
        *prefix, name = key.split()
        name, _, where = name.partition("@")
        inner = name.strip("/") if name.startswith("/") else joined_group(group, name)
        if inner.split("/")[0] == "hydra":
            return
        given = value.items if isinstance(value, Sequence) else [value]
        options = [one.value if isinstance(one, Scalar) else "?" for one in given]
        if "override" in prefix:
            search.overrides[inner] = str(options[0]) if options and options[0] is not None else None
            return
        if inner in search.overrides:
            options = [search.overrides[inner]]
        for option in options:
            if option is not None:
                below = tuple(name.strip("/").split("/"))
                yield Chosen(inner, str(option).removesuffix(".yaml"), located(package, below, where))

    # building

    def instantiate(self, args: Args, place: Place) -> Value | None:
        """`instantiate(cfg.loader, dataset)`: a call of what `_target_` names; None where it is not known."""
        config = self.run.force(args.items[0].value) if args.items else None
        if not isinstance(config, DictVal):
            return None
        entries = self.run.entries(config)
        target = known(entries.held.get("_target_"))
        if target is None or not isinstance(target.value, str) or "_args_" in entries.held:
            return None
        given: dict[str, ArgVal] = {}
        for name, value in entries.held.items():
            if isinstance(name, str) and not (name.startswith("_") and name.endswith("_")):
                given[name] = ArgVal(name, self.built(value, place), place)
        given.update({arg.name: arg for arg in args.items[1:] if arg.name and not arg.name.startswith("_")})
        merged = Args((*args.positional()[1:], *given.values()), entries.open or args.open)
        called = self.target(target.value)
        partial = known(entries.held.get("_partial_") or args.value(None, "_partial_"))
        if partial is not None and partial.value:
            return Partial(called, merged)
        return self.run.call(called, merged, place)

    def built(self, value: Value, place: Place) -> Value:
        """What stands in the configuration of something to build, may itself be something to build."""
        if isinstance(value, DictVal) and "_target_" in self.run.entries(value).held:
            return self.instantiate(Args((ArgVal(None, value, place),)), place) or value
        return value

    def target(self, path: str) -> Value:
        """What a dotted path names, in the project or outside."""
        home, _, name = path.rpartition(".")
        project = self.run.project
        module = project.import_file(self.run.frame.module, home, 0) if home else None
        return External(path) if module is None else project.member(self.run, module, name)


def package_of(text: str, chosen: Chosen) -> tuple[str, ...]:
    """The package that a comment names."""
    group = ".".join(filter(None, chosen.group.split("/")))
    text = text.replace("_global_", "").replace("_group_", group).replace("_name_", chosen.option)
    return tuple(filter(None, text.split(".")))


def located(package: tuple[str, ...], below: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Where a choice goes: below whoever names it, unless it says otherwise."""
    if not where:
        return (*package, *below)
    if where == "_here_":
        return package
    names = tuple(where.split("."))
    return names[1:] if names[0] == "_global_" else (*package, *names)


def joined_group(group: str, name: str) -> str:
    return "/".join(filter(None, (group, name)))
