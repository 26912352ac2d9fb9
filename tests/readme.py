"""The parts of the README that are made: real output, and the table of rules.

    python tests/readme.py

writes them anew between their markers. `test_readme.py` holds the README to them.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from bnlint.rule import all_rules

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SHOWN = "BN107"
EXAMPLE = "fixtures/bn101_missing_eval/bad_inline_test_block.py"


def generate(text: str) -> str:
    """The README with its made parts made anew."""
    for name, part in {"output": output(), "demo": demonstration(text), "rules": table()}.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text, number = pattern.subn(lambda _, made=f"{begin}\n{part}\n{end}": made, text)
        if number != 1:
            raise ValueError(f"README.md has {number} parts between {begin} and {end}")
    return text


def output() -> str:
    """What the command prints, run on a fixture."""
    return f"```console\n$ bnlint {EXAMPLE}\n{_run('--isolated', EXAMPLE, status=1)}```"


def _run(*arguments: str, status: int) -> str:
    """What the command prints; it has to end so, and to have nothing to complain about."""
    plain = {key: value for key, value in os.environ.items() if key not in {"FORCE_COLOR", "NO_COLOR"}}
    done = subprocess.run(
        [sys.executable, "-m", "bnlint", *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        env={**plain, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
    )
    if done.returncode != status or done.stderr:
        raise ValueError(f"exit status {done.returncode}: {done.stderr}")
    return done.stdout


def demonstration(text: str) -> str:
    """What one demonstration prints; without torch, what stands there."""
    if importlib.util.find_spec("torch") is None:
        return text.partition("<!-- demo -->\n")[2].partition("\n<!-- end of demo -->")[0]
    return f"```console\n$ bnlint demo {SHOWN}\n{_run('demo', SHOWN, status=0)}```"


def table() -> str:
    """A row for each rule."""
    rows = [f"| {one.code} | `{one.name}` | {one.severity} | {one.summary} |" for one in all_rules()]
    return "\n".join(["| code | name | severity | what it finds |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    README.write_text(generate(README.read_text(encoding="utf-8")), encoding="utf-8")
