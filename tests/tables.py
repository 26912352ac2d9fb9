"""Random tables of settings: valid ones, and such that are wrong in one of many ways."""

from __future__ import annotations

import string
from typing import Any

import hypothesis.strategies as st

from bnlint.config import KEYS
from bnlint.config.kinds import Choice, File, Flag, Number
from bnlint.config.lists import Patterns, Selectors, SelectorsByPattern
from bnlint.config.selectors import words

WORDS = words()
CODES = [word for word in WORDS if word.startswith("BN")]
SPELLINGS = (str, str.lower, str.title, lambda word: word.replace("-", "_"), lambda word: f" {word}\t")


@st.composite
def selectors(draw: st.DrawFn) -> str:
    """A word, or the beginning of a code, in one of its spellings."""
    code = draw(st.sampled_from(CODES))
    word = draw(st.sampled_from(WORDS) | st.just(code[: draw(st.integers(2, 5))]))
    return draw(st.sampled_from(SPELLINGS))(word)


# Names as they are in projects, and every sign that means something in a pattern or in TOML.
PATTERNS = st.lists(
    st.sampled_from(
        ["tests", "*", "**", "a[1]", ".", "..", "", "b c", 'q"', "é", "x=y", "#", "*.py", "it's"]
    ),
    max_size=4,
).map("/".join)
PATHS = PATTERNS.filter(bool) | st.text(min_size=1).filter(lambda text: "\0" not in text)


def valid(kind: object) -> st.SearchStrategy[Any]:
    """Values that a setting takes."""
    match kind:
        case Flag():
            return st.booleans()
        case Choice():
            return st.sampled_from(kind.words())
        case Number(types=types, limits=(least, most)):
            whole = st.integers(-(-least // 1), most // 1) if types is int else st.nothing()
            return whole | (st.nothing() if types is int else st.floats(least, most))
        case File():
            return PATHS
        case Patterns():
            return st.lists(PATTERNS, max_size=4)
        case Selectors():
            return st.lists(selectors(), max_size=4)
        case SelectorsByPattern():
            return st.dictionaries(PATTERNS, st.lists(selectors(), max_size=3), max_size=3)
    raise AssertionError(kind)


VALID = st.fixed_dictionaries({}, optional={name: valid(key.kind) for name, key in KEYS.items()})
"""Tables that `load` takes."""

# A whole number written as `16.0` is one for JSON, and none for us.
NUMBERS = st.integers() | st.floats(allow_nan=False).filter(lambda number: not number.is_integer())
NEAR = st.sampled_from(
    ["BN9", "BN3011", "ALLL", "tiny", "warn", "json ", "tiny--batch", "BN 301", "", "B", "\0"]
)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | NUMBERS | st.text(string.printable) | NEAR | selectors(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PATTERNS, inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from([*KEYS, "selct", "fail_on", "Select", "missing-eval", "BN301", "isolated"])
WRONG = st.dictionaries(NAMES, ANYTHING, max_size=2)
ANY = st.builds(lambda right, wrong: {**right, **wrong}, VALID, WRONG)
"""Tables of which about every other one is wrong."""
