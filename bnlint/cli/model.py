"""`bnlint model PKG.MOD:FACTORY` runs a live model on some batches, and says what is wrong with it."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING, Any

import click

from bnlint.cli import Refused, save, say, terminal
from bnlint.cli.reporting import require_format, require_severity, show, status
from bnlint.cli.words import OneOf, Selectors, formats, severities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bnlint.report import Report


@click.command()
@click.argument("name", metavar="PKG.MOD:FACTORY")
@click.option("--loader", metavar="PKG.MOD:FACTORY", help="What gives the batches.")
@click.option(
    "--stage",
    type=click.Choice(["train", "eval"]),
    default="train",
    show_default=True,
    help="What the model is about to do.",
)
@click.option(
    "--max-batches", type=click.IntRange(1), default=8, show_default=True, help="How many batches to run."
)
@click.option("--select", multiple=True, type=Selectors(), metavar="RULES", help="Only these rules.")
@click.option("--ignore", multiple=True, type=Selectors(), metavar="RULES", help="Not these rules.")
@click.option(
    "--output-format", type=OneOf(formats), default="table", show_default=True, help="How findings are shown."
)
@click.option("--output-file", type=click.Path(dir_okay=False), metavar="FILE", help="Write them there.")
@click.option(
    "--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write a page with pictures as well."
)
@click.option(
    "--fail-on", type=OneOf(severities), default="warning", show_default=True, help="Exit 1 from here on."
)
@click.option("--exit-zero", is_flag=True, help="Exit 0 also where something was found.")
@terminal.color_option
@click.pass_context
def model(ctx: click.Context, /, name: str, **options: Any) -> None:
    """Run a model on a few batches, and say what is wrong with its BatchNorm.

    PKG.MOD is imported as Python does from the current folder. FACTORY is a model, or a class or function
    that makes one without arguments; a function may return the model and its loader, else --loader names
    what gives the batches, in the same way. The model is left as it was. What the code prints goes to
    standard error. Exit status: 0 if nothing at --fail-on or above was found, 1 if something was, 2 if
    the model could not be run.
    """
    require_format(options["output_format"])
    require_severity(options["fail_on"])
    found = _checked(name, options)
    show(found, options["output_format"], options["output_file"], options["color"])
    if not (found.checked or found.findings or found.skipped):
        say("nothing was checked")
    if options["html"]:
        save(options["html"], found.to_html().encode("utf-8", "replace"))
        say(f"wrote {options['html']}")
    ctx.exit(status(found, options["fail_on"], exit_zero=options["exit_zero"]))


def _checked(name: str, options: dict[str, Any]) -> Report:
    """Make the model and the loader, and check them."""
    from bnlint import checking
    from bnlint.cli.imported import imported
    from bnlint.progress import shown

    words = {key: [word for some in options[key] for word in some] or None for key in ("select", "ignore")}
    with contextlib.redirect_stdout(sys.stderr):
        _need_torch()
        made, loader = _model_and_loader(name, options["loader"])
        with _blamed(f"{name}: the check was stopped"), contextlib.closing(shown()) as bar:
            return checking.report(
                made,
                loader,
                stage=options["stage"],
                max_batches=options["max_batches"],
                select=words["select"],
                ignore=words["ignore"],
                progress=bar,
                factories=(imported(name), imported(options["loader"] or name)),
            )


def _need_torch() -> None:
    try:
        importlib.import_module("torch")
    except ImportError:
        raise Refused('bnlint model needs torch: pip install "bnlint[torch]"') from None


def _model_and_loader(name: str, loader_name: str | None) -> tuple[Any, Any]:
    """The model, and what gives its batches."""
    found = _made(name)
    pair = found if isinstance(found, (tuple, list)) and len(found) == 2 else (found, None)
    if not _is_model(pair[0]):
        raise Refused(f"{name}: is no model (torch.nn.Module), but of type {type(pair[0]).__name__}")
    if loader_name is not None:
        return pair[0], _made(loader_name)
    if pair is not found:
        raise Refused(f"{name}: no batches; name what gives them with --loader, or return (model, loader)")
    return pair[0], pair[1]


def _made(name: str) -> Any:
    """What a name leads to; a class or a function is called."""
    from bnlint.cli.imported import imported

    found = imported(name)
    if (
        _is_model(found)
        or not callable(found)
        or (hasattr(found, "__iter__") and not isinstance(found, type))
    ):
        return found
    if lacking := _lacking(found):
        needed = ", ".join(lacking)
        raise Refused(f"{name}: cannot be called without {needed}; name a function that takes no arguments")
    with _blamed(f"{name}: could not be called"):
        return found()


def _lacking(factory: Any) -> list[str]:
    """The arguments that a class or a function cannot do without."""
    import inspect

    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some of those that are written in C do not tell
        return []
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in free]


def _is_model(thing: Any) -> bool:
    """Is it a model? The command line itself imports no torch."""
    bases = type(thing).__mro__
    return any((base.__module__, base.__name__) == ("torch.nn.modules.module", "Module") for base in bases)


@contextlib.contextmanager
def _blamed(doing: str) -> Iterator[None]:
    """Show what the user's code raises as Python does, without our own frames; say what bnlint refuses."""
    try:
        yield
    except (Exception, SystemExit) as problem:
        from bnlint.cli.traces import is_ours, trace

        if isinstance(problem, click.ClickException):
            raise
        if is_ours(problem):
            raise Refused(str(problem)) from None
        lines: Sequence[str] = trace(problem)
        click.echo("".join(lines), err=True, nl=False)
        raise Refused(f"{doing}: {type(problem).__name__}: {problem}".rstrip(": ")) from None
