"""Settings as TOML on a terminal: aligned, coloured, and valid where they are pasted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bnlint.cli.terminal import paint
from bnlint.config.errors import spelled
from bnlint.config.files import TABLE
from bnlint.config.in_force import in_force
from bnlint.config.merge import merge
from bnlint.rule import all_rules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from bnlint.config.in_force import InForce
    from bnlint.config.layer import Layer

COLUMN = 38
"""Where comments stand, beside all but long values."""
INDENT = "  "


def table(layers: Sequence[Layer], width: int) -> str:
    """All that is in force, with where it comes from as comments."""
    settings = merge(layers)
    found = list(in_force(layers))
    head = [str(settings.file or f"no file with {TABLE}"), _rules(settings.codes)]
    lines = [line for text in head for line in filled(text.split(), width, "# ", " ")]
    lines = [paint(line, "line") for line in lines] + [paint(TABLE, "path")]
    lines += [_line(one, width) for one in found if not one.path[1:]]
    if patterns := [one for one in found if one.path[1:]]:
        lines += ["", paint(f"{TABLE[:-1]}.{patterns[0].path[0]}]", "path")]
        lines += [_line(one, width) for one in patterns]
    return "\n".join(lines)


def entry(key: str, value: Any, comment: str, width: int, *, plain: bool = True) -> str:
    """A key and its value; a list that is too long for a line has lines of its own."""
    comment = "# " + "".join(one if one.isprintable() else " " for one in comment)
    name, comment = (key, paint(comment, "line")) if plain else (paint(key, "code"), comment)
    text = f"{key} = {spelled(value)}"
    start, rest = text, ""
    if isinstance(value, (list, tuple)) and len(text) > width - 30:
        start = f"{key} = ["
        rest = "\n".join(["", *filled([f"{spelled(one)}," for one in value], width, INDENT, " "), "]"])
    return f"{start.replace(key, name, 1)}{' ' * max(2, COLUMN - len(start))}{comment}{rest}"


def filled(words: Iterable[str], width: int, indent: str, gap: str) -> list[str]:
    """Words in lines; unlike `textwrap`, a word may hold spaces."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(gap) + len(word) <= width:
            lines[-1] += gap + word
        else:
            lines.append(indent + word)
    return lines


def _line(one: InForce, width: int) -> str:
    """A setting; what has no value cannot be written in TOML."""
    key = spelled(one.path[1]) if one.path[1:] else one.path[0]
    if one.value is None:
        return paint(f"# {key} is not set", "line")
    return entry(key, one.value, ", ".join(one.origins), width, plain=one.is_default)


def _rules(codes: Collection[str]) -> str:
    """Which rules are on, by the shorter list."""
    off = sorted({one.code for one in all_rules()} - set(codes))
    if not off:
        return f"all {len(codes)} rules are on"
    if len(off) <= len(codes):
        return f"{len(codes)} rules are on, all but {' '.join(off)}"
    return f"{len(codes)} of {len(codes) + len(off)} rules are on: {' '.join(sorted(codes))}"
