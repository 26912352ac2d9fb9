"""Documents: the text of a YAML, JSON or TOML file becomes a tree that knows where each value is written.

A pure function of the text. No object is ever constructed: YAML is composed into nodes, of which plain
scalars are resolved as the safe loader does. What is of another kind is a `Blank`, as is what goes round
in a circle. Whatever cannot be read is None: configuration is not what is linted.
"""

from __future__ import annotations

import json
import re
import sys
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from bnlint.source.summary import Span

if TYPE_CHECKING:
    import yaml  # type: ignore[import-untyped,unused-ignore]

MOST_BYTES: Final = 256 * 1024
"""No configuration that people write is larger; data are."""


class Scalar(NamedTuple):
    """A string, a number, a truth or nothing; `span` is None where nobody knows its place."""

    value: str | int | float | bool | None
    span: Span | None


class Mapping(NamedTuple):
    entries: dict[Any, Tree]
    span: Span | None = None


class Sequence(NamedTuple):
    items: list[Tree]
    span: Span | None = None


class Blank(NamedTuple):
    """A value that is not known."""


Tree: TypeAlias = Scalar | Mapping | Sequence | Blank
BLANK: Final = Blank()


def parse(data: bytes, suffix: str) -> Tree | None:
    """The tree of a document, by the suffix of its file; None for what is broken, too large or of no kind."""
    reader = READERS.get(suffix.lower())
    if reader is None or len(data) > MOST_BYTES:
        return None
    try:
        return reader(data.decode("utf-8-sig"))
    except (ValueError, LookupError, RecursionError):
        return None


# JSON


def read_json(text: str) -> Tree:
    """Python's own reader says what a document is; this one goes along and says where."""
    json.loads(text)
    return Json(text).value(0)[0]


class Json:
    """Goes through a document that is known to be sound."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.scalars = json.JSONDecoder()

    def skip(self, at: int) -> int:
        """Where the next token begins."""
        found = BETWEEN.match(self.text, at)
        return found.end() if found else at

    def value(self, at: int) -> tuple[Tree, int]:
        """The value that begins here, and where it ends."""
        at = self.skip(at)
        if self.text[at] == "{":
            return self.mapping(at)
        if self.text[at] == "[":
            return self.sequence(at)
        found, end = self.scalars.raw_decode(self.text, at)
        return Scalar(found, self.span(at, end)), end

    def mapping(self, start: int) -> tuple[Tree, int]:
        entries: dict[Any, Tree] = {}
        at = self.skip(start + 1)
        while self.text[at] != "}":
            name, at = self.scalars.raw_decode(self.text, at)
            entries[name], at = self.value(self.skip(at) + 1)
            at = self.skip(at)
        return Mapping(entries, self.span(start, at + 1)), at + 1

    def sequence(self, start: int) -> tuple[Tree, int]:
        items: list[Tree] = []
        at = self.skip(start + 1)
        while self.text[at] != "]":
            item, at = self.value(at)
            items.append(item)
            at = self.skip(at)
        return Sequence(items, self.span(start, at + 1)), at + 1

    def span(self, start: int, end: int) -> Span:
        first, last = bisect_right(self.starts, start), bisect_right(self.starts, end - 1)
        return Span(first, start - self.starts[first - 1], last, end - self.starts[last - 1])


BETWEEN: Final = re.compile(r"[ \t\n\r,]*")

# YAML


def read_yaml(text: str) -> Tree | None:
    import yaml  # only projects that load such files need it

    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return Scalar(None, None) if node is None else Yaml().tree(node)
    except yaml.YAMLError:
        return None


class Yaml:
    """Turns nodes into a tree; a node with an anchor is one value wherever it is named."""

    def __init__(self) -> None:
        import yaml

        self.safe = yaml.constructor.SafeConstructor()
        self.known: dict[int, Tree] = {}

    def tree(self, node: yaml.Node) -> Tree:
        if id(node) not in self.known:
            self.known[id(node)] = BLANK  # until it is known: what holds itself
            self.known[id(node)] = self.made(node)
        return self.known[id(node)]

    def made(self, node: yaml.Node) -> Tree:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        match kind, node.value:
            case "map", list(pairs):
                return Mapping(self.entries(pairs), span_of(node))
            case "seq", list(items):
                return Sequence([self.tree(item) for item in items], span_of(node))
            case "str", str(text):
                return Scalar(text, span_of(node))
            case "int" | "float" | "bool" | "null", str():
                return Scalar(self.scalar(kind, node), span_of(node))
        return BLANK

    def scalar(self, kind: str, node: yaml.Node) -> int | float | bool | None:
        """A plain scalar as the safe loader reads it. Raises `ValueError`, as `!!int x` does."""
        found: int | float | bool | None = getattr(self.safe, f"construct_yaml_{kind}")(node)
        return found

    def entries(self, pairs: list[tuple[yaml.Node, yaml.Node]]) -> dict[Any, Tree]:
        """What is written here comes before what is merged by `<<`.

        Which one of several merged values counts is another one in each version of the loader.
        """
        merged: dict[Any, Tree] = {}
        own: dict[Any, Tree] = {}
        for key, value in pairs:
            if key.tag == "tag:yaml.org,2002:merge":
                inner = self.tree(value)
                for part in inner.items if isinstance(inner, Sequence) else [inner]:
                    more = part.entries if isinstance(part, Mapping) else {}
                    merged.update((k, v if merged.get(k, v) == v else BLANK) for k, v in more.items())
                continue
            name = self.tree(key)
            if isinstance(name, Scalar):
                own[name.value] = self.tree(value)
        return {**merged, **own}


def span_of(node: yaml.Node) -> Span:
    """The place of a node; that of a block ends where the next one begins."""
    start, end = node.start_mark, node.end_mark
    return Span(start.line + 1, start.column, end.line + 1, end.column)


# TOML


def read_toml(text: str) -> Tree:
    """Python's reader tells no places: a value is where its key is, if that is written once."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    return Toml(text).tree(tomllib.loads(text), None)


class Toml:
    """Turns what Python's reader gives into a tree."""

    def __init__(self, text: str) -> None:
        self.lines: dict[str, list[Span]] = {}
        for row, line in enumerate(text.split("\n"), 1):
            found = ASSIGNED.match(line)
            if found:
                span = Span(row, found.start(2), row, len(line.rstrip()))
                self.lines.setdefault(found[1].strip("\"'"), []).append(span)

    def tree(self, value: Any, key: str | None) -> Tree:
        places = [] if key is None else self.lines.get(key, [])
        span = places[0] if len(places) == 1 else None
        match value:
            case dict():
                return Mapping({name: self.tree(inner, name) for name, inner in value.items()}, span)
            case list():
                return Sequence([self.tree(inner, None) for inner in value], span)
            case str() | int() | float():
                return Scalar(value, span)
        return BLANK  # a date


ASSIGNED: Final = re.compile(r"""\s*([\w-]+|"[\w-]+"|'[\w-]+')\s*=\s*(\S)""")

READERS: Final[dict[str, Callable[[str], Tree | None]]] = {
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".json": read_json,
    ".toml": read_toml,
}
