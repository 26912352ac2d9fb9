"""`bnlint demo` shows what each bug does, with numbers, a plot and a claim that is checked."""

from __future__ import annotations

import importlib
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from bnlint import __version__
from bnlint.cli import FINDINGS, Refused, save, say, terminal
from bnlint.cli.words import item, rules
from bnlint.progress import Bar, wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from click.shell_completion import CompletionItem

    from bnlint.demonstration import Demonstration, Subject
    from bnlint.reference.laboratory import Laboratory
    from bnlint.rule import Rule

TOPICS = {"basics": "What BatchNorm computes, by hand.", "benefits": "What BatchNorm is said to be good for."}
"""What belongs to no rule: modules of `bnlint.reference` with `SUBJECTS`."""
EXTRA = 'pip install "bnlint[demo]"'


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The topics and the rules that a word can become."""
    topics = [item(name, text) for name, text in TOPICS.items() if name.startswith(incomplete.lower())]
    return [*topics, *(item(word, text) for word, text in rules(incomplete))]


def _drawable(_ctx: click.Context, _param: click.Parameter, target: str | None) -> str | None:
    """Refuse what no picture can be written to before anything is run."""
    if target is not None and not target.lower().endswith((".png", ".svg")):
        raise click.BadParameter("the name of the file has to end with .png or .svg")
    return target


@click.command()
@click.argument("name", metavar="[CODE|NAME|TOPIC]", required=False, shell_complete=_complete)
@click.option("--plot", metavar="FILE", callback=_drawable, help="Draw the plots into a file, .png or .svg.")
@click.option("--html", metavar="FILE", help="Write a page that needs nothing else, with all that is shown.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of all random numbers."
)
@terminal.color_option
@click.pass_context
def demo(  # noqa: PLR0913, PLR0917  click passes them by name
    ctx: click.Context,
    /,
    name: str | None,
    plot: str | None,
    html: str | None,
    seed: int,
    color: bool | None,  # noqa: FBT001
) -> None:
    """Show what a bug does: wrong beside right, in numbers and a plot.

    TOPIC is "basics", an example worked by hand, or "benefits", what BatchNorm is said to be good for.
    Without an argument everything is shown, one after the other. Each demonstration makes a claim about
    its numbers, which is checked. Exit status: 0 if every claim holds, 1 if one does not, 2 if something
    is missing.
    """
    perform = _laboratory()
    if plot or html:
        _need("matplotlib", "plots in files")
    asked = _asked(name)
    shown = []
    bar = Bar() if wanted(quiet=False) else None
    for number, subject in enumerate(asked):
        if bar:
            bar(number / len(asked), subject.title)
        demonstration = perform(subject.demonstrate, seed)
        shown.append((subject, demonstration))
        if bar:
            bar.close()
        text = ("\n" if number else "") + _page(subject, demonstration)
        click.echo(_printable(text), color=terminal.colors(color))
    _write(shown, plot, html, seed)
    broken = [subject for subject, demonstration in shown if not demonstration.holds]
    for subject in broken:
        say(f"{subject.title}: the claim does not hold")
    ctx.exit(FINDINGS if broken else 0)


def _laboratory() -> Callable[[Callable[[Laboratory], Demonstration], int], Demonstration]:
    """What runs a demonstration: torch is imported with it."""
    _need("torch", "demonstrations")
    from bnlint.reference.laboratory import perform

    return perform


def _need(package: str, what: str) -> None:
    """Refuse to go on without a package."""
    if not _is_there(package):
        raise Refused(f"{what} need {package}: {EXTRA}")


def _is_there(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def _asked(name: str | None) -> Sequence[Subject]:
    """What is to be shown: the one of this name, those of a topic, or all."""
    from bnlint.rule import all_rules

    rules = [_subject(rule) for rule in all_rules() if rule.demonstrate]
    topics: dict[str, Sequence[Subject]] = {
        topic: importlib.import_module(f"bnlint.reference.{topic}").SUBJECTS for topic in TOPICS
    }
    every = [*topics["basics"], *rules, *topics["benefits"]]
    word = (name or "").strip().lower()
    if name is None:
        asked = every
    else:
        asked = [*topics.get(word, [one for one in every if word in {one.code.lower(), one.name}])]
    if not asked:
        raise click.UsageError(_unknown(word, [one.name for one in every]))
    if any(one in topics["benefits"] for one in asked):
        _need("sklearn", "the images of digits")
    return asked


def _subject(rule: Rule) -> Subject:
    """A rule as something to be shown."""
    from bnlint.demonstration import Subject

    assert rule.demonstrate
    code = (textwrap.dedent(rule.section(heading)) for heading in ("Bad", "Good"))
    return Subject(rule.code, rule.name, rule.summary, rule.demonstrate, *code)


def _unknown(word: str, names: Sequence[str]) -> str:
    from bnlint.config import nearest
    from bnlint.rule import all_rules

    codes = {key.lower(): rule.code for rule in all_rules() for key in (rule.code, rule.name)}
    if word in codes:
        return f"{codes[word]} has no demonstration"
    return f'nothing is called "{word}", the nearest is "{nearest(word, [*TOPICS, *names, *codes.values()])}"'


def _page(subject: Subject, shown: Demonstration) -> str:
    """A demonstration as text: what is done, the table, the plot, the claim."""
    from bnlint.pictures import terminal as drawn

    width = min(terminal.width(), terminal.WIDTH)
    head = f"{terminal.paint(subject.code, 'code')} {subject.name}".strip()
    mark = terminal.paint("✓", "good") if shown.holds else terminal.paint("✗", "error")
    claim = textwrap.wrap(shown.claim if shown.holds else f"This does not hold: {shown.claim}", width - 2)
    parts = [
        *textwrap.wrap(subject.summary, width),
        "",
        *textwrap.wrap(shown.setting, width),
        "",
        *drawn.table(shown, width, terminal.paint),
        "",
        drawn.render(shown.picture, width, terminal.paint),
        "",
        f"{mark} " + "\n  ".join(claim),
    ]
    return "\n".join([head, *parts])


_PLAIN = str.maketrans("▒█·┤│└─…✓✗²", "=#.||`-~+!2")


def _printable(text: str) -> str:
    """The text in signs that standard output can take."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text


def _write(
    shown: Sequence[tuple[Subject, Demonstration]], plot: str | None, html: str | None, seed: int
) -> None:
    """The files that were asked for."""
    if plot:
        from bnlint.pictures import figure

        _save(plot, figure.save([demonstration.picture for _, demonstration in shown], plot))
    if html:
        from bnlint.pictures import page
        from bnlint.versions import versions

        about = f"Made by bnlint {__version__} ({versions()}), seed {seed}."
        _save(html, page.render(shown, about).encode())


def _save(target: str, data: bytes) -> None:
    save(target, data)
    say(f"wrote {target}")
