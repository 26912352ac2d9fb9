"""The engine as a whole: files in, facts out, and no file's fault costs another file anything."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from grammar import PROGRAMS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bnlint.source
from bnlint.source import analyse, engine, halves
from bnlint.source.extract import Lowering
from bnlint.source.halves import MANY, divided
from bnlint.source.interpret import Interpreter

NORM = """\
from torch import nn
norm = nn.BatchNorm2d(8, eps={eps})
"""
LOOPS = """\
from torch import nn
def spend(net):
    for a in range(8):
        for b in range(8):
            for c in range(8):
                for d in range(8):
                    net.train()
                    net.eval()
def spend_more(net):
    for a in range(8):
        for b in range(8):
            for c in range(8):
                spend(net)
spend_more(nn.Linear(1, 1))
late = nn.BatchNorm2d(8, eps=0.25)
"""


def analysed(folder: Path, **files: str):
    paths = []
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        paths.append(path)
    return analyse(paths)


def epsilons(analysis) -> list[object]:
    return sorted(norm.value("eps") for norm in analysis.facts.norms)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(PROGRAMS, min_size=1, max_size=2))
def test_every_program_is_analysed_without_a_fault(texts):
    with tempfile.TemporaryDirectory() as folder:
        analysis = analysed(Path(folder), **dict(zip("ab", texts, strict=False)))
    assert not analysis.faults, analysis.faults


class TestFaults:
    def test_a_file_that_cannot_be_read_loses_nothing_of_the_others(self, tmp_path):
        analysis = analysed(tmp_path, a="import torch\nx = = 1\n", b=NORM.format(eps=0.5))
        (fault,) = analysis.faults
        assert (fault.code, fault.name) == ("BN000", "unreadable-source")
        assert (Path(fault.where.filename).name, fault.where.row, fault.where.column) == ("a.py", 2, 5)
        assert epsilons(analysis) == [0.5]

    def test_a_file_that_is_not_there(self, tmp_path):
        analysis = analyse([tmp_path / "gone.py"])
        assert [fault.message for fault in analysis.faults] == ["cannot be read: No such file or directory"]

    def test_a_file_that_is_nested_too_deeply(self, tmp_path):
        deep = "import torch\nx = " + "f(" * 90 + "1" + ")" * 90 + "\ny = a" + ".b" * 20_000 + "\n"
        analysis = analysed(tmp_path, a=deep, b=NORM.format(eps=0.5))
        assert all(fault.name == "unreadable-source" for fault in analysis.faults)
        assert epsilons(analysis) == [0.5]

    def test_our_own_fault_in_reading_names_the_file_and_our_line(self, tmp_path, monkeypatch):
        def broken(self, filename):
            if filename.endswith("a.py"):
                raise ZeroDivisionError("oh")
            return whole(self, filename)

        whole = Lowering.summary
        monkeypatch.setattr(Lowering, "summary", broken)
        analysis = analysed(tmp_path, a=NORM.format(eps=0.25), b=NORM.format(eps=0.5))
        (fault,) = analysis.faults
        assert (fault.name, Path(fault.where.filename).name) == ("internal-fault", "a.py")
        assert fault.message.startswith("internal fault: ZeroDivisionError: oh (test_engine.py:")
        assert epsilons(analysis) == [0.5]

    def test_our_own_fault_in_following_names_the_file(self, tmp_path, monkeypatch):
        def broken(self, module):
            if module.filename.endswith("a.py"):
                raise ZeroDivisionError("oh")
            whole(self, module)

        whole = Interpreter.run_module
        monkeypatch.setattr(Interpreter, "run_module", broken)
        analysis = analysed(tmp_path, a=NORM.format(eps=0.25), b=NORM.format(eps=0.5))
        (fault,) = analysis.faults
        assert (fault.name, Path(fault.where.filename).name) == ("internal-fault", "a.py")
        assert epsilons(analysis) == [0.5]


class TestLimits:
    def test_a_file_that_takes_too_long_loses_only_what_it_had_not_reached(self, tmp_path):
        analysis = analysed(tmp_path, a=LOOPS, b=NORM.format(eps=0.5))
        assert not analysis.faults
        assert 0.5 in epsilons(analysis)

    def test_recursion_ends(self, tmp_path):
        text = """
            from torch import nn
            def build(n):
                return nn.Sequential(nn.BatchNorm2d(n), build(n - 1))
            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.child = Net()
                    self.body = build(8)
                def forward(self, x):
                    return self.forward(self.body(x))
            net = Net()
        """
        analysis = analysed(tmp_path, a=text)
        assert not analysis.faults
        assert len(analysis.facts.norms) == 1

    def test_the_garbage_collector_is_as_before(self, tmp_path):
        assert gc.isenabled()
        analyse([tmp_path / "gone.py"])
        assert gc.isenabled()
        gc.disable()
        try:
            analyse([])
            assert not gc.isenabled()
        finally:
            gc.enable()


class TestOrder:
    def test_the_order_of_the_files_does_not_matter(self, tmp_path):
        (tmp_path / "a.py").write_text("from b import eps\n" + NORM.format(eps="eps"))
        (tmp_path / "b.py").write_text("import torch\neps = 0.125\n")
        one = analyse([tmp_path / "a.py", tmp_path / "b.py"])
        other = analyse([tmp_path / "b.py", tmp_path / "a.py"])
        assert epsilons(one) == epsilons(other) == [0.125]

    def test_nothing_is_run(self, tmp_path):
        text = f"import torch\nopen({str(tmp_path / 'made')!r}, 'w')\nraise SystemExit(3)\n"
        assert not analysed(tmp_path, a=text).faults
        assert not (tmp_path / "made").exists()


class TestTheDoor:
    def test_the_engine_is_loaded_when_somebody_asks_for_it(self):
        code = (
            "import sys, bnlint.source\n"
            "before = 'bnlint.source.engine' in sys.modules\n"
            "from bnlint.source import analyse\n"
            "print(before, 'bnlint.source.engine' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", "True"]

    def test_it_has_two_names(self):
        assert bnlint.source.analyse is engine.analyse
        assert bnlint.source.Analysis is engine.Analysis
        with pytest.raises(AttributeError, match="has no attribute 'other'"):
            bnlint.source.other  # noqa: B018


def test_columns_count_characters(tmp_path):
    file = tmp_path / "wide.py"
    file.write_text(
        "from torch import nn\n\nbn = ('größer', nn.BatchNorm2d(8, eps=0.9))  # 日本\n", encoding="utf-8"
    )
    (layer,) = analyse([file]).facts.norms
    assert (layer.where.row, layer.where.column, layer.where.end_column) == (3, 17, 43)
    assert layer.arguments["eps"].where.column == 39


class TestHalves:
    """Many items are shared with a second process: nothing but the time may tell."""

    ITEMS = tuple(range(MANY + 1))

    def test_results_keep_the_order_of_the_items(self, monkeypatch):
        monkeypatch.setattr(halves, "can_fork", lambda: True)
        pids = divided(self.ITEMS, lambda item: (item, os.getpid()), lambda _: None)
        assert [item for item, _ in pids] == list(self.ITEMS)
        assert len({pid for _, pid in pids}) == 2

    def test_what_a_child_fails_at_is_done_here(self, monkeypatch):
        def work(item):
            assert os.getpid() == parent
            return item

        parent = os.getpid()
        monkeypatch.setattr(halves, "can_fork", lambda: True)
        assert divided(self.ITEMS, work, lambda _: None) == list(self.ITEMS)

    def test_many_files_are_analysed_as_few_are(self, tmp_path, monkeypatch):
        texts = {f"m{n}": NORM.format(eps=0.5) if n % 3 else "x = = 1\n" for n in range(MANY)}
        monkeypatch.setattr(halves, "can_fork", lambda: True)
        shared = analysed(tmp_path, **texts)
        monkeypatch.setattr(halves, "can_fork", lambda: False)
        assert analysed(tmp_path, **texts) == shared
        assert len(shared.faults) == len(range(0, MANY, 3))
