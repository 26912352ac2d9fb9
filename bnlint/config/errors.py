"""How wrong settings are told: with what is nearest, and in the words of TOML."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ConfigError(Exception):
    """A setting that is wrong: where it stands, what is wrong with it, and what is nearest."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like a given one."""
    from difflib import SequenceMatcher  # only needed for what went wrong

    def likeness(candidate: str) -> float:
        pair = word.lower(), candidate.lower()
        same = next((i for i, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), min(map(len, pair)))
        # Codes differ in a few digits only, of which the first ones say most.
        return SequenceMatcher(None, *pair).ratio() + 0.1 * same

    return max(known, key=likeness)


def similar(word: str, known: Iterable[str]) -> str:
    """The known word that was surely meant; empty if there is none."""
    from difflib import get_close_matches  # only needed for what went wrong

    return next(iter(get_close_matches(word.lower(), list(known), n=1, cutoff=0.5)), "")


def spelled(value: object) -> str:
    """A value as TOML spells it, in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(spelled, value))}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{spelled(key)} = {spelled(one)}" for key, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return repr(value)
