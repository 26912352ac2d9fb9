"""How long bnlint takes, side by side with what it is measured against.

    python tests/bench.py PATH [ROUNDS]
    python tests/bench.py --curve PATH [FOLDER]

With PATH: the CPU time (user and system, of all processes) of `bnlint PATH` and of
`ruff check --no-cache PATH`, in turns, so that both meet the same machine; medians and their ratio.
Then the time by the clock of `bnlint --version` and of linting one small file, against that of
`python -c "import click"` with the same Python. bnlint, ruff and click have to be installed beside
the Python that runs this.

With --curve: how the CPU time grows with the number of functions, from an eighth of the files below
PATH to all of them, drawn by their digests and copied, so that imports lead nowhere else; and the
exponent that fits best (1 is linear). A sample of files is no project: half of the files have half of
what they import, and what is not there costs nothing. With FOLDER, the packages directly in it are drawn
whole (`transformers/models`), and all else of PATH is always there.
"""

from __future__ import annotations

import ast
import hashlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(sys.executable).parent
BNLINT, RUFF = str(HERE / "bnlint"), str(HERE / "ruff")
SMALL = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.conv(x)).relu()
"""


def spent(command: list[str]) -> tuple[float, float]:
    """Seconds of CPU and by the clock that a command takes; its findings are none of our business."""
    # An installed bnlint has its bytecode, as click has.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    after, stop = os.times(), time.perf_counter()
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr.decode()}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, stop - start


def compare(title: str, ours: list[str], theirs: list[str], rounds: int, *, clock: int, most: float) -> None:
    """Run two commands in turns; `clock` is 0 for CPU time and 1 for that of the clock."""
    for command in (ours, theirs):
        spent(command)  # the first run reads the files from the disk
    pairs = [(spent(ours)[clock], spent(theirs)[clock]) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{title}: {mine:.3f} s against {other:.3f} s, {mine / other:.2f} times (at most {most:g})")


def is_drawn(name: Path, share: float) -> bool:
    """Whether a file or a package is in a sample."""
    return int(hashlib.sha256(name.as_posix().encode()).hexdigest()[:8], 16) / 16**8 < share


def sample(root: Path, folder: Path, share: float, packages: Path | None = None) -> int:
    """Copy a share of the files or of some packages, always the same; the number of functions in them."""
    functions = 0
    for file in root.rglob("*.py"):
        name = file.relative_to(root)
        if packages is None:
            is_left_out = file.name != "__init__.py" and not is_drawn(name, share)
        else:
            inside = file.relative_to(packages) if file.is_relative_to(packages) else Path()
            is_left_out = len(inside.parts) > 1 and not is_drawn(Path(inside.parts[0]), share)
        if is_left_out:
            continue
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        tree = ast.parse(file.read_bytes())
        functions += sum(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(tree))
    return functions


def curve(root: Path, packages: Path | None = None) -> None:
    """The CPU time of growing samples of a tree."""
    if packages is not None and not any(packages.glob("*/*.py") if packages.is_relative_to(root) else ()):
        sys.exit(f"{packages}: holds no packages of {root}")
    points = []
    for share in (0.125, 0.25, 0.5, 1.0):
        with tempfile.TemporaryDirectory() as folder:
            functions = sample(root, Path(folder, root.name), share, packages)
            command = [sys.executable, "-m", "bnlint", "--isolated", "--no-cache", "--output-format", "json"]
            cpu, clock = spent([*command, folder])
        points.append((math.log(functions), math.log(cpu)))
        each = 1000 * cpu / functions
        print(f"{share:6.1%}: {functions} functions, {cpu:.2f} s CPU, {clock:.2f} s, {each:.3f} s per 1000")
    slope, _ = statistics.linear_regression(*zip(*points, strict=True))
    print(f"CPU grows with the number of functions to the power of {slope:.2f}")


def main() -> None:
    """Measure."""
    if sys.argv[1:2] == ["--curve"]:
        curve(*(Path(name).resolve() for name in sys.argv[2:4]))
        return
    path = sys.argv[1] if len(sys.argv) > 1 else None
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    if path is not None:
        lint = [BNLINT, "--isolated", "--no-cache", "--output-format", "json", path]
        compare(
            "CPU, the tree", lint, [RUFF, "check", "--no-cache", "--isolated", path], rounds, clock=0, most=6
        )
    click = [sys.executable, "-c", "import click"]
    compare("clock, --version", [BNLINT, "--version"], click, 4 * rounds, clock=1, most=1.5)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, "small.py")
        small.write_text(SMALL)
        compare("clock, a small file", [BNLINT, "--isolated", str(small)], click, 4 * rounds, clock=1, most=3)


if __name__ == "__main__":
    main()
