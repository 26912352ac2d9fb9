"""`bnlint rules` lists the rules, `bnlint rule CODE` explains one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from bnlint.cli.terminal import color_option, colors, paint, width
from bnlint.cli.words import complete_rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.rule import Rule

NUMBERS = "Numbers"
"""The heading of what a rule's demonstration has shown."""


@click.command()
@click.option("--output-format", type=click.Choice(["full", "json"]), default="full", show_default=True)
@color_option
def rules(output_format: str, color: bool | None) -> None:  # noqa: FBT001  click passes it by name
    """List all rules."""
    from bnlint.rule import all_rules

    if output_format == "json":
        import json

        keys = ("code", "name", "severity", "engines", "summary")
        text = json.dumps([{key: getattr(one, key) for key in keys} for one in all_rules()], indent=2)
    else:
        text = _table(all_rules(), width())
    click.echo(text, color=colors(color))


@click.command()
@click.argument("name", metavar="CODE|NAME", shell_complete=complete_rule)
@color_option
def rule(name: str, color: bool | None) -> None:  # noqa: FBT001  click passes it by name
    """Explain a rule: what it finds, why it is wrong, how to fix it."""
    from bnlint.config import FAULT, FAULT_NAMES, nearest
    from bnlint.pipeline import ABOUT_FAULTS
    from bnlint.rule import all_rules

    known = {key: one for one in all_rules() for key in (one.code, one.name)}
    key = name.strip().upper() if name.strip().upper() in {*known, FAULT} else name.strip().lower()
    if key in (FAULT, *FAULT_NAMES):
        text = f"{click.style(FAULT, bold=True)} [{paint('error', 'error')}]\n\n{ABOUT_FAULTS.rstrip()}"
    elif key in known:
        text = _documentation(known[key])
    else:
        near = nearest(name, [*known, FAULT])
        raise click.UsageError(f'unknown rule "{name}", the nearest is "{near}"')
    click.echo(text, color=colors(color))


def _table(rules: Sequence[Rule], columns: int) -> str:
    """A line for each rule; a summary that does not fit goes on below itself."""
    import textwrap

    column = max((len(one.name) for one in rules), default=0)
    lines = []
    for one in rules:
        severity = paint(f"{one.severity:<7}", one.severity)
        start = f"{paint(one.code, 'code')}  {one.name:<{column}}  {severity}  {one.engines:<4}  "
        indent = len(click.unstyle(start))
        body = textwrap.wrap(one.summary, max(columns - indent, 30)) or [""]
        lines += [start + body[0], *(" " * indent + line for line in body[1:])]
    return "\n".join(lines)


def _fitted(text: str, columns: int) -> Iterator[str]:
    """The lines of a text; its paragraphs and items are wrapped anew where they would not fit."""
    import textwrap

    for part in re.split(r"(\n{2,}|\n(?=- )|(?<=---)\n)", text):
        rows = part.splitlines()
        plain = rows and not rows[0].startswith((" ", "\n")) and "---" not in part
        if not plain or max(map(len, rows)) <= columns:
            yield from [""] * (part.count("\n") - 1) if not part.strip() else rows
        else:
            indent = "  " if part.startswith("- ") else ""
            yield from textwrap.wrap(
                " ".join(part.split()), columns, subsequent_indent=indent, break_long_words=False
            )


def _documentation(one: Rule) -> str:
    """A rule's documentation below its code, name and severity; headings stand out."""
    from bnlint.rule import HEADINGS

    headings = {*HEADINGS, NUMBERS}
    head = f"{paint(one.code, 'code')} {one.name} [{paint(one.severity, one.severity)}]"
    text = one.doc.strip()
    if one.threshold is not None:
        limit = one.threshold
        text += f"\n\nSetting: {one.name} = {limit.default} ({limit.meaning}; {limit.least} to {limit.most})"
    fitted = [*_fitted(text, width()), *_numbers(one)]
    lines = (click.style(line, bold=True) if line.strip() in headings else line for line in fitted)
    return "\n".join([head, "", *lines])


def _numbers(one: Rule) -> Iterator[str]:
    """What the rule's demonstration printed when it was last run."""
    import textwrap

    from bnlint.demonstration import demonstrated
    from bnlint.pictures.terminal import table

    shown = demonstrated().get(one.code)
    if shown is None:
        return
    yield from ["", NUMBERS, "-" * len(NUMBERS)]
    yield from textwrap.wrap(shown.setting, width())
    yield from ["", *table(shown, width(), paint), ""]
    yield from textwrap.wrap(f"{shown.claim} `bnlint demo {one.code}` runs it and draws a plot.", width())
