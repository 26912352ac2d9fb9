"""`bnlint model`: what it makes of names, what it hands to `check`, and what it says when that fails."""

from __future__ import annotations

import itertools
import json
import os
import sys

import pytest

pytest.importorskip("torch")

from click.testing import CliRunner
from runs import LIVE_VIEW, TINIES, report

import bnlint
from bnlint.cli import app
from bnlint.report import Report

MINE = """
import torch
from torch import nn
from torch.utils.data import DataLoader

print("loud")

class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.bn = nn.BatchNorm1d(width)

    def forward(self, x):
        print("forward")
        return self.bn(x)

class Wide(Net):
    def __init__(self, width, *, depth):
        super().__init__(width)

class Broken(Net):
    def forward(self, x):
        try:
            {}["key"]
        except KeyError as problem:
            raise RuntimeError("no such key") from problem

class Batches:
    def __iter__(self):
        return iter([torch.ones(4, 3)])

    def __call__(self):
        raise AssertionError("is no factory")

net = Net()
batches = [torch.ones(4, 3)] * 2
loader = DataLoader(torch.ones(8, 3), batch_size=4)
iterable = Batches()
number = 3

def both():
    return Net(), batches

def three():
    return Net(), batches, None

def stream():
    yield torch.ones(4, 3)

def fails():
    return 1 / 0

def quits():
    raise SystemExit("enough")
"""
NAMES = (f"mine{number}" for number in itertools.count())


class Check:
    """Stands for the check: runs the model, keeps what it was given, finds what it is told to find."""

    def __init__(self):
        self.found, self.given = report(TINIES), {}

    def __call__(self, model, loader, **given):
        self.given = {"model": model, "loader": loader, **given}
        for batch in loader:
            given["progress"](0.5, "running")
            model(batch)
        return self.found


@pytest.fixture
def check(monkeypatch):
    check = Check()
    monkeypatch.setattr("bnlint.checking.report", check)
    return check


