"""Types of options: lists of words, and words of which there is a list; both can be completed by a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # which older versions of click do not let anybody subscribe


class Words(_Type):
    """Words separated by commas."""

    name = "words"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Split them."""
        return [word.strip() for word in value.split(",") if word.strip()]


class Selectors(Words):
    """Codes, their beginnings and names of rules."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The rules that the last word can become."""
        before, comma, word = incomplete.rpartition(",")
        return [item(before + comma + known, text) for known, text in rules(word)]


class OneOf(_Type):
    """One of some words, which are looked up when they are asked for; settings check what is given."""

    name = "word"

    def __init__(self, words: Callable[[], tuple[str, ...]]) -> None:
        self.words = words

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """All of them, as ruff's help shows them."""
        return "|".join(self.words())

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Those that begin so."""
        return [item(word) for word in self.words() if word.startswith(incomplete)]


def formats() -> tuple[str, ...]:
    """The output formats."""
    from bnlint import report

    return report.formats()


def severities() -> tuple[str, ...]:
    """The severities, from the mildest to the gravest."""
    from bnlint.finding import SEVERITIES

    return SEVERITIES


def rules(incomplete: str) -> list[tuple[str, str]]:
    """The codes and names that begin so, each with what the rule finds; all codes where nothing is given."""
    from bnlint.rule import all_rules

    start = incomplete.lower()
    pairs = [(word, one.summary) for one in all_rules() for word in (one.code, one.name)]
    return [pair for pair in pairs if pair[0].lower().startswith(start) and (start or pair[0].isupper())]


def complete_rule(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The rules that a word can become."""
    return [item(word, text) for word, text in rules(incomplete)]


def item(word: str, text: str | None = None) -> CompletionItem:
    """What a shell is told."""
    from click.shell_completion import CompletionItem

    return CompletionItem(word, help=text)
