"""Layers of settings -> the settings of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bnlint.config.keys import KEYS, read
from bnlint.config.layers import layers
from bnlint.config.selectors import selection
from bnlint.config.settings import Settings
from bnlint.source.discover import EXCLUDE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bnlint.config.layer import Layer

COMBINED = ("select", "ignore", "extend-select", "per-file-ignores", "exclude", "extend-exclude")
"""Keys of which a later layer does not just replace the earlier one's."""


def load(
    paths: Sequence[str | os.PathLike[str]],
    given: Mapping[str, object],
    *,
    config: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    isolated: bool = False,
) -> Settings:
    """The settings for a run on `paths`: what is `given` (the command line) goes before the file.

    `config` names the file, or sets keys (`KEY = VALUE`, in TOML) between the two; it may hold several
    of them. Where it names no file, the nearest `pyproject.toml` upwards from the first path that has
    a table `[tool.bnlint]` is taken; none at all with `isolated`. Raises `ConfigError`.
    """
    return merge(layers(paths, given, config=config, isolated=isolated))


def here(select: Sequence[str] | None, ignore: Sequence[str] | None) -> Settings:
    """The settings for the folder in which this runs, but for rules that are asked for.

    Raises `ConfigError` for what names no rule, and for settings that are wrong.
    """
    given: dict[str, object] = {"select": select, "ignore": ignore}
    return load((os.getcwd(),), {key: words for key, words in given.items() if words is not None})


def merge(found: Sequence[Layer]) -> Settings:
    """The settings of layers. Each is read, so that a wrong value is found also where it is overridden."""
    values = [read(layer) for layer in found]
    last = {key: value for layer in values for key, value in layer.items() if key not in COMBINED}
    codes, muted = selection(values)
    return Settings(
        codes=codes,
        muted=muted,
        per_file_ignores=tuple(per_file_ignores(values).items()),
        exclude=_exclude(values),
        thresholds={KEYS[key].rule: value for key, value in last.items() if KEYS[key].rule},
        file=next((layer.document.file for layer in found if layer.document), None),
        **{KEYS[key].field: value for key, value in last.items() if not KEYS[key].rule},
    )


def per_file_ignores(values: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """What each layer ignores in which files; they add up."""
    found: dict[str, tuple[str, ...]] = {}
    for layer in values:
        for pattern, selectors in layer.get("per-file-ignores", {}).items():
            found[pattern] = found.get(pattern, ()) + selectors
    return found


def _exclude(values: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """As in ruff, `exclude` replaces what is excluded by default and `extend-exclude` adds to it."""
    patterns: tuple[str, ...] = EXCLUDE
    for layer in values:
        patterns = layer.get("exclude", patterns) + layer.get("extend-exclude", ())
    return patterns