@pytest.fixture
def run(tmp_path, monkeypatch, check):
    """Run `bnlint model`; `mine` stands for a module that no other test has imported."""
    name = next(NAMES)
    (tmp_path / f"{name}.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*args):
        words = [word.replace("mine:", f"{name}:") for word in args]
        result = CliRunner().invoke(app, ["model", *words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        result.err = result.stderr.replace(name, "mine").replace(str(tmp_path), "")
        return result

    return run


def made(check):
    return type(check.given["model"]).__name__


class TestNames:
    @pytest.mark.parametrize("name", ["mine:Net", "mine:net"])
    @pytest.mark.parametrize(
        ("loader", "kind"),
        [
            ("mine:batches", "list"),
            ("mine:loader", "DataLoader"),
            ("mine:Batches", "Batches"),
            ("mine:iterable", "Batches"),
            ("mine:stream", "generator"),
        ],
    )
    def test_lead_to_models_and_loaders(self, run, check, name, loader, kind):
        assert run(name, "--loader", loader).exit_code == 1
        assert made(check) == "Net"
        assert type(check.given["loader"]).__name__ == kind

    def test_lead_to_both(self, run, check):
        assert run("mine:both").exit_code == 1
        assert (made(check), len(check.given["loader"])) == ("Net", 2)
        run("mine:both", "--loader", "mine:iterable")
        assert type(check.given["loader"]).__name__ == "Batches"

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (
                ["mine:Net"],
                "mine:Net: no batches; name what gives them with --loader, or return (model, loader)",
            ),
            (["mine:number"], "mine:number: is no model (torch.nn.Module), but of type int"),
            (["mine:three"], "mine:three: is no model (torch.nn.Module), but of type tuple"),
            (
                ["mine:Wide"],
                "mine:Wide: cannot be called without width, depth; name a function that takes no arguments",
            ),
            (["mine:Nett"], "mine:Nett: there is no Nett, the nearest is Net"),
            (["mine:net", "--loader", "mine:Wide"], "mine:Wide: cannot be called without width, depth"),
            (["nowhere:net"], "nowhere: cannot be imported: ModuleNotFoundError"),
            (["mine"], "expected PKG.MOD:NAME"),
            (["mine:both", "--output-format", "xml"], "--output-format: xml is none of concise"),
            (["mine:both", "--fail-on", "xml"], "--fail-on: xml is none of info, warning, error"),
            (["mine:both", "--stage", "test"], "'test' is not one of 'train', 'eval'"),
            (["mine:both", "--max-batches", "0"], "0 is not in the range x>=1"),
        ],
    )
    def test_that_lead_nowhere_are_refused(self, run, check, args, said):
        result = run(*args)
        assert (result.exit_code, result.stdout, check.given) == (2, "", {})
        assert said in result.err
        assert "Traceback" not in result.err


def test_options_are_handed_on(run, check):
    run("mine:both")
    plain = {key: check.given[key] for key in ("stage", "max_batches", "select", "ignore")}
    assert plain == {"stage": "train", "max_batches": 8, "select": None, "ignore": None}
    run(
        "mine:both",
        "--stage",
        "eval",
        "--max-batches",
        "3",
        "--select",
        "BN1,BN2",
        "--select",
        "BN301",
        "--ignore",
        "BN203",
    )
    assert check.given["stage"] == "eval"
    assert check.given["max_batches"] == 3
    assert check.given["select"] == ["BN1", "BN2", "BN301"]
    assert check.given["ignore"] == ["BN203"]


class TestOutput:
    def test_the_code_s_own_goes_to_standard_error(self, run):
        result = run("mine:both", "--output-format", "json")
        assert len(json.loads(result.stdout)) == 53
        assert result.err.splitlines()[:2] == ["loud", "forward"]

    def test_is_a_table(self, run):
        result = run("mine:both")
        assert "53 layers" in result.stdout
        assert result.stdout.endswith("Found 53 warnings in 53 layers.\n")
        assert "bnlint: skipped: head.bn: never called in 8 batches\n" in result.err

    def test_goes_to_files(self, run):
        result = run("mine:both", "--output-file", "out.txt", "--html", "out.html")
        assert result.stdout == ""
        assert "bnlint: wrote out.html" in result.err
        with open("out.txt", encoding="utf-8") as file:
            assert file.read().endswith("Found 53 warnings in 53 layers.\n")
        with open("out.html", encoding="utf-8") as file:
            assert file.read().count("<section") == 2

    @pytest.mark.parametrize("option", ["--output-file", "--html"])
    def test_says_where_it_cannot_be_written(self, run, option):
        result = run("mine:both", option, "none/out")
        assert result.exit_code == 2
        assert "none/out: cannot be written: No such file or directory" in result.err

    @pytest.mark.parametrize(
        ("args", "findings", "status"),
        [
            ([], [], 0),
            ([], TINIES, 1),
            (["--fail-on", "error"], TINIES, 0),
            (["--fail-on", "info"], TINIES, 1),
            (["--exit-zero"], TINIES, 0),
        ],
    )
    def test_the_exit_status_is_that_of_the_findings(self, run, check, args, findings, status):
        check.found = Report(tuple(findings), (), 53, LIVE_VIEW, noun="layer")
        assert run("mine:both", *args).exit_code == status

    @pytest.mark.parametrize("args", [[], ["--exit-zero"]])
    def test_nothing_that_could_be_looked_at_is_wrong_use(self, run, check, args):
        check.found = Report((), (), 0, LIVE_VIEW, noun="layer")
        result = run("mine:both", *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "bnlint: nothing was checked\n" in result.err
        check.found = Report((), ("the model has no BatchNorm",), 0, LIVE_VIEW, noun="layer")
        result = run("mine:both", *args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "bnlint: the model has no BatchNorm\n" in result.err


class TestFaults:
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("mine:fails", "Error: mine:fails: could not be called: ZeroDivisionError: division by zero"),
            ("mine:quits", "Error: mine:quits: could not be called: SystemExit: enough"),
        ],
    )
    def test_of_the_code_are_shown_as_python_does(self, run, name, said):
        result = run(name)
        assert (result.exit_code, result.stdout) == (2, "")
        before, _, last = result.err.rstrip("\n").rpartition("\n")
        assert last == said
        assert before.splitlines()[1] == "Traceback (most recent call last):"
        assert 'File "/mine.py"' in before
        assert os.path.dirname(bnlint.__file__) not in before

    def test_of_the_code_keep_what_led_to_them(self, run):
        result = run("mine:Broken", "--loader", "mine:batches")
        assert result.exit_code == 2
        assert "KeyError: 'key'\n\nThe above exception was the direct cause" in result.err
        assert result.err.endswith("Error: mine:Broken: the check was stopped: RuntimeError: no such key\n")
        assert os.path.join("bnlint", "cli") not in result.err

    def test_of_wrong_use_are_one_line(self, run, monkeypatch):
        class UnreadableLoaderError(TypeError):
            __module__ = "bnlint.trace.batches"

        def check(model, loader, **given):
            raise UnreadableLoaderError("the loader gave no batch")

        monkeypatch.setattr("bnlint.checking.report", check)
        result = run("mine:both")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.err == "loud\nError: the loader gave no batch\n"


def test_torch_is_needed(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run("mine:both").err == 'Error: bnlint model needs torch: pip install "bnlint[torch]"\n'
