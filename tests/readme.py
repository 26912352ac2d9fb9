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
from collections.abc import Sequence
from pathlib import Path

from bnlint.rule import all_rules

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
EXAMPLE = "fixtures/bn101_missing_eval/bad_inline_test_block.py"
SHOWN = "BN107"
LAYER = "fixtures.bn503_wrong_running_statistics.bad_keras_momentum:BatchNorm"


def generate(text: str) -> str:
    """The README with its made parts made anew; without torch, what needs it stays as it is."""
    parts = {"output": output(EXAMPLE, unsaid=("--isolated",)), "rules": table()}
    if importlib.util.find_spec("torch") is not None:
        parts["demo"] = output("demo", SHOWN, status=0)
        parts["conforms"] = output("conforms", LAYER)
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text, number = pattern.subn(lambda _, made=f"{begin}\n{part}\n{end}": made, text)
        if number != 1:
            raise ValueError(f"README.md has {number} parts between {begin} and {end}")
    return text


def output(*args: str, unsaid: Sequence[str] = (), status: int = 1) -> str:
    """What a command prints; it has to end so."""
    plain = {key: value for key, value in os.environ.items() if key not in {"FORCE_COLOR", "NO_COLOR"}}
    done = subprocess.run(
        [sys.executable, "-m", "bnlint", *args, *unsaid],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        env={**plain, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
    )
    if done.returncode != status or "Error" in done.stderr:
        raise ValueError(f"exit status {done.returncode}: {done.stderr}")
    return f"```console\n$ bnlint {' '.join(args)}\n{done.stdout}```"


def table() -> str:
    """A row for each rule."""
    rows = [f"| {one.code} | `{one.name}` | {one.severity} | {one.summary} |" for one in all_rules()]
    return "\n".join(["| code | name | severity | what it finds |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    README.write_text(generate(README.read_text(encoding="utf-8")), encoding="utf-8")
