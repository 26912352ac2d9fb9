"""`bnlint lint`, the command that runs where none is named."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from bnlint.cli import WRONG, Refused, say, terminal
from bnlint.cli.outcome import explain, show, status, tell
from bnlint.cli.words import OneOf, Selectors, Words, formats, severities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bnlint.config import Settings
    from bnlint.pipeline import Outcome

LISTS = ("select", "ignore", "extend_select", "exclude", "extend_exclude")
"""Options of words that may be repeated, each of which is a setting as well."""
HEADINGS = {
    "Rules": ("--select", "--ignore", "--extend-select", "--per-file-ignores"),
    "Files": (
        "--exclude",
        "--extend-exclude",
        "--force-exclude",
        "--respect-gitignore",
        "--stdin-filename",
    ),
    "Output": ("--output-format", "--output-file", "--fail-on", "--exit-zero", "--statistics"),
    "Old code": ("--baseline", "--write-baseline", "--report-unused-noqa"),
    "Settings": ("--config", "--isolated", "--no-cache", "--cache-dir"),
}
"""How the help groups the options."""
COUNTED = ("full", "concise", "json")
"""Formats in which statistics can be shown."""
SINGLE = (
    "output_format",
    "output_file",
    "fail_on",
    "exit_zero",
    "statistics",
    "force_exclude",
    "respect_gitignore",
    "baseline",
    "report_unused_noqa",
    "no_cache",
    "cache_dir",
    "verbose",
    "quiet",
)
"""Options of one value, each of which is a setting as well."""


def words(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    """An option that takes words and may be repeated."""
    kind = Selectors() if metavar == "RULES" else Words()
    return click.option(name, multiple=True, type=kind, metavar=metavar, help=text)


def flag(name: str, text: str) -> Callable[[Any], Any]:
    """An option without a value; where it is not given, the settings decide."""
    return click.option(*name.split(), is_flag=True, default=None, help=text)


class Grouped(click.Command):
    """A command whose help shows its options below headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One list for each heading; what has none comes last."""
        named = {name for names in HEADINGS.values() for name in names}
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        rest = [param.opts[-1] for param in options if param.opts[-1] not in named]
        for heading, names in {**HEADINGS, "Terminal": rest}.items():
            shown = [param.get_help_record(ctx) for param in options if param.opts[-1] in names]
            with formatter.section(heading):
                formatter.write_dl([record for record in shown if record])


@click.command(cls=Grouped)
@click.argument("paths", nargs=-1, type=click.Path(readable=False), metavar="[PATH]...")
@words("--select", "RULES", "Only these rules: codes, their beginnings (BN2), names, or ALL.")
@words("--ignore", "RULES", "Not these rules.")
@words("--extend-select", "RULES", "These rules besides those that are selected.")
@words("--per-file-ignores", "PATTERN:RULES", "Not these rules in files that match.")
@words("--exclude", "PATTERNS", "Files and folders to pass over, in place of the default ones.")
@words("--extend-exclude", "PATTERNS", "Files and folders to pass over, besides the default ones.")
@flag("--force-exclude/--no-force-exclude", "Pass over excluded files also where they are named.")
@flag("--respect-gitignore/--no-respect-gitignore", "Pass over what git ignores.  [default: do]")
@click.option("--stdin-filename", type=click.Path(), metavar="FILE", help="What `-`, standard input, is.")
@click.option("--output-format", type=OneOf(formats), help="How findings are shown.  [default: full]")
@click.option("--output-file", type=click.Path(dir_okay=False), metavar="FILE", help="Write them there.")
@click.option("--fail-on", type=OneOf(severities), help="Exit 1 from here on.  [default: warning]")
@flag("--exit-zero", "Exit 0 also where something was found.")
@flag("--statistics", "Show how often each rule spoke, and nothing else.")
@click.option(
    "--baseline", type=click.Path(dir_okay=False), metavar="FILE", help="Report only what is not in it."
)
@click.option("--write-baseline", is_flag=True, help="Write all that is found into the baseline.")
@flag("--report-unused-noqa", "Report comments that silence nothing.")
@click.option(
    "--config",
    multiple=True,
    type=click.Path(readable=False),
    metavar="FILE|KEY=VALUE",
    help="Take [tool.bnlint] from this file; set a key.",
)
@flag("--no-cache", "Neither look up what earlier runs found out nor keep it.")
@click.option("--cache-dir", type=click.Path(file_okay=False), metavar="DIR", help="Where that is kept.")
@click.option("--isolated", is_flag=True, help="Take no settings from files.")
@flag("-v --verbose", "Say which settings and how many files were used.")
@flag("-q --quiet", "Show findings and errors only.")
@terminal.color_option
@click.pass_context
def lint(ctx: click.Context, /, paths: tuple[str, ...], **options: Any) -> None:
    """Lint files and folders (the current folder, if none is named). This is the default command.

    `-` is standard input. Exit status: 0 if nothing at --fail-on or above was found, 1 if something
    was, 2 for wrong use or a fault of bnlint itself.
    """
    from bnlint import config

    try:
        paths, contents = _input(paths, options["stdin_filename"])
        settings = config.load(paths, _given(options), config=options["config"], isolated=options["isolated"])
        if settings.verbose and settings.quiet:
            raise click.UsageError("--verbose and --quiet: one of them")
        explain(f"settings: {settings.file or 'defaults'}", settings)
        if settings.statistics and settings.output_format not in COUNTED:
            raise click.UsageError(
                f"--statistics: not as {settings.output_format}, but as {', '.join(COUNTED)}"
            )
        if options["write_baseline"]:
            ctx.exit(_write_baseline(paths, settings, contents))
        outcome = _run(paths, settings, contents)
    except config.ConfigError as problem:
        raise Refused(str(problem)) from None
    tell(outcome, settings)
    show(outcome, settings, options["color"])
    ctx.exit(status(outcome, settings))


def _input(paths: Sequence[str], name: str | None) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """The paths to lint, and what standard input holds if it is among them."""
    if "-" not in paths:
        if name is not None:
            raise click.UsageError("--stdin-filename is the name of standard input: pass `-` as a path")
        return tuple(paths) or (".",), {}
    name = name or "-"
    known = tuple(name if path == "-" else path for path in paths)
    if sys.stdin is None:
        raise click.UsageError("standard input is closed")
    return known, {os.path.abspath(name): sys.stdin.buffer.read()}


def _given(options: Mapping[str, Any]) -> dict[str, object]:
    """What the command line sets, as `[tool.bnlint]` would."""
    given: dict[str, object] = {
        key: [word for some in options[key] for word in some] for key in LISTS if options[key]
    }
    if given.get("select") == []:
        raise click.UsageError("--select: names no rule")
    given |= {key: options[key] for key in SINGLE if options[key] is not None}
    if options["per_file_ignores"]:
        given["per_file_ignores"] = _pairs([word for some in options["per_file_ignores"] for word in some])
    return {key.replace("_", "-"): value for key, value in given.items()}


def _pairs(given: Sequence[str]) -> dict[str, list[str]]:
    """`PATTERN:RULE,RULE`, as ruff takes it: a word without a colon belongs to the last pattern."""
    pairs: dict[str, list[str]] = {}
    pattern = ""
    for word in given:
        before, colon, selector = word.rpartition(":")
        if not (colon and before and selector) and not pattern:
            raise click.UsageError(f'--per-file-ignores: expected PATTERN:RULES, got "{word}"')
        pattern = before or pattern
        pairs.setdefault(pattern, []).append(selector)
    return pairs


def _run(paths: Sequence[str], settings: Settings, contents: Mapping[str, bytes]) -> Outcome:
    """Lint, with a bar where somebody waits."""
    from bnlint.pipeline import run
    from bnlint.progress import Bar, wanted

    if not wanted(quiet=settings.quiet):
        return run(paths, settings, contents)
    bar = Bar()
    try:
        return run(paths, settings, contents, bar)
    finally:
        bar.close()


def _write_baseline(paths: Sequence[str], settings: Settings, contents: Mapping[str, bytes]) -> int:
    """Write down what is there today."""
    from bnlint import baseline
    from bnlint.pipeline import scope

    file = settings.baseline
    if file is None:
        raise click.UsageError("--write-baseline: where to? Name the file with --baseline FILE")
    outcome = _run(paths, replace(settings, baseline=None), contents)
    tell(outcome, settings)
    if outcome.internal:
        return WRONG  # what is not known must not be written down as all that there is
    written = baseline.write(file, outcome.findings, outcome.sources.lines, scope(paths), settings.looks_for)
    if not settings.quiet:
        say(f"{file}: {written}")
    return WRONG if outcome.wrong else 0
