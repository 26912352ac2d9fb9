"""The parts of the README that are made: real output, and the table of rules.

    python tests/readme.py

writes them anew between their markers. `test_readme.py` holds the README to them.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bnlint.rule import all_rules

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
EXAMPLE = "fixtures/bn101_missing_eval/bad_inline_test_block.py"
SHOWN = "BN107"
CHECKPOINT = "best.safetensors"
LAYER = "fixtures.bn503_wrong_running_statistics.bad_keras_momentum:BatchNorm"


def generate(text: str) -> str:
    """The README with its made parts made anew; without torch, what needs it stays as it is."""
    parts = {"output": output(EXAMPLE, unsaid=("--isolated",)), "rules": table()}
    if importlib.util.find_spec("torch") is not None:
        parts["demo"] = output("demo", SHOWN, status=0)
        parts["conforms"] = output("conforms", LAYER)
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder, CHECKPOINT))
        parts["checkpoint"] = output("checkpoint", CHECKPOINT, cwd=folder)
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        text, number = pattern.subn(lambda _, made=f"{begin}\n{part}\n{end}": made, text)
        if number != 1:
            raise ValueError(f"README.md has {number} parts between {begin} and {end}")
    return text


def write_checkpoint(path: Path) -> None:
    """A file of safetensors: one layer without statistics, and one that a NaN has reached."""
    ones = [1.0] * 4
    layers = {
        "conv1.weight": ones,
        "bn1.weight": ones,
        "bn1.num_batches_tracked": [100.0],
        "bn2.running_mean": [0.1, 0.2, math.nan, 0.4],
        "bn2.running_var": [1.5, 0.5, math.nan, 2.5],
    }
    table, data = {}, b""
    for name, numbers in layers.items():
        begin, data = len(data), data + struct.pack(f"<{len(numbers)}f", *numbers)
        table[name] = {"dtype": "F32", "shape": [len(numbers)], "data_offsets": [begin, len(data)]}
    text = json.dumps(table).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def output(*args: str, unsaid: Sequence[str] = (), status: int = 1, cwd: str | Path = ROOT) -> str:
    """What a command prints; it has to end so."""
    plain = {key: value for key, value in os.environ.items() if key not in {"FORCE_COLOR", "NO_COLOR"}}
    done = subprocess.run(
        [sys.executable, "-m", "bnlint", *args, *unsaid],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=cwd,
        env={**plain, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8", "PYTHONPATH": str(ROOT)},
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
