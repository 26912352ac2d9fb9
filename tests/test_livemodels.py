"""The run engine on live models, sick and healthy: what has to be found is, nothing else, and no mark is left."""

from __future__ import annotations

import warnings
from itertools import islice

import pytest

torch = pytest.importorskip("torch")

from livemodels import all_cases
from livemodels.case import call
from livemodels.judge import judge, made
from livemodels.marks import changed, fingerprint
from torch import nn

from bnlint.rule import all_rules

CASES = all_cases()
RUN = {rule.code for rule in all_rules() if "R" in rule.engines}


@pytest.fixture(autouse=True)
def _one_thread():
    """Small models are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.raises])
def test_the_model_runs(name):
    """A label is fair only if the model does what its author meant; some batches of it, run plainly."""
    case = CASES[name]
    with warnings.catch_warnings(), case.around(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")
        model, loader = made(case)
        forward = case.keywords(model).get("forward", call)
        batches, broken = list(islice(loader, 4)), []
        for mode in ("train", "eval"):
            model.train(mode == "train")
            try:
                for batch in batches:
                    forward(model, batch)
            except (RuntimeError, ValueError):
                broken.append(mode)
    assert broken == case.broken.split()


def test_labels_name_rules_of_the_run_engine():
    labels = {
        code for case in CASES.values() for label in case.must for code in label.partition("@")[0].split("|")
    }
    assert labels <= RUN | {"BN406", "BN407", "BN408"}


def test_each_rule_is_asked_for_twice():
    asked = [label.partition("@")[0] for case in CASES.values() for label in case.must]
    rules = RUN - {"BN303"}  # which needs several devices
    assert {rule for rule in rules if sum(rule in label for label in asked) < 2} == set()


def test_marks_are_seen():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    net.extra = [nn.BatchNorm1d(2)]
    before = fingerprint(net)
    assert changed(before, fingerprint(net)) == []
    net.extra[0](torch.randn(4, 2))
    net[1].eval()
    assert [name.split(".")[-1] for name in changed(before, fingerprint(net))] == [
        "1", "running_mean", "running_var", "num_batches_tracked", "random numbers of torch",
    ]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_verdict(name):
    verdict = judge(CASES[name])
    assert verdict.crash == ""
    assert (verdict.missed, verdict.alarms, verdict.marks) == ([], [], [])
