"""`bnlint config` shows the settings that are in force, and where each comes from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from bnlint.cli import Refused
from bnlint.cli.terminal import color_option, colors, paint, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnlint.config.layer import Layer


def _keys(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The settings that begin so."""
    from bnlint.config import KEYS

    return [key for key in KEYS if key.startswith(incomplete)]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("--config", multiple=True, metavar="FILE|KEY=VALUE", help="As for `bnlint lint`.")
@click.option("--isolated", is_flag=True, help="Take no settings from files.")
@click.option("--explain", metavar="KEY", shell_complete=_keys, help="Say what a setting is.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of [tool.bnlint], for editors.")
@click.option("--output-format", type=click.Choice(["full", "json"]), default="full", show_default=True)
@color_option
def config(paths: tuple[str, ...], output_format: str, color: bool | None, **options: Any) -> None:  # noqa: FBT001
    """Show the settings for a run on these paths, and where each of them comes from.

    What is shown is valid in pyproject.toml.
    """
    from bnlint.cli.toml import table
    from bnlint.config import ConfigError
    from bnlint.config.layers import layers

    try:
        if options["schema"]:
            text = _schema()
        elif options["explain"] is not None:
            text = _explanation(options["explain"])
        else:
            _check(paths)
            found = layers(paths, {}, config=options["config"], isolated=options["isolated"])
            text = _as_json(found) if output_format == "json" else table(found, width())
    except ConfigError as problem:
        raise Refused(str(problem)) from None
    click.echo(text, color=colors(color))


def _check(paths: Sequence[str]) -> None:
    """Refuse what does not exist: it may be a key, or misspelt."""
    from bnlint.source.discover import nearest_path

    for path in paths:
        if not os.path.exists(path):
            near = nearest_path(path)
            hint = f', the nearest is "{near}"' if near else "; --explain KEY is about one setting"
            raise click.UsageError(f"{path}: no such file or folder{hint}")


def _schema() -> str:
    import json

    from bnlint.config.schema import schema

    return json.dumps(schema(), indent=2)


def _explanation(name: str) -> str:
    """What a setting is, how it is written, and what it is where nobody sets it."""
    from bnlint.cli.toml import entry
    from bnlint.config.errors import ConfigError
    from bnlint.config.keys import KEYS, unknown

    if name not in KEYS:
        raise ConfigError(f"--explain: {unknown(name)}")
    key = KEYS[name]
    said = [paint(name, "code"), key.meaning, f"It is {key.kind.wanted}.", ""]
    values = {"default": key.default, "example": key.example}
    lines = (entry(name, value, what, width()) for what, value in values.items() if value is not None)
    return "\n".join([*said, *lines])


def _as_json(layers: Sequence[Layer]) -> str:
    """The same for programs: each setting by its key, with where it comes from."""
    import json

    from bnlint.config.in_force import in_force
    from bnlint.config.merge import merge

    settings = merge(layers)
    found: dict[str, Any] = {"per-file-ignores": {}}
    for one in in_force(layers):
        key, *pattern = one.path
        place, last = (found[key], pattern[0]) if pattern else (found, key)
        place[last] = {"value": one.value, "origins": list(one.origins)}
    file = str(settings.file) if settings.file else None
    return json.dumps({"file": file, "rules": sorted(settings.codes), "settings": found}, indent=2)
