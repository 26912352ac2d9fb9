"""Selectors of rules (`ALL`, a code, its beginning, a name), and which rules they turn on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bnlint import rule
from bnlint.config.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

FAULT = "BN000"
UNREADABLE, INTERNAL, UNUSED = "unreadable-source", "internal-fault", "unused-noqa"
FAULT_NAMES = (UNREADABLE, INTERNAL, UNUSED)
"""What BN000 says. It is no rule: it is on whatever is selected, and is turned off by its own names only."""


def words() -> tuple[str, ...]:
    """Every selector but the beginnings of codes."""
    rules = rule.all_rules()
    return ("ALL", *(one.code for one in rules), FAULT, *(one.name for one in rules), *FAULT_NAMES)


def selector(word: str) -> str:
    """A selector of rules in its one spelling: `ALL`, a code or its beginning, or a name."""
    known = words()
    code, name = word.strip().upper(), word.strip().lower().replace("_", "-")
    if code == "ALL" or (code.startswith("BN") and any(one.startswith(code) for one in known)):
        return code
    if name in known:
        return name
    raise ConfigError(f'unknown rule "{word}", the nearest is "{nearest(word, known)}"')


def pattern() -> str:
    """A regular expression of what `selector` takes."""
    known = words()
    starts = {word[:end] for word in known if word.startswith("BN") for end in range(2, len(word))}
    return rf"^\s*({'|'.join(map(_in_any_case, sorted({*known, *starts})))})\s*$"


def _in_any_case(word: str) -> str:
    pairs = (f"[{one.lower()}{one.upper()}]" if one.isalpha() else one for one in word)
    return "".join("[-_]" if one == "-" else one for one in pairs)


def rank(selector: str, code: str, name: str) -> int | None:
    """How exactly a selector names a rule, if it does; a name is as exact as the whole code."""
    if selector in (name, code):
        return len(code)
    if code == FAULT:
        return None
    if selector == "ALL":
        return 0
    return len(selector) if code.startswith(selector) else None


def named(selector: str) -> tuple[tuple[str, str], ...]:
    """The code and the name of all that a selector names, BN000 included."""
    pairs = [(one.code, one.name) for one in rule.all_rules()] + [(FAULT, name) for name in FAULT_NAMES]
    return tuple(pair for pair in pairs if rank(selector, *pair) is not None)


def selection(layers: Iterable[Mapping[str, Sequence[str]]]) -> tuple[frozenset[str], frozenset[str]]:
    """The rules that are on, and the names of BN000 that are off.

    Within a layer the more exact selector wins (`select = ["BN3"]`, `ignore = ["BN301"]`), and
    `ignore` wins a draw. A later layer goes before an earlier one.
    """
    known = {one.code: one.name for one in rule.all_rules()}
    chosen, muted = set(known), set[str]()
    for layer in layers:
        wanted, ignored = (*layer.get("select", ()), *layer.get("extend-select", ())), layer.get("ignore", ())
        if "select" in layer:
            chosen = set()
        for code, name in known.items():
            on, off = _best(wanted, code, name), _best(ignored, code, name)
            if on > off:
                chosen.add(code)
            elif off >= 0:
                chosen.discard(code)
        muted |= {name for name in FAULT_NAMES if _best(ignored, FAULT, name) >= 0}
    return frozenset(chosen), frozenset(muted)


def _best(selectors: Iterable[str], code: str, name: str) -> int:
    """How exactly the best of some selectors names a rule; -1 where none does."""
    ranks = (rank(one, code, name) for one in selectors)
    return max((one for one in ranks if one is not None), default=-1)
