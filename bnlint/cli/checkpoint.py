"""`bnlint checkpoint FILE...` looks at BatchNorm's statistics in files, and executes nothing of them."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from bnlint.cli import WRONG, Refused, say, terminal
from bnlint.cli.reporting import require_format, require_severity, show, status
from bnlint.cli.words import OneOf, Selectors, formats, severities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.config import Settings
    from bnlint.report import Report


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(readable=False), metavar="FILE...")
@click.option("--model", metavar="PKG.MOD:FACTORY", help="What the files are to be loaded into.")
@click.option("--select", multiple=True, type=Selectors(), metavar="RULES", help="Only these rules.")
@click.option("--ignore", multiple=True, type=Selectors(), metavar="RULES", help="Not these rules.")
@click.option(
    "--output-format", type=OneOf(formats), default="table", show_default=True, help="How findings are shown."
)
@click.option("--output-file", type=click.Path(dir_okay=False), metavar="FILE", help="Write them there.")
@click.option(
    "--fail-on", type=OneOf(severities), default="warning", show_default=True, help="Exit 1 from here on."
)
@click.option("--exit-zero", is_flag=True, help="Exit 0 also where something was found.")
@terminal.color_option
@click.pass_context
def checkpoint(ctx: click.Context, /, paths: tuple[str, ...], model: str | None, **options: Any) -> None:
    """Look at BatchNorm's statistics in checkpoints, without executing anything of them.

    FILE is what `torch.save` wrote (.pt, .pth, .ckpt, .bin), a .safetensors file, the .index.json of a
    checkpoint in several files, or a folder, which is searched for those. Only --model runs code: PKG.MOD is
    imported from the current folder, and FACTORY is a model, or is called without arguments to make one;
    the files are then compared with it. Exit status: 0 if nothing at --fail-on or above was found, 1 if
    something was, 2 if a file could not be read.
    """
    require_format(options["output_format"])
    require_severity(options["fail_on"])
    found, unreadable = _found(paths, model, options)
    for line in unreadable:
        say(line)
    if not (found.checked or found.skipped or unreadable):
        say("no checkpoints found")
    show(found, options["output_format"], options["output_file"], options["color"])
    outcome = status(found, options["fail_on"], exit_zero=options["exit_zero"])
    ctx.exit(WRONG if unreadable else outcome)


def _found(
    paths: Sequence[str], model: str | None, options: dict[str, Any]
) -> tuple[Report, tuple[str, ...]]:
    """Judge the files, with a bar where somebody waits."""
    from bnlint.checkpoints import of_files
    from bnlint.progress import shown

    settings = _settings(options["select"], options["ignore"])
    made = None if model is None else _made(model)
    with contextlib.closing(shown()) as bar:
        return of_files(paths, made, settings, bar)


def _settings(select: Sequence[Sequence[str]], ignore: Sequence[Sequence[str]]) -> Settings:
    """The settings of this folder, but for the rules that were asked for."""
    from bnlint import config

    words = [[word for some in lists for word in some] or None for lists in (select, ignore)]
    try:
        return config.here(*words)
    except config.ConfigError as problem:
        raise Refused(str(problem)) from None


def _made(name: str) -> Any:
    """The model that a name leads to, or that what it leads to makes; what it prints goes to stderr."""
    from bnlint.cli.imported import imported

    with contextlib.redirect_stdout(sys.stderr):
        made = imported(name)
        if isinstance(made, type) or not hasattr(made, "named_modules"):
            try:
                made = made()
            except (Exception, SystemExit) as problem:
                raise Refused(f"{name}: cannot be called: {type(problem).__name__}: {problem}") from problem
    if not hasattr(made, "named_modules"):
        raise Refused(f"{name}: gives no model (torch.nn.Module), but one of type {type(made).__name__}")
    return made
