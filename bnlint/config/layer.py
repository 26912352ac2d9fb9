"""One source of settings, and where its values stand.

Plain classes, as all on the way to the settings: making data classes takes longer than reading them.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnlint.config.errors import ConfigError, spelled
from bnlint.config.files import TABLE, Document

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
