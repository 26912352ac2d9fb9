"""The command line. Only click is imported with it: each command is loaded when it is asked for."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import click

from bnlint import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

FINDINGS, WRONG, INTERRUPTED = 1, 2, 130
"""Exit statuses; 0 where nothing at `--fail-on` or above was found."""

COMMANDS = {
    "lint": "lint",
    "rule": "explain",
    "rules": "explain",
    "config": "settings",
    "model": "model",
    "checkpoint": "checkpoint",
    "conforms": "conforms",
    "demo": "demo",
}
"""Each command and the module of this package that it is in."""


class Refused(click.ClickException):
    """What somebody wrote into a file is wrong: how the command is used does not help."""

    exit_code = WRONG


class Commands(click.Group):
    """A group in which `lint` is the command where none is named: `bnlint PATH` lints."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """What the help shows."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{COMMANDS[cmd_name]}")
        return cast("click.Command", getattr(module, cmd_name))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name before the arguments that are not the group's own."""
        args = args or ["--help"]
        own = {name for param in self.get_params(ctx) for name in param.opts}
        if args[0] not in COMMANDS and args[0] not in own:
            args.insert(0, "lint")
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options of the group, and all that `lint` takes: its name may be left out."""
        found = super().shell_complete(ctx, incomplete)
        lint = cast("click.Command", self.get_command(ctx, "lint"))
        with lint.make_context("lint", [], parent=ctx, resilient_parsing=True) as inner:
            known = {item.value for item in found}
            found += [item for item in lint.shell_complete(inner, incomplete) if item.value not in known]
        if not incomplete.startswith("-"):
            found += click.Path().shell_complete(ctx, self.params[0], incomplete)
        return found


def _show_version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:  # noqa: FBT001
    if asked:
        from bnlint.versions import versions

        click.echo(f"bnlint {__version__} ({versions()})")
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`bnlint PATH...` is the same as `bnlint lint PATH...`.",
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the versions of bnlint, Python and torch.",
)
def app() -> None:
    """Find the ways a PyTorch project can misuse Batch Normalization."""


def main() -> None:
    """Run, and exit 2 on a fault: Python's own status for it, 1, would say that something was found."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what the terminal cannot show must not stop the report
            stream.reconfigure(errors="backslashreplace")
    gc.disable()  # a run ends before garbage could matter, and looking for it would take a tenth of it
    _leave(_run())


def _run() -> object:
    """The exit status of a run, however it ends."""
    if sys.stdout is None:
        say("standard output is closed")
        return WRONG
    try:
        return app.main(prog_name="bnlint", standalone_mode=False)
    except SystemExit as end:  # completion ends so
        return end.code
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads has seen enough
        return FINDINGS
    except OSError as problem:
        say(f"cannot write: {problem.strerror}")
        return WRONG
    except Exception:
        import traceback

        traceback.print_exc()
        say("internal fault, please report the lines above")
        return WRONG


def say(line: str) -> None:
    """A line on standard error; nobody can be told that it cannot be written to."""
    with suppress(OSError, ValueError):
        click.echo(f"bnlint: {line}", err=True)


def save(target: str | os.PathLike[str], data: bytes) -> None:
    """Write a file that was asked for, or say why it cannot be."""
    from bnlint.writing import write

    try:
        write(target, data)
    except OSError as problem:
        raise Refused(f"{target}: cannot be written: {problem.strerror}") from problem


def _leave(status: object) -> None:
    """End the process at once: taking down what the engine has built would be a sixth of the run."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        pass
    except (OSError, ValueError) as problem:
        say(f"cannot write: {getattr(problem, 'strerror', None) or problem}")
        status = WRONG  # what was not written was not said
    os._exit(status if isinstance(status, int) else 0)
