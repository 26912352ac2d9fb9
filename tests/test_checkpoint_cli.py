"""`bnlint checkpoint`: files and folders in, findings, notes and an exit status out."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bnlint.cli import app
from bnlint.progress import Bar


def write(path: Path, **layers: tuple[float, ...]) -> Path:
    """A file of safetensors with one-dimensional tensors; `__` in a name stands for a dot."""
    table, data = {}, b""
    for name, numbers in layers.items():
        begin, data = len(data), data + struct.pack(f"<{len(numbers)}f", *numbers)
        entry = {"dtype": "F32", "shape": [len(numbers)], "data_offsets": [begin, len(data)]}
        table[name.replace("__", ".")] = entry
    text = json.dumps(table).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def healthy(path: Path) -> Path:
    return write(path, bn__running_mean=(0.5, 1.0), bn__running_var=(2.0, 3.0))


def poisoned(path: Path) -> Path:
    return write(path, bn__running_mean=(0.5, 1.0), bn__running_var=(2.0, math.nan))


def run(*args: object):
    return CliRunner().invoke(app, ["checkpoint", *map(str, args)])


def test_a_healthy_file(tmp_path):
    done = run(healthy(tmp_path / "a.safetensors"))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "All clear: 1 checkpoint checked.\n", "")


def test_a_finding_and_its_place(tmp_path):
    path = poisoned(tmp_path / "a.safetensors")
    done = run(path, "--output-format", "full")
    assert done.exit_code == 1
    assert "BN407 [error] poisoned-statistics" in done.stdout
    assert "layer: bn\n" in done.stdout
    assert "Found 1 error in 1 checkpoint." in done.stdout
    (found,) = json.loads(run(path, "--output-format", "json").stdout)
    assert (found["filename"], found["module"]) == (str(path), "bn")
    assert found["measured"] == {"channels": 1, "of": 2}


def test_neither_torch_nor_safetensors_is_imported(tmp_path):
    code = (
        "import sys; from click.testing import CliRunner; from bnlint.cli import app\n"
        "done = CliRunner().invoke(app, ['checkpoint', sys.argv[1]])\n"
        "print(done.exit_code, sorted({'torch', 'safetensors', 'numpy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(poisoned(tmp_path / "a.safetensors"))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1 []\n"


def test_what_cannot_be_read_does_not_stop_the_rest(tmp_path):
    poisoned(tmp_path / "a.safetensors")
    (tmp_path / "b.pth").write_bytes(b"")
    (tmp_path / "c.pt").write_text("<html>not found</html>")
    done = run(tmp_path, tmp_path / "none.pt")
    assert done.exit_code == 2
    assert "Found 1 error in 1 checkpoint." in done.stdout
    lines = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        str(tmp_path / name) for name in ("b.pth", "c.pt", "none.pt")
    ]
    assert [line.split(": ")[2] for line in lines] == [
        "empty",
        "a web page, not a checkpoint",
        "cannot be read",
    ]


def test_folders_are_searched(tmp_path):
    deep = tmp_path / "runs" / "one"
    deep.mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    poisoned(tmp_path / ".hidden" / "x.safetensors")
    healthy(deep / "a.safetensors")
    (deep / "notes.txt").write_text("nothing")
    (deep / "data.bin").write_bytes(b"\0\1\2\3")
    parts = {
        f"bn.{name}": f"m-{n}-of-2.safetensors" for n, name in enumerate(("running_mean", "running_var"))
    }
    for n, name in enumerate(("running_mean", "running_var")):
        write(tmp_path / f"m-{n}-of-2.safetensors", **{f"bn.{name}": (1.0, math.inf), "other": (1.0,)})
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    done = run(tmp_path, "--output-format", "concise")
    assert "Found 1 error in 2 checkpoints." in done.stdout
    assert "index.json:1:1: BN407" in done.stdout
    assert done.stderr == ""


def test_a_folder_without_any(tmp_path):
    done = run(tmp_path)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "bnlint: no checkpoints found\n")


def test_a_file_without_a_state(tmp_path):
    done = run(write(tmp_path / "a.safetensors", a=(1.0,)))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"bnlint: {tmp_path / 'a.safetensors'}: holds no state dict of a model\n"


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--ignore", "BN407"], 0),
        (["--select", "poisoned-statistics"], 1),
        (["--select", "BN40", "--ignore", "BN407"], 0),
        (["--select", "BN1,BN401"], 0),
        (["--exit-zero"], 0),
        (["--fail-on", "error"], 1),
    ],
)
def test_options(options, status, tmp_path):
    assert run(poisoned(tmp_path / "a.safetensors"), *options).exit_code == status


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--select", "BN999"], "BN999"),
        (["--fail-on", "never"], "never is none of info, warning, error"),
        (["--output-format", "xml"], "xml is none of"),
        (["--model", "net"], "expected PKG.MOD:NAME"),
        (["--model", "no_such_module:net"], "no_such_module: cannot be imported"),
        (["--model", "json:loads"], "json:loads: cannot be called: TypeError"),
        (["--model", "json:JSONDecoder"], "gives no model (torch.nn.Module), but one of type JSONDecoder"),
    ],
)
def test_wrong_use(options, says, tmp_path):
    done = run(healthy(tmp_path / "a.safetensors"), *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


def test_no_file_is_named():
    done = run()
    assert done.exit_code == 2
    assert "Missing argument 'FILE...'" in done.stderr


def test_the_report_goes_to_a_file(tmp_path):
    target = tmp_path / "report.json"
    path = poisoned(tmp_path / "a.safetensors")
    done = run(path, "--output-format", "json", "--output-file", target)
    assert (done.exit_code, done.stdout) == (1, "")
    assert [one["code"] for one in json.loads(target.read_text())] == ["BN407"]


def test_the_bar_shows_the_files(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("bnlint.progress.wanted", lambda **_: True)
    monkeypatch.setattr(Bar, "__call__", lambda _self, done, doing: shown.append((done, doing)))
    run(healthy(tmp_path / "a.safetensors"), healthy(tmp_path / "b.safetensors"))
    assert shown == [(0.0, "a.safetensors"), (0.5, "b.safetensors")]


MODEL = """
from torch import nn
print("loud")
net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
def make():
    return net
class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 2), nn.BatchNorm1d(2))
"""


@pytest.mark.parametrize("name", ["net", "make", "Net"])
def test_a_file_beside_a_model(name, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    module = f"mine_{name}"
    (tmp_path / f"{module}.py").write_text(MODEL)
    bare = {"0.bias": (0.0, 1.0), "1.weight": (1.0, 1.0), "1.bias": (0.5, 0.0)}
    done = run(
        write(tmp_path / "a.safetensors", **bare), "--model", f"{module}:{name}", "--output-format", "concise"
    )
    assert done.exit_code == 1
    assert "BN402 [error] statistics-not-loaded" in done.stdout
    assert "For BatchNorm1d `1` of " in done.stdout
    assert done.stderr == "loud\n"
