"""The command line. Only click is imported with it: all else waits until a command needs it."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from bnlint import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bnlint.config import Settings
    from bnlint.pipeline import Outcome
    from bnlint.rule import Rule

if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # which older versions of click do not let anybody subscribe

FINDINGS, WRONG = 1, 2
"""Exit statuses; 0 where nothing at `--fail-on` or above was found."""

WIDTH = 100
"""Columns where the output is no terminal."""

_STYLES: dict[str, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "info": {"fg": "cyan", "bold": True},
    "path": {"bold": True},
    "code": {"bold": True},
    "line": {"fg": "bright_black"},
    "step": {"fg": "blue"},
    "help": {"fg": "green"},
    "good": {"fg": "green", "bold": True},
}


class DefaultGroup(click.Group):
    """A group in which `lint` is the command where none is named: `bnlint PATH` lints."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command's name before the arguments that are not the group's own."""
        args = args or ["--help"]
        own = {name for param in self.get_params(ctx) for name in param.opts}
        if args[0] not in self.commands and args[0] not in own:
            args.insert(0, "lint")
        return super().parse_args(ctx, args)


class Words(_Type):
    """Words separated by commas."""

    name = "words"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:  # noqa: ARG002
        """Split them."""
        return [word.strip() for word in value.split(",") if word.strip()]


class Formats(_Type):
    """The name of an output format; which there are is looked up when the help is shown."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """Every format, as ruff's help shows them."""
        from bnlint.report import formats

        return "|".join(formats())


