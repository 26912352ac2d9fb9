"""What the terminal is asked to do: progress, links, completion, versions. Each in a process of its own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bnlint
from bnlint.rule import all_rules
from bnlint.versions import versions

BAD = "from torch import nn\n\nbn = nn.BatchNorm2d(8, eps=1.0)\n"
PLAIN = {
    key: value
    for key, value in os.environ.items()
    if key
    not in {"CI", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "TERM_PROGRAM", "FORCE_HYPERLINK", "VTE_VERSION"}
}


def script(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bnlint", *args]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env={**PLAIN, **environment}
    )


def on_terminal(command: list[str], cwd: Path, **environment: str) -> str:
    """What a process writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env={**PLAIN, **environment}
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # the other side was closed
            pass
        process.wait(timeout=60)
    os.close(ours)
    return said.decode()


# Versions


def test_version_names_python_and_torch_without_importing_it(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise SystemExit('torch was imported')\n")
    (tmp_path / "torch/version.py").write_text("__all__ = []\n__version__ = '2.13.0+cpu'\ncuda = None\n")
    python = ".".join(map(str, sys.version_info[:3]))
    expected = f"bnlint {bnlint.__version__} (Python {python}, torch 2.13.0+cpu)\n"
    assert script("--version", cwd=tmp_path, PYTHONPATH=str(tmp_path)).stdout == expected
    (tmp_path / "torch/version.py").unlink()
    assert script("-V", cwd=tmp_path, PYTHONPATH=str(tmp_path)).stdout.endswith(
        ", torch of an unknown version)\n"
    )


def test_version_says_that_torch_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert versions().endswith(", torch not installed")


# Progress


def test_a_long_run_shows_a_bar_that_goes_away(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    code = (
        "import bnlint.progress as p; p.PATIENCE = p.PAUSE = 0.0; "
        "import sys; sys.argv = ['bnlint', '.']; from bnlint.cli import main; main()"
    )
    said = on_terminal([sys.executable, "-c", code], tmp_path, TERM="xterm")
    assert re.search(r"\r\x1b\[K\S*━+.* +\d+% (reading|following)", said)
    before, wiped, report = said.rpartition("\r\x1b[K")
    assert wiped
    assert "BN405" in report
    assert "BN405" not in before
    assert "━" not in report


def test_a_short_run_shows_none(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    said = on_terminal([sys.executable, "-m", "bnlint", "."], tmp_path, TERM="xterm")
    assert "━" not in said
    assert "BN405" in said


# Links


@pytest.mark.parametrize(
    ("environment", "links"),
    [
        ({"TERM": "xterm"}, False),
        ({"TERM": "xterm", "TERM_PROGRAM": "vscode"}, True),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm", "VTE_VERSION": "7006"}, True),
        ({"TERM": "xterm", "VTE_VERSION": "4800"}, False),
        ({"TERM": "dumb", "TERM_PROGRAM": "vscode"}, False),
        ({"TERM": "xterm", "TERM_PROGRAM": "vscode", "CI": "true"}, False),
        ({"TERM": "xterm", "TERM_PROGRAM": "vscode", "FORCE_HYPERLINK": "0"}, False),
    ],
)
def test_codes_lead_to_their_rule_where_the_terminal_follows_links(
    tmp_path: Path, environment: dict[str, str], *, links: bool
) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    said = on_terminal([sys.executable, "-m", "bnlint", "bad.py"], tmp_path, **environment)
    targets = re.findall(r"\x1b\]8;;(file:[^\x1b]+)\x1b\\", said)
    assert bool(targets) is links
    assert all(Path(target.removeprefix("file://")).is_file() for target in targets)


def test_a_pipe_and_a_file_get_no_links_unless_asked(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    assert "\x1b]8" not in script("bad.py", cwd=tmp_path, TERM_PROGRAM="vscode").stdout
    assert "\x1b]8" in script("bad.py", cwd=tmp_path, FORCE_HYPERLINK="1").stdout
    script("bad.py", "--output-file", "out", cwd=tmp_path, FORCE_HYPERLINK="1")
    assert "\x1b" not in (tmp_path / "out").read_text()


# Completion


def completions(line: str, cwd: Path) -> list[str]:
    """What bash is told where the cursor stands behind `line`."""
    words = line.split(" ")
    done = script(cwd=cwd, _BNLINT_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert done.stderr == ""
    replies = [reply.partition(",") for reply in done.stdout.splitlines()]
    return [value if kind == "plain" else f"{kind}:{value}" for kind, _, value in replies]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bnlint ru", ["rule", "rules", "file:ru"]),
        ("bnlint src/n", ["file:src/n"]),
        ("bnlint lint src/n", ["file:src/n"]),
        ("bnlint --config py", ["file:py"]),
        ("bnlint --sel", ["--select"]),
        ("bnlint lint --sel", ["--select"]),
        ("bnlint --vers", ["--version"]),
        ("bnlint rule tiny", ["tiny-batch", "tiny-device-batch"]),
        ("bnlint rule bn301", ["BN301"]),
        ("bnlint lint --select BN1,BN301", ["BN1,BN301"]),
        ("bnlint --select missing", ["missing-eval"]),
        ("bnlint --output-format co", ["concise"]),
        ("bnlint --fail-on ", ["info", "warning", "error"]),
    ],
)
def test_shells_complete_commands_options_rules_and_formats(
    line: str, expected: list[str], tmp_path: Path
) -> None:
    assert completions(line, tmp_path) == expected


def test_all_codes_are_offered_where_nothing_is_given(tmp_path: Path) -> None:
    assert completions("bnlint rule ", tmp_path) == [one.code for one in all_rules()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_set_up_as_the_readme_says(shell: str, tmp_path: Path) -> None:
    done = script(cwd=tmp_path, _BNLINT_COMPLETE=f"{shell}_source")
    assert "_BNLINT_COMPLETE" in done.stdout


# Streams and signals


def test_an_interrupted_run_says_so_and_exits_130(tmp_path: Path) -> None:
    code = "import bnlint.pipeline as p\ndef stop(*a, **k): raise KeyboardInterrupt\np.analyse = stop\n"
    code += "import sys; sys.argv = ['bnlint', '.']; from bnlint.cli import main; main()"
    (tmp_path / "bad.py").write_text(BAD)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "bnlint: interrupted")


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("{bnlint} bad.py >&-", 2, "bnlint: standard output is closed\n"),
        ("{bnlint} rules >&-", 2, "bnlint: standard output is closed\n"),
        ("{bnlint} bad.py > /dev/full", 2, "bnlint: cannot write: No space left on device\n"),
        ("{bnlint} gone.py 2> /dev/full", 2, ""),
        ("{bnlint} gone.py 2>&-", 2, ""),
        ("{bnlint} --verbose good.py 2> /dev/full", 0, ""),
        ("{bnlint} - <&-", 2, "standard input is closed\n"),
        ("{bnlint} bad.py | head -c 1 > /dev/null; exit ${PIPESTATUS[0]}", 1, ""),
    ],
)
def test_streams_that_cannot_be_used(tmp_path: Path, line: str, status: int, said: str) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "good.py").write_text("import torch\n")
    command = ["bash", "-c", line.replace("{bnlint}", f"{sys.executable} -m bnlint")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=PLAIN)
    assert done.returncode == status
    assert done.stderr.endswith(said)
    assert "Traceback" not in done.stderr
    assert bool(said) == bool(done.stderr)


@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
def test_standard_output_as_a_file_is_written_to_and_not_replaced(tmp_path: Path, target: str) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    line = f"echo head; {sys.executable} -m bnlint --output-file {target} bad.py; echo tail"
    subprocess.run(["bash", "-c", f"{{ {line}; }} > log"], check=True, cwd=tmp_path, env=PLAIN)
    said = (tmp_path / "log").read_text()
    assert re.fullmatch(r"head\nbad.py:3:.*BN405.*\ntail\n", said, re.DOTALL)
    assert sorted(os.listdir(tmp_path)) == ["bad.py", "log"]
