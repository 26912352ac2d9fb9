"""The kinds of settings: how each is read, and what a JSON schema says of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnlint.config.errors import similar, spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bnlint.config.layer import At
    from bnlint.rule import Threshold


class Kind:
    """What a setting may be."""

    @property
    def wanted(self) -> str:
        """How it is called, also where something else was given."""
        raise NotImplementedError

    def read(self, value: Any, at: At) -> Any:
        """A value as settings hold it; raises what is wrong with it."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """What a JSON schema says of the values that `read` takes."""
        raise NotImplementedError


class Flag(Kind):
    """True or false."""

    wanted = "true or false"

    def read(self, value: Any, at: At) -> bool:
        """1 is no truth in TOML."""
        if not isinstance(value, bool):
            raise at.expected(self.wanted, value)
        return value

    def schema(self) -> dict[str, Any]:
        """A boolean."""
        return {"type": "boolean"}


class Choice(Kind):
    """One of a few words; which ones is only asked where one is given."""

    def __init__(self, words: Callable[[], Sequence[str]]) -> None:
        self.words = words

    @property
    def wanted(self) -> str:
        """All of them."""
        return f"one of {', '.join(map(spelled, self.words()))}"

    def read(self, value: Any, at: At) -> str:
        """A word that is one of them."""
        if not isinstance(value, str):
            raise at.expected(self.wanted, value)
        if value not in self.words():
            near = similar(value, self.words())
            hint = f'the nearest is "{near}"' if near else f"it is {self.wanted}"
            raise at.wrong(f'unknown value "{value}", {hint}')
        return value

    def schema(self) -> dict[str, Any]:
        """All of them."""
        return {"type": "string", "enum": list(self.words())}


class Number(Kind):
    """The threshold of a rule: whole where its default is, and within its limits."""

    def __init__(self, threshold: Threshold) -> None:
        self.limits = threshold.least, threshold.most
        self.types = int if isinstance(threshold.default, int) else (int, float)

    @property
    def wanted(self) -> str:
        """With its limits."""
        whole = "whole " if self.types is int else ""
        return f"a {whole}number from {self.limits[0]} to {self.limits[1]}"

    def read(self, value: Any, at: At) -> float:
        """A truth is no number, and what is no number at all (`nan`) is within no limits."""
        least, most = self.limits
        if isinstance(value, bool) or not isinstance(value, self.types) or not least <= value <= most:
            raise at.expected(self.wanted, value)
        return value

    def schema(self) -> dict[str, Any]:
        """A number within limits."""
        least, most = self.limits
        return {"type": "integer" if self.types is int else "number", "minimum": least, "maximum": most}


class File(Kind):
    """A path; in a file of settings it is relative to that file."""

    wanted = "a path"

    def __init__(self, *, absolute: bool = False) -> None:
        self.absolute = absolute

    def read(self, value: Any, at: At) -> Path:
        """A path that could be one."""
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(text, str) or not text or "\0" in text:
            raise at.expected(self.wanted, value)
        path = Path(at.layer.base, text)
        return path.absolute() if self.absolute else path

    def schema(self) -> dict[str, Any]:
        """A string that could be a path."""
        return {"type": "string", "pattern": "^[^\\u0000]+$"}
