"""Where settings come from: the file, each `--config KEY=VALUE`, the command line; one layer each.

Plain classes, as all on the way to the settings: making data classes takes longer than reading them.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnlint.config.errors import ConfigError, spelled
from bnlint.config.files import TABLE, Document, named_document, nearest_document, parse
from bnlint.config.keys import KEYS, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class At:
    """Where a value stands: in which layer, and below which keys."""

    def __init__(self, layer: Layer, path: tuple[str, ...]) -> None:
        self.layer = layer
        self.path = path

    def below(self, key: str) -> At:
        """One key further down."""
        return At(self.layer, (*self.path, key))

    def wrong(self, text: str) -> ConfigError:
        """What is wrong here."""
        key, *more = self.path
        dotted = ".".join([key, *map(spelled, more)])
        return ConfigError(f"{self.layer.place(self.path)} {dotted}: {text}")

    def expected(self, wanted: str, value: object) -> ConfigError:
        """Another kind of value is wrong here."""
        return self.wrong(f"expected {wanted}, got {spelled(value)}")


class Layer:
    """One source of settings, which goes before those that come earlier.

    Without a document, `name` is how it is called in mistakes, and `origin` where it is shown.
    """

    def __init__(
        self, values: Mapping[str, Any], name: str = "", origin: str = "", document: Document | None = None
    ) -> None:
        self.values = values
        self.name = name
        self.origin = origin
        self.document = document

    @property
    def base(self) -> Path:
        """What relative paths are relative to; empty for the current folder."""
        return self.document.file.absolute().parent if self.document else Path()

    def read(self) -> dict[str, Any]:
        """All values as settings hold them. A misspelt key would silently do nothing: it is refused."""
        for key in self.values:
            if key not in KEYS:
                raise ConfigError(f"{self.place((key,))} {unknown(key)}")
        return {key: KEYS[key].kind.read(value, At(self, (key,))) for key, value in self.values.items()}

    def place(self, path: Sequence[str]) -> str:
        """How the place of a mistake is called."""
        if self.document is None:
            return self.name
        row = self.document.row(path)
        return f"{self.document.file}{f':{row}' if row else ''}: {TABLE}"

    def source(self, path: Sequence[str]) -> str:
        """Where a value comes from, in short."""
        if self.document is None:
            return self.origin
        row = self.document.row(path)
        return f"{self.document.file.name}{f':{row}' if row else ''}"

    def pattern(self, word: str) -> str:
        """A pattern as `discover.matches` wants it: with a slash it is relative to where it was written."""
        if word.startswith("!"):
            return f"!{self.pattern(word[1:])}"
        word = posixpath.normpath(word)
        if "/" not in word or word.startswith("/"):
            return word
        return posixpath.normpath(f"{literal(self.base.absolute())}{word}")


def literal(folder: Path) -> str:
    """The beginning of patterns for what is in a folder, whatever its name."""
    path = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in folder.as_posix())
    return f"{path.rstrip('/')}/"


def layers(
    paths: Sequence[str | os.PathLike[str]],
    given: Mapping[str, object],
    *,
    config: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    isolated: bool = False,
) -> list[Layer]:
    """The layers of a run, the first of which counts least; see `load`."""
    words = [config] if isinstance(config, (str, os.PathLike)) else list(config or ())
    inline = [word for word in words if isinstance(word, str) and "=" in word and not os.path.isfile(word)]
    files = [Path(word) for word in words if word not in inline]
    if files and isolated:
        raise ConfigError(f"--config {files[0]}: --isolated takes no settings from files")
    if len(files) > 1:
        raise ConfigError(
            f"--config {files[1]}: {files[0]} was taken already, and there can be one file only"
        )
    document = named_document(files[0]) if files else None if isolated else nearest_document(paths)
    found = [Layer(document.table, document=document)] if document else []
    found += map(_inline, inline)
    values = {key: value for key, value in given.items() if value is not None}
    return [*found, Layer(values, "setting", "command line")]


def _inline(text: str) -> Layer:
    """The layer of one `--config KEY=VALUE`."""
    quote = "'" if '"' in text else '"'
    name = f"--config {quote}{text}{quote}"
    try:
        return Layer(parse(text), f"{name}:", name)
    except ValueError as problem:
        raise ConfigError(f"{name}: not valid TOML: {problem}{_hint(text)}") from None


def _hint(text: str) -> str:
    """What was meant, where quotes or brackets were forgotten, or eaten by the shell."""
    name, _, value = (part.strip() for part in text.partition("="))
    kind = KEYS[name].kind.schema()["type"] if name in KEYS else ""
    words = ", ".join(f'"{word.strip()}"' for word in value.strip("[]").split(","))
    meant = {"string": f'"{value}"', "array": f"[{words}]", "boolean": value.lower()}.get(kind, "")
    try:
        parse(f"{name} = {meant}")
    except ValueError:
        return ""
    return f" (did you mean {name} = {meant}?)"
