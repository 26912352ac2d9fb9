"""Where settings come from: the file, each `--config KEY=VALUE`, the command line; one layer each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bnlint.config.errors import ConfigError
from bnlint.config.files import named_document, nearest_document, parse
from bnlint.config.keys import KEYS
from bnlint.config.layer import Layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def layers(
    paths: Sequence[str | os.PathLike[str]],
    given: Mapping[str, object],
    *,
    config: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    isolated: bool = False,
) -> list[Layer]:
    """The layers of a run, the first of which counts least; see `load`."""
    words = [config] if isinstance(config, (str, os.PathLike)) else list(config or ())
    inline = [word for word in words if isinstance(word, str) and "=" in word and not os.path.isfile(word)]
    files = [Path(word) for word in words if word not in inline]
    if files and isolated:
        raise ConfigError(f"--config {files[0]}: --isolated takes no settings from files")
    if len(files) > 1:
        raise ConfigError(
            f"--config {files[1]}: {files[0]} was taken already, and there can be one file only"
        )
    document = named_document(files[0]) if files else None if isolated else nearest_document(paths)
    found = [Layer(document.table, document=document)] if document else []
    found += map(_inline, inline)
    values = {key: value for key, value in given.items() if value is not None}
    return [*found, Layer(values, "setting", "command line")]


def _inline(text: str) -> Layer:
    """The layer of one `--config KEY=VALUE`."""
    quote = "'" if '"' in text else '"'
    name = f"--config {quote}{text}{quote}"
    try:
        return Layer(parse(text), f"{name}:", name)
    except ValueError as problem:
        raise ConfigError(f"{name}: not valid TOML: {problem}{_hint(text)}") from None


def _hint(text: str) -> str:
    """What was meant, where quotes or brackets were forgotten, or eaten by the shell."""
    name, _, value = (part.strip() for part in text.partition("="))
    kind = KEYS[name].kind.schema()["type"] if name in KEYS else ""
    words = ", ".join(f'"{word.strip()}"' for word in value.strip("[]").split(","))
    meant = {"string": f'"{value}"', "array": f"[{words}]", "boolean": value.lower()}.get(kind, "")
    try:
        parse(f"{name} = {meant}")
    except ValueError:
        return ""
    return f" (did you mean {name} = {meant}?)"
