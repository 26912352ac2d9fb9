"""`bnlint demo` shows what each bug does, with numbers, a plot and a claim that is checked."""

from __future__ import annotations

import importlib
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from bnlint.cli import FINDINGS, Refused, say, terminal
from bnlint.cli.progress import Bar, wanted
from bnlint.cli.words import item, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.shell_completion import CompletionItem

    from bnlint.demonstration import Demonstration
    from bnlint.reference.laboratory import Laboratory

TOPICS = {"basics": "What BatchNorm computes, by hand"}
"""Demonstrations that belong to no rule: modules of `bnlint.reference`, and what they show."""


class Demonstrated:
    """Something that can be demonstrated: a rule or a topic."""

    def __init__(
        self, code: str, name: str, summary: str, demonstrate: Callable[[Laboratory], Demonstration]
    ) -> None:
        self.code, self.name, self.summary = code, name, summary
        self.demonstrate = demonstrate

    @property
    def title(self) -> str:
        """Its code, if it has one, and its name."""
        return f"{self.code} {self.name}".strip()


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The topics and the rules that a word can become."""
    topics = [item(name, text) for name, text in TOPICS.items() if name.startswith(incomplete.lower())]
    return [*topics, *(item(word, text) for word, text in rules(incomplete))]


@click.command()
@click.argument("name", metavar="[CODE|NAME|TOPIC]", required=False, shell_complete=_complete)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random numbers."
)
@terminal.color_option
@click.pass_context
def demo(ctx: click.Context, /, name: str | None, seed: int, color: bool | None) -> None:  # noqa: FBT001
    """Show what a bug does: wrong beside right, in numbers and a plot.

    Without an argument all demonstrations are run, one after the other: those of the rules, and "basics".
    Each makes a claim about its numbers, which is checked. Exit status: 0 if every claim holds, 1 if one
    does not.
    """
    perform = _laboratory()
    asked = list(_asked(name))
    broken = []
    bar = Bar() if wanted(quiet=False) else None
    for number, one in enumerate(asked):
        if bar:
            bar(number / len(asked), one.title)
        shown = perform(one.demonstrate, seed)
        if bar:
            bar.close()
        if number:
            click.echo()
        click.echo(_printable(_page(one, shown)), color=terminal.colors(color))
        if not shown.holds:
            broken.append(one.title)
    for title in broken:
        say(f"{title}: the claim does not hold")
    ctx.exit(FINDINGS if broken else 0)


def _laboratory() -> Callable[[Callable[[Laboratory], Demonstration], int], Demonstration]:
    """What runs a demonstration: torch is imported with it."""
    try:
        from bnlint.reference.laboratory import perform
    except ModuleNotFoundError as problem:
        if problem.name != "torch":
            raise
        raise Refused('demonstrations need torch: pip install "bnlint[demo]"') from None
    return perform


def known() -> dict[str, Demonstrated]:
    """All that can be demonstrated by the names it answers to, topics first."""
    from bnlint.rule import all_rules

    found = {}
    for name, summary in TOPICS.items():
        module = importlib.import_module(f"bnlint.reference.{name}")
        found[name] = Demonstrated("", name, summary, module.demonstrate)
    for rule in all_rules():
        if rule.demonstrate:
            one = Demonstrated(rule.code, rule.name, rule.summary, rule.demonstrate)
            found |= {rule.code: one, rule.name: one}
    return found


def _asked(name: str | None) -> Iterator[Demonstrated]:
    """The one of this name, or all."""
    found = known()
    if name is None:
        yield from dict.fromkeys(found.values())
        return
    key = name.strip().upper() if name.strip().upper() in found else name.strip().lower()
    if key not in found:
        raise click.UsageError(_unknown(name, key, found))
    yield found[key]


def _unknown(name: str, key: str, found: dict[str, Demonstrated]) -> str:
    from bnlint.config import nearest
    from bnlint.rule import all_rules

    if any(key in {rule.code.lower(), rule.name} for rule in all_rules()):
        return f"{name} has no demonstration"
    return f'nothing is called "{name}", the nearest is "{nearest(name, [*found])}"'


def _page(one: Demonstrated, shown: Demonstration) -> str:
    """A demonstration as text: what is done, the table, the plot, the claim."""
    from bnlint.pictures import terminal as drawn

    width = min(terminal.width(), terminal.WIDTH)
    head = f"{terminal.paint(one.code, 'code')} {one.name}".strip()
    done = terminal.paint("✓", "good") if shown.holds else terminal.paint("✗", "error")
    claim = textwrap.wrap(shown.claim, width - 2)
    if not shown.holds:
        claim.append(terminal.paint("This does not hold.", "error"))
    return "\n".join(
        [
            f"{head}: {one.summary}",
            "",
            *textwrap.wrap(shown.setting, width),
            "",
            *drawn.table(shown, width, terminal.paint),
            "",
            drawn.render(shown.picture, width, terminal.paint),
            "",
            f"{done} " + "\n  ".join(claim),
        ]
    )


_PLAIN = str.maketrans("▒█·┤│└─…✓✗²", "=#.||`-~+!2")


def _printable(text: str) -> str:
    """The text in signs that standard output can take."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text
