"""What the demonstrations print, for the pages of the rules.

    python tests/demonstrated.py [CODE ...]

runs those of the rules that are named, or all, and writes their numbers into the package.
`test_demonstrations.py` holds the file to what is printed now. After a merge that met there: run it for all.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from bnlint.demonstration import DEMONSTRATED, Demonstration
from bnlint.rule import all_rules

NUMBER = re.compile(r"\d+(?:\.(\d+))?(?:e([+-]\d+))?")


def perform(demonstrate: object, seed: int = 0) -> Demonstration:
    from bnlint.reference import laboratory

    return laboratory.perform(demonstrate, seed)


def write(codes: list[str]) -> None:
    """Run demonstrations, and write what they print beside what the others printed."""
    path = Path(DEMONSTRATED)
    kept = {}
    if codes and path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
    for rule in all_rules():
        if rule.demonstrate and (not codes or rule.code in codes):
            kept[rule.code] = perform(rule.demonstrate).numbers
    text = json.dumps(dict(sorted(kept.items())), indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def same(one: object, other: object) -> bool:
    """Are they equal, but for the last digit of numbers? Another processor rounds otherwise."""
    one, other = (json.dumps(text, ensure_ascii=False) for text in (one, other))
    if NUMBER.sub("#", one) != NUMBER.sub("#", other):
        return False
    pairs = zip(NUMBER.finditer(one), NUMBER.finditer(other), strict=True)
    return all(_close(*pair) for pair in pairs)


def _close(one: re.Match[str], other: re.Match[str]) -> bool:
    unit = 10.0 ** (int(one[2] or 0) - len(one[1] or ""))
    return abs(float(one[0]) - float(other[0])) <= 1.01 * unit


if __name__ == "__main__":
    write([code.upper() for code in sys.argv[1:]])
