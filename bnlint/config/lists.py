"""The kinds of settings that are lists of words, or tables of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bnlint.config.errors import ConfigError
from bnlint.config.kinds import Kind
from bnlint.config.selectors import pattern, selector, words

if TYPE_CHECKING:
    from bnlint.config.layer import At


class Words(Kind):
    """A list of strings."""

    wanted = "a list of strings"

    def read(self, value: Any, at: At) -> tuple[str, ...]:
        """Each of them read in its turn."""
        if not isinstance(value, (list, tuple)) or not all(isinstance(word, str) for word in value):
            raise at.expected(self.wanted, value)
        return tuple(self.word(word, at) for word in value)

    def word(self, word: str, at: At) -> str:
        """One of them as settings hold it."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """A list of strings."""
        return {"type": "array", "items": {"type": "string"}}


class Patterns(Words):
    """A list of patterns of files and folders."""

    def word(self, word: str, at: At) -> str:
        """A pattern."""
        return at.layer.pattern(word)


class Selectors(Words):
    """A list of selectors, each of which names a rule."""

    def word(self, word: str, at: At) -> str:
        """A selector in its one spelling."""
        try:
            return selector(word)
        except ConfigError as problem:
            raise at.wrong(str(problem)) from None

    def schema(self) -> dict[str, Any]:
        """The words to complete, and the pattern of all that is taken."""
        known = {"enum": list(words())}
        return {"type": "array", "items": {"anyOf": [known, {"type": "string", "pattern": pattern()}]}}


class SelectorsByPattern(Kind):
    """Which rules, by patterns of files and folders."""

    wanted = "a table of lists of strings"
    listed = Selectors()

    def read(self, value: Any, at: At) -> dict[str, tuple[str, ...]]:
        """Each pattern with its selectors."""
        if not isinstance(value, dict):
            raise at.expected(self.wanted, value)
        found: dict[str, tuple[str, ...]] = {}
        for word, listed in value.items():
            place = at.layer.pattern(word)  # `tests` and `tests/` are the same one
            found[place] = found.get(place, ()) + self.listed.read(listed, at.below(word))
        return found

    def schema(self) -> dict[str, Any]:
        """Any key may be a pattern."""
        return {"type": "object", "additionalProperties": self.listed.schema()}
