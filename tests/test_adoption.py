"""What it takes to bring bnlint into a project that exists: standard input, baselines, comments, thresholds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bnlint.cli import app

BAD = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = nn.BatchNorm2d(8, eps=1.0)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return self.head(self.bn(x))
"""
GOOD = BAD.replace(", eps=1.0", "")
TRAIN = """\
import torch
from torch import nn
from torch.utils.data import DataLoader

from net import Net


def train(data):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in DataLoader(data, batch_size=12, shuffle=True):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return tmp_path


def run(*args: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, args, prog_name="bnlint", input=given)


def found(*args: str, given: str | bytes | None = None) -> list[tuple[str, str, int | None, int]]:
    """File, code, cell and row of each finding that is an error."""
    result = run("lint", "--output-format", "json", *args, given=given)
    assert result.exit_code in (0, 1), result.stderr
    return [
        (os.path.relpath(one["filename"]), one["code"], one["cell"], one["location"]["row"])
        for one in json.loads(result.stdout)
        if one["severity"] != "info"
    ]


# Standard input


def test_standard_input_is_linted_under_its_name() -> None:
    assert found("-", given=BAD) == [("-", "BN405", None, 7)]
    assert found("-", "--stdin-filename", "src/new.py", given=BAD) == [("src/new.py", "BN405", None, 7)]
    assert " | " + 40 * " " + "^^^\n" in run("-", given=BAD).stdout


def test_standard_input_stands_for_the_file_on_the_disk() -> None:
    Path("net.py").write_text(GOOD)
    assert found("-", "--stdin-filename", "net.py", given=BAD) == [("net.py", "BN405", None, 7)]
    Path("net.py").write_text(BAD)
    assert found("-", "--stdin-filename", "net.py", given=GOOD) == []
    assert found(".", "-", "--stdin-filename", "net.py", given=GOOD) == []


def test_standard_input_imports_from_its_folder() -> None:
    Path("net.py").write_text(GOOD)
    assert found("-", "--stdin-filename", "train.py", given=TRAIN) == [("train.py", "BN301", None, 11)]


def test_settings_of_its_folder_count_for_standard_input() -> None:
    Path("src").mkdir()
    Path("src/pyproject.toml").write_text(
        "[tool.bnlint]\nforce-exclude = true\nextend-exclude = ['gen_*']\nper-file-ignores = {'old.py' = ['BN405']}\n"
    )
    assert found("-", "--stdin-filename", "src/old.py", given=BAD) == []
    assert found("-", "--stdin-filename", "src/gen_a.py", given=BAD) == []
    assert len(found("-", "--stdin-filename", "src/a.py", given=BAD)) == 1


def test_broken_standard_input_is_a_finding() -> None:
    assert found("-", given="x = (\n") == [("-", "BN000", None, 1)]
    assert found("-", given=b"x = '\xff'\n") == [("-", "BN000", None, 1)]


def test_a_name_for_standard_input_without_it_is_wrong_use() -> None:
    Path("a.py").write_text(BAD)
    result = run("a.py", "--stdin-filename", "b.py")
    assert result.exit_code == 2
    assert "pass `-` as a path" in result.stderr


# Baselines


def test_a_baseline_hides_what_was_there_and_shows_what_is_new() -> None:
    Path("a.py").write_text(BAD)
    Path("b.py").write_text(BAD)
    written = run(".", "--baseline", "known.json", "--write-baseline")
    assert (written.exit_code, written.stdout) == (0, "")
    assert "2" in written.stderr
    assert found(".", "--baseline", "known.json") == []
    again = run(".", "--baseline", "known.json")
    assert (again.exit_code, again.stdout) == (0, "All clear: 2 files checked; 2 findings in the baseline.\n")
    Path("a.py").write_text("import os\n\n\n" + BAD)
    Path("b.py").rename("c.py")
    assert found(".", "--baseline", "known.json") == []
    Path("d.py").write_text(BAD)
    assert found(".", "--baseline", "known.json") == [("d.py", "BN405", None, 7)]
    more = run(".", "--baseline", "known.json")
    assert more.exit_code == 1
    assert more.stdout.endswith("Found 1 error in 3 files; 2 more in the baseline.\n")


def test_entries_of_which_nothing_is_left_are_pointed_out() -> None:
    Path("a.py").write_text(BAD)
    Path("b.py").write_text(BAD)
    run(".", "--baseline", "known.json", "--write-baseline")
    Path("a.py").write_text(GOOD)
    result = run(".", "--baseline", "known.json")
    assert result.exit_code == 0
    assert "1 entry matches nothing any more; --write-baseline takes them out:" in result.stderr
    assert "a.py" in result.stderr
    assert "BN405" in result.stderr
    assert "nothing any more" not in run("b.py", "--baseline", "known.json").stderr
    run(".", "--baseline", "known.json", "--write-baseline")
    assert "nothing any more" not in run(".", "--baseline", "known.json").stderr


def test_a_baseline_may_be_a_setting() -> None:
    Path("a.py").write_text(BAD)
    Path("pyproject.toml").write_text("[tool.bnlint]\nbaseline = 'known.json'\n")
    assert run("--write-baseline", ".").exit_code == 0
    assert found(".") == []
    Path("src").mkdir()
    Path("src/b.py").write_text(BAD)
    assert found("src") == [("src/b.py", "BN405", None, 7)]


def test_part_of_a_project_or_of_the_rules_keeps_the_other_entries() -> None:
    Path("a.py").write_text(BAD)
    Path("b.py").write_text(BAD.replace("eps=1.0", "momentum=0.9"))
    run(".", "--baseline", "known.json", "--write-baseline")
    run("a.py", "--baseline", "known.json", "--write-baseline")
    assert found(".", "--baseline", "known.json") == []
    run(".", "--select", "BN405", "--baseline", "known.json", "--write-baseline")
    assert found(".", "--baseline", "known.json") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--write-baseline"),
        ("{", "known.json"),
        ("[]", "known.json"),
        ('{"version": 99}', "known.json"),
    ],
)
def test_a_baseline_that_cannot_be_read_is_wrong_use(content: str | None, message: str) -> None:
    Path("a.py").write_text(BAD)
    if content is not None:
        Path("known.json").write_text(content)
    result = run(".", "--baseline", "known.json")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_write_baseline_asks_for_a_file() -> None:
    result = run(".", "--write-baseline")
    assert result.exit_code == 2
    assert "--baseline FILE" in result.stderr


# Comments


def test_comments_that_silence_nothing_are_reported_when_asked_for() -> None:
    Path("a.py").write_text(
        "import torch\n\nx = 1  # noqa: BN405, E501\n" + BAD.replace("1.0)", "1.0)  # noqa: BN4")
    )
    assert found("a.py") == []
    assert found("a.py", "--report-unused-noqa") == [("a.py", "BN000", None, 3)]
    result = run("a.py", "--report-unused-noqa")
    assert "a.py:3:8: BN000 [warning] unused-noqa:" in result.stdout
    assert result.exit_code == 1
    assert found("a.py", "--report-unused-noqa", "--select", "BN2") == []
    assert found("a.py", "--report-unused-noqa", "--ignore", "unused-noqa") == []
    assert found("a.py", "--report-unused-noqa", "--per-file-ignores", "a.py:BN405") == []


# Thresholds


def test_thresholds_of_rules_are_settings() -> None:
    Path("net.py").write_text(GOOD)
    Path("train.py").write_text(TRAIN)
    assert found("train.py") == [("train.py", "BN301", None, 11)]
    assert found("train.py", "--config", "tiny-batch = 12") == []
    Path("pyproject.toml").write_text("[tool.bnlint]\ntiny-batch = 8\nepsilon-out-of-range = 1.0\n")
    assert found("train.py") == []
    Path("net.py").write_text(BAD.replace("1.0", "0.5"))
    assert found(".") == []
    assert found(".", "--isolated") == [("net.py", "BN405", None, 7), ("train.py", "BN301", None, 11)]


def test_the_message_names_the_threshold_that_is_in_force() -> None:
    Path("net.py").write_text(GOOD)
    Path("train.py").write_text(TRAIN)
    text = run("train.py", "--config", "tiny-batch = 64").stdout
    assert "below 64; use 64 to 128" in " ".join(text.split())


def test_a_baseline_holds_comments_that_silence_nothing() -> None:
    Path("a.py").write_text("import torch\n\nx = 1  # noqa: BN405\n")
    run(".", "--baseline", "known.json", "--write-baseline", "--report-unused-noqa")
    assert found(".", "--baseline", "known.json", "--report-unused-noqa") == []
    assert "nothing any more" not in run(".", "--baseline", "known.json").stderr
    Path("a.py").write_text("import torch\n")
    assert "nothing any more" in run(".", "--baseline", "known.json", "--report-unused-noqa").stderr