def words(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    """An option that takes words and may be repeated."""
    return click.option(name, multiple=True, type=Words(), metavar=metavar, help=text)


@click.group(
    cls=DefaultGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`bnlint PATH...` is the same as `bnlint lint PATH...`.",
)
@click.version_option(__version__, "-V", "--version", prog_name="bnlint", message="%(prog)s %(version)s")
def app() -> None:
    """Find the ways a PyTorch project can misuse Batch Normalization."""


@app.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@words("--select", "RULES", "Only these rules: codes, their beginnings (BN2), names, or ALL.")
@words("--ignore", "RULES", "Not these rules.")
@words("--extend-select", "RULES", "These rules besides those that are selected.")
@words("--per-file-ignores", "PATTERN:RULES", "Not these rules in files that match.")
@words("--exclude", "PATTERNS", "Files and folders to pass over, in place of the default ones.")
@words("--extend-exclude", "PATTERNS", "Files and folders to pass over, besides the default ones.")
@click.option("--output-format", type=Formats(), help="How findings are shown.  [default: full]")
@click.option("--output-file", type=click.Path(dir_okay=False), metavar="FILE", help="Write them there.")
@click.option("--fail-on", metavar="info|warning|error", help="Exit 1 from here on.  [default: warning]")
@click.option("--exit-zero", is_flag=True, help="Exit 0 also where something was found.")
@click.option("--statistics", is_flag=True, help="Show how often each rule spoke, and nothing else.")
@click.option("--config", type=click.Path(), metavar="FILE", help="Take [tool.bnlint] from this file.")
@click.option("--isolated", is_flag=True, help="Take no settings from files.")
@click.option("-v", "--verbose", is_flag=True, help="Say which settings and how many files were used.")
@click.option("-q", "--quiet", is_flag=True, help="Show findings and errors only.")
@click.option("--color/--no-color", default=None, help="Colours.  [default: on a terminal]")
@click.pass_context
def lint(ctx: click.Context, /, paths: tuple[str, ...], **options: Any) -> None:
    """Lint files and folders (the current folder, if none is named). This is the default command.

    Exit status: 0 if nothing at --fail-on or above was found, 1 if something was, 2 for wrong use
    or a fault of bnlint itself.
    """
    from bnlint import config
    from bnlint.pipeline import run

    paths = paths or (".",)
    try:
        settings = config.load(paths, _given(options), config=options["config"], isolated=options["isolated"])
        _explain(f"settings: {settings.file or 'defaults'}", options)
        outcome = run(paths, settings)
    except config.ConfigError as problem:
        raise click.UsageError(str(problem)) from None
    _tell(outcome, options)
    _show(outcome, settings, options)
    ctx.exit(_status(outcome, settings, exit_zero=options["exit_zero"]))


@app.command()
@click.option("--output-format", type=click.Choice(["full", "json"]), default="full", show_default=True)
@click.option("--color/--no-color", default=None, help="Colours.  [default: on a terminal]")
def rules(output_format: str, color: bool | None) -> None:  # noqa: FBT001  click passes it by name
    """List all rules."""
    from bnlint.rule import all_rules

    if output_format == "json":
        import json

        keys = ("code", "name", "severity", "engines", "summary")
        text = json.dumps([{key: getattr(one, key) for key in keys} for one in all_rules()], indent=2)
    else:
        text = _table(all_rules(), _width())
    click.echo(text, color=_colors(color))


@app.command()
@click.argument("name", metavar="CODE|NAME")
@click.option("--color/--no-color", default=None, help="Colours.  [default: on a terminal]")
def rule(name: str, color: bool | None) -> None:  # noqa: FBT001  click passes it by name
    """Explain a rule: what it finds, why it is wrong, how to fix it."""
    from bnlint.config import FAULT, FAULT_NAMES, nearest
    from bnlint.pipeline import ABOUT_FAULTS
    from bnlint.rule import all_rules

    known = {key: one for one in all_rules() for key in (one.code, one.name)}
    key = name.strip().upper() if name.strip().upper() in {*known, FAULT} else name.strip().lower()
    if key in (FAULT, *FAULT_NAMES):
        text = f"{click.style(FAULT, bold=True)} [{_paint('error', 'error')}]\n\n{ABOUT_FAULTS.rstrip()}"
    elif key in known:
        text = _documentation(known[key])
    else:
        near = nearest(name, [*known, FAULT])
        raise click.UsageError(f'unknown rule "{name}", the nearest is "{near}"')
    click.echo(text, color=_colors(color))


def main() -> None:
    """Run, and exit 2 on a fault: Python's own status for it, 1, would say that something was found."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what the terminal cannot show must not stop the report
            stream.reconfigure(errors="backslashreplace")
    gc.disable()  # a run ends before garbage could matter, and looking for it would take a tenth of it
    try:
        app(prog_name="bnlint")
    except SystemExit as end:
        _leave(end.code)
    except Exception:
        import traceback

        traceback.print_exc()
        click.echo("bnlint: internal fault, please report the lines above", err=True)
        _leave(WRONG)


def _leave(status: object) -> None:
    """End the process at once: taking down what the engine has built would be a sixth of the run."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = status or WRONG  # what was not written was not said
    if status is not None and not isinstance(status, int):
        sys.exit(str(status))
    os._exit(status or 0)


def _given(options: Mapping[str, Any]) -> dict[str, object]:
    """What the command line sets, as `[tool.bnlint]` would."""
    lists = ("select", "ignore", "extend_select", "exclude", "extend_exclude")
    given: dict[str, object] = {
        key.replace("_", "-"): [word for chunk in options[key] for word in chunk]
        for key in lists
        if options[key]
    }
    for key in ("output_format", "fail_on"):
        if options[key] is not None:
            given[key.replace("_", "-")] = options[key]
    if options["per_file_ignores"]:
        given["per-file-ignores"] = _pairs([word for chunk in options["per_file_ignores"] for word in chunk])
    return given


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


def _tell(outcome: Outcome, options: Mapping[str, Any]) -> None:
    """What goes to stderr: wrong paths always, notes unless they are not wanted."""
    for path, reason in outcome.wrong.items():
        near = _meant_command(path) if reason.startswith("no such") else ""
        click.echo(f"bnlint: {path}: {reason}{near}", err=True)
    if outcome.internal:
        click.echo("bnlint: internal fault, see BN000; please report it", err=True)
    if not options["quiet"]:
        for note in outcome.notes:
            click.echo(f"bnlint: {note}", err=True)
        if not outcome.checked and not outcome.wrong:
            click.echo("bnlint: no Python files found", err=True)
    _explain(f"checked {outcome.checked} files", options)


def _explain(line: str, options: Mapping[str, Any]) -> None:
    if options["verbose"]:
        click.echo(f"bnlint: {line}", err=True)


def _meant_command(path: str) -> str:
    """A misspelt command looks like a path."""
    from difflib import get_close_matches

    near = get_close_matches(path, app.commands, n=1)
    return f' (did you mean the command "{near[0]}"?)' if near else ""


def _show(outcome: Outcome, settings: Settings, options: Mapping[str, Any]) -> None:
    """Write the findings to where they were asked for."""
    target = options["output_file"]
    text = _rendered(outcome, settings, options, WIDTH if target else _width())
    if target is None:
        click.echo(text, nl=False, color=_colors(options["color"]))
        return
    try:
        _write(target, text if options["color"] else click.unstyle(text))
    except OSError as problem:
        raise click.UsageError(f"--output-file {target}: {problem.strerror}") from problem


def _rendered(outcome: Outcome, settings: Settings, options: Mapping[str, Any], width: int) -> str:
    """The findings in the format that was asked for."""
    from functools import cache

    from bnlint import report
    from bnlint.pipeline import source_lines
    from bnlint.report import _statistics

    form = report.load(settings.output_format)
    lines = cache(source_lines)
    view = report.View(lines=lambda where: lines(where.filename), paint=_paint, base=os.getcwd(), width=width)
    if options["statistics"]:
        as_json = settings.output_format == "json"
        text = (
            _statistics.as_json(outcome.findings) if as_json else _statistics.as_text(outcome.findings, view)
        )
    else:
        text = form.render(outcome.findings, view)
    closing = form.SUMMARY and not options["quiet"] and outcome.checked
    return text + (report.summary(outcome.findings, outcome.checked, view) if closing else "")


def _write(target: str, text: str) -> None:
    """Replace a file at once, so that nobody reads half of it; a device or a pipe is written to."""
    target = os.path.realpath(target)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
        return
    beside = f"{target}.{os.getpid()}.part"
    try:
        with open(beside, "x", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
        os.replace(beside, target)
    finally:
        if os.path.exists(beside):
            os.unlink(beside)


def _status(outcome: Outcome, settings: Settings, *, exit_zero: bool) -> int:
    """The exit status. `--exit-zero` is about findings: it hides no wrong use and no fault."""
    if outcome.internal or outcome.wrong:
        return WRONG
    failed = any(map(settings.fails, outcome.findings))
    return FINDINGS if failed and not exit_zero else 0


def _paint(text: str, style: str) -> str:
    return click.style(text, **_STYLES[style]) if text else text


def _colors(asked: bool | None) -> bool | None:  # noqa: FBT001
    """Whether to colour; None leaves it to click, which looks for a terminal."""
    if asked is not None:
        return asked
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def _width() -> int:
    """The columns of the terminal, or those that `COLUMNS` asks for; `shutil` would be slow to import."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return WIDTH


def _table(rules: Sequence[Rule], width: int) -> str:
    """A line for each rule; a summary that does not fit goes on below itself."""
    import textwrap

    column = max((len(one.name) for one in rules), default=0)
    lines = []
    for one in rules:
        severity = _paint(f"{one.severity:<7}", one.severity)
        start = f"{_paint(one.code, 'code')}  {one.name:<{column}}  {severity}  {one.engines:<4}  "
        indent = len(click.unstyle(start))
        body = textwrap.wrap(one.summary, max(width - indent, 30)) or [""]
        lines += [start + body[0], *(" " * indent + line for line in body[1:])]
    return "\n".join(lines)


def _documentation(one: Rule) -> str:
    """A rule's documentation below its code, name and severity; headings stand out."""
    from bnlint.rule import HEADINGS

    head = f"{_paint(one.code, 'code')} {one.name} [{_paint(one.severity, one.severity)}]"
    lines = []
    for line in one.doc.strip().splitlines():
        lines.append(click.style(line, bold=True) if line.strip() in HEADINGS else line)
    return "\n".join([head, "", *lines])
