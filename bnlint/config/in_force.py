"""What is in force, spelled as in `[tool.bnlint]`, and where it comes from.

Loading what is shown here gives the same settings: it can be pasted into a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bnlint.config.keys import KEYS, read
from bnlint.config.layer import literal
from bnlint.config.merge import per_file_ignores
from bnlint.config.selectors import selection
from bnlint.rule import all_rules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bnlint.config.layer import Layer

DEFAULT = "default"


class InForce(NamedTuple):
    """A setting: its value (None where nothing is set), and where that comes from."""

    path: tuple[str, ...]
    value: Any
    origins: tuple[str, ...] = (DEFAULT,)

    @property
    def is_default(self) -> bool:
        """Did nobody set it?"""
        return self.origins == (DEFAULT,)


def in_force(layers: Sequence[Layer]) -> Iterator[InForce]:
    """Every setting, in the order of `KEYS`; `per-file-ignores` is one for each pattern."""
    known = {one.path: one for one in (*_selection(layers), *_exclude(layers))}
    for key in KEYS:
        if key == "per-file-ignores":
            yield from _per_file_ignores(layers)
        else:
            yield known.get((key,)) or _last(layers, key)


def base(layers: Sequence[Layer]) -> Path:
    """The folder that what is shown is relative to: that of the file, or the current one."""
    return next((layer.base for layer in layers if layer.document), Path.cwd())


def _last(layers: Sequence[Layer], key: str) -> InForce:
    """A key of which the last layer counts."""
    value, origins = KEYS[key].default, (DEFAULT,)
    for layer in layers:
        if key in layer.values:
            value, origins = read(layer)[key], (layer.source((key,)),)
    if isinstance(value, Path):
        path, folder = value.absolute(), base(layers)
        value = str(path.relative_to(folder) if path.is_relative_to(folder) else path)
    return InForce((key,), value, origins)


def _selection(layers: Sequence[Layer]) -> Iterator[InForce]:
    """`select` and its like as they were written, or, if in several layers, what they come to."""
    keys = ("select", "ignore", "extend-select")
    wrote = [layer for layer in layers if any(key in layer.values for key in keys)]
    if len(wrote) <= 1:
        yield from (_last(layers, key) for key in keys)
        return
    selected, ignored = shortest(*selection([read(layer) for layer in wrote]))
    selecting = ("select", "extend-select") if ignored else keys
    yield InForce(("select",), selected, _wrote(wrote, selecting))
    yield InForce(("ignore",), ignored, _wrote(wrote, keys) if ignored else (DEFAULT,))
    yield InForce(("extend-select",), [])


def _wrote(layers: Sequence[Layer], keys: Sequence[str]) -> tuple[str, ...]:
    """Where any of some keys was written, each place once."""
    return tuple(dict.fromkeys(one for key in keys for one in _origins(layers, key))) or (DEFAULT,)


def shortest(codes: Collection[str], muted: Collection[str]) -> tuple[list[str], list[str]]:
    """The fewest words for `select` and `ignore` that turn on just these rules."""
    off = {one.code for one in all_rules()} - set(codes)
    some, others = _cover(codes), _cover(off)
    muted = sorted(muted)
    return (some, muted) if len(some) <= 1 + len(others) else (["ALL"], others + muted)


def _cover(codes: Collection[str]) -> list[str]:
    """Some codes, where possible by their beginnings."""
    every, left, found = {one.code for one in all_rules()}, set(codes), list[str]()
    if every == left:
        return ["ALL"]
    for length in range(3, 6):
        for start in sorted({code[:length] for code in left}):
            group = {code for code in every if code.startswith(start)}
            if group <= left and (len(group) > 1 or length == 5):
                found.append(start)
                left -= group
    return sorted(found)


def _exclude(layers: Sequence[Layer]) -> Iterator[InForce]:
    """`exclude` as the last layer that has it says, and what that and later ones add."""
    first = max((i for i, layer in enumerate(layers) if "exclude" in layer.values), default=0)
    shown = _last(layers, "exclude")
    yield shown._replace(value=[_relative(layers, word) for word in shown.value])
    more = [word for layer in layers[first:] for word in read(layer).get("extend-exclude", ())]
    origins = _origins(layers[first:], "extend-exclude") or (DEFAULT,)
    yield InForce(("extend-exclude",), [_relative(layers, word) for word in more], origins)


def _per_file_ignores(layers: Sequence[Layer]) -> Iterator[InForce]:
    """One for each pattern; its rules may come from several layers."""
    key = "per-file-ignores"
    for pattern, selectors in per_file_ignores(read(layer) for layer in layers).items():
        wrote = [
            layer.source((key, word))
            for layer in layers
            for word in layer.values.get(key, {})
            if layer.pattern(word) == pattern
        ]
        yield InForce((key, _relative(layers, pattern)), list(selectors), tuple(wrote))


def _relative(layers: Sequence[Layer], pattern: str) -> str:
    """A pattern as it would be written into the file."""
    rest = pattern.removeprefix(literal(base(layers)))
    return rest if "/" in rest else pattern  # without a slash it would mean a name anywhere


def _origins(layers: Sequence[Layer], key: str) -> tuple[str, ...]:
    return tuple(layer.source((key,)) for layer in layers if key in layer.values)
