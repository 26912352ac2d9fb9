"""Every demonstration: its claim holds on all seeds, what it shows can be drawn, and the rules' pages show it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bnlint.demonstration import DEMONSTRATED, SEEDS, Demonstration
from bnlint.pictures import terminal
from bnlint.rule import all_rules

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parent))
import demonstrated

from bnlint.reference import basics
from bnlint.reference.laboratory import opened, perform

SHOWN = [rule for rule in all_rules() if rule.demonstrate]
SUBJECTS = {"basics": basics.demonstrate, **{rule.code: rule.demonstrate for rule in SHOWN}}
EACH = pytest.mark.parametrize("name", SUBJECTS)
DONE: dict[tuple[str, int], Demonstration] = {}


def done(name: str, seed: int = 0) -> Demonstration:
    """Each is run once for all tests."""
    if (name, seed) not in DONE:
        DONE[name, seed] = perform(SUBJECTS[name], seed)
    return DONE[name, seed]


@EACH
class TestEach:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_claims_what_holds(self, name, seed):
        assert done(name, seed).holds, done(name, seed).claim

    def test_has_numbers_in_its_claim_and_in_every_row(self, name):
        shown = done(name)
        assert demonstrated.NUMBER.search(shown.claim)
        assert shown.claim.endswith(".")
        assert shown.setting.endswith((".", "?"))
        assert len(shown.rows) >= 1
        for row in shown.rows:
            assert row.label
            assert row.right
        assert len({row.label for row in shown.rows}) == len(shown.rows)

    def test_has_a_picture_of_both_sides(self, name):
        picture = done(name).picture
        assert {"wrong", "right"} <= {one.side for one in picture.series} <= {"wrong", "right", "truth"}
        assert picture.title
        assert picture.x
        assert picture.y
        if picture.kind == "bars":
            assert all(len(one.y) == len(picture.categories) for one in picture.series)
            assert not any(one.x for one in picture.series)
        else:
            assert not picture.categories
            assert all(len(one.points) >= 2 for one in picture.series)
        assert all(isinstance(value, (int, float)) for one in picture.series for value in (*one.x, *one.y))

    @pytest.mark.parametrize("columns", [60, 80, 100])
    def test_fits_into_the_terminal(self, name, columns):
        shown = done(name)
        lines = terminal.render(shown.picture, columns).splitlines()
        lines += terminal.table(shown, columns)
        assert max(map(len, lines)) <= columns


@pytest.mark.parametrize("rule", SHOWN, ids=lambda rule: rule.code)
def test_its_numbers_are_those_on_the_page_of_the_rule(rule):
    kept = json.loads(Path(DEMONSTRATED).read_text(encoding="utf-8"))
    assert demonstrated.same(kept[rule.code], done(rule.code).numbers), "run python tests/demonstrated.py"


def test_no_other_numbers_are_kept():
    assert set(json.loads(Path(DEMONSTRATED).read_text(encoding="utf-8"))) == {rule.code for rule in SHOWN}


class TestBasics:
    """The numbers of the worked example, which some texts print wrongly."""

    def test_variance_of_the_third_feature_is_331(self):
        assert torch.tensor(basics.BATCH, dtype=torch.float64)[:, 2].var(unbiased=False).item() == 331.25
        assert "331.25" in done("basics").claim
        assert "420" in done("basics").claim

    def test_deviation_of_the_second_feature_is_a_third(self):
        layer = torch.nn.BatchNorm1d(3, dtype=torch.float64)
        out = layer(torch.tensor(basics.BATCH, dtype=torch.float64))
        assert out.std(dim=0, unbiased=False)[1].item() == pytest.approx(1 / 3, abs=5e-4)
        assert "0.333" in done("basics").claim

    def test_means_and_variances(self):
        cells = {row.label: (row.wrong, row.right) for row in done("basics").rows}
        assert [cells[f"mean of feature {i}"][1] for i in (1, 2, 3)] == ["125", "0.0025", "52.5"]
        assert [cells[f"variance of feature {i}"][1].split()[0] for i in (1, 2, 3)] == [
            "3125",
            "1.25e-06",
            "331.25",
        ]


class TestLaboratory:
    def test_leaves_no_mark(self):
        torch.manual_seed(3)
        threads = torch.get_num_threads()
        expected = torch.rand(3)
        torch.manual_seed(3)
        with opened(1) as lab:
            lab.torch.rand(5)
            assert torch.get_default_dtype() == torch.float64
            assert torch.get_num_threads() == 1
            torch.set_grad_enabled(False)
        assert torch.get_default_dtype() == torch.float32
        assert torch.is_grad_enabled()
        assert torch.get_num_threads() == threads
        assert torch.equal(torch.rand(3), expected)

    def test_draws_by_its_seed_alone(self):
        with opened(1) as lab:
            first = torch.rand(3)
            lab.restart()
            assert torch.equal(torch.rand(3), first)
        with opened(1):
            assert torch.equal(torch.rand(3), first)
        with opened(2):
            assert not torch.equal(torch.rand(3), first)

    def test_has_blobs_of_classes_that_are_equally_large(self):
        with opened() as lab:
            inputs, targets = lab.blobs(30, classes=3, features=5, spread=0.0)
            assert inputs.shape == (30, 5)
            assert targets.bincount().tolist() == [10, 10, 10]
            assert len({tuple(point) for point in inputs.tolist()}) == 3

    def test_trains(self):
        with opened() as lab:
            inputs, targets = lab.blobs(200, spread=0.3)
            net = lab.classifier()
            losses = lab.train(net, inputs, targets, steps=60)
            assert len(losses) == 60
            assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
            assert net[1].num_batches_tracked == 60


def test_a_claim_that_does_not_hold_is_an_error(monkeypatch, capsys):
    import click.testing

    from bnlint.cli import app

    right = done("basics")
    monkeypatch.setattr(basics, "demonstrate", lambda _lab: replace(right, holds=False))
    result = click.testing.CliRunner().invoke(app, ["demo", "basics"])
    assert result.exit_code == 1
    assert "does not hold" in result.output
    monkeypatch.undo()
    result = click.testing.CliRunner().invoke(app, ["demo", "basics"])
    assert result.exit_code == 0
    assert "does not hold" not in result.output
