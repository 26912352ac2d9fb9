"""Every demonstration: its claim holds on all seeds, what it shows can be drawn, and the rules' pages show it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError

import pytest
from click.testing import CliRunner

import bnlint
from bnlint.cli import app
from bnlint.conformity import ENGINE
from bnlint.demonstration import DEMONSTRATED, SEEDS, Demonstration
from bnlint.pictures import terminal
from bnlint.rule import all_rules

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parent))
import demonstrated

from bnlint.reference import basics, laboratory
from bnlint.reference.laboratory import opened, perform

SHOWN = all_rules()
SUBJECTS = {"basics": basics.demonstrate, **{rule.code: rule.demonstrate for rule in SHOWN}}
BENEFITS = ["learning-rates", "initialisation", "noise"]
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


def test_every_rule_is_demonstrated():
    assert [rule.code for rule in SHOWN if not rule.demonstrate] == []


@pytest.mark.parametrize("rule", SHOWN, ids=lambda rule: rule.code)
def test_its_numbers_are_those_on_the_page_of_the_rule(rule):
    kept = json.loads(Path(DEMONSTRATED).read_text(encoding="utf-8"))
    assert demonstrated.same(kept[rule.code], done(rule.code).numbers), "run python tests/demonstrated.py"


@pytest.mark.parametrize(
    "rule", [rule for rule in SHOWN if ENGINE in rule.engines], ids=lambda rule: rule.code
)
def test_a_home_made_layer_that_is_shown_has_the_fault_of_its_rule_alone(rule):
    module = import_module(f"bnlint.rules.{rule.code.lower()}_{rule.name.replace('-', '_')}")
    with opened() as lab:
        report = bnlint.conforms(module._homemade(lab))
    assert [finding.code for finding in report.findings] == [rule.code]
    assert not report.skipped


def test_a_home_made_layer_with_no_step_done_wrong_is_right():
    with opened() as lab:
        report = bnlint.conforms(lab.HomeMade)
    assert not report.findings
    assert not report.skipped


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

    def test_has_images_with_a_colour_for_each_channel(self):
        with opened() as lab:
            assert lab.images(4).shape == (4, 3, 8, 8)
            plain = lab.images(200, size=2, spread=0.0)
            colours = plain[:, :, 0, 0]
            assert torch.equal(plain, colours[:, :, None, None].expand(200, 3, 2, 2))
            assert colours.mean().abs() < 0.2
            assert 0.9 < colours.std() < 1.1
            assert torch.corrcoef(colours.T).triu(1).abs().max() < 0.3
            inside = lab.images(50, size=16, spread=3.0).var((2, 3))
            assert inside.sqrt().mean().item() == pytest.approx(3, rel=0.05)

    @pytest.mark.parametrize("size", [2, 8, 32])
    def test_knows_how_far_the_mean_of_a_batch_is_off(self, size):
        """The deviation of a mean of n values is the root of 1/n."""
        with opened() as lab:
            assert lab.error_of_mean(size) == pytest.approx(size**-0.5, rel=0.1)
            assert lab.error_of_mean(size, batches=2, channels=4000) == pytest.approx(size**-0.5, rel=0.05)

    def test_rereads_what_it_has_saved(self):
        with opened() as lab:
            net = lab.classifier()
            lab.train(net, *lab.blobs(64), steps=3)
            state = net.state_dict()
            again = lab.reread(state)
            assert list(again) == list(state)
            assert all(torch.equal(again[key], state[key]) for key in state)
            kept = again["1.running_mean"].clone()
            net[1].running_mean.add_(1)
            assert torch.equal(again["1.running_mean"], kept)
            with pytest.raises(UnpicklingError):
                lab.reread(net)

    def test_trains(self):
        with opened() as lab:
            inputs, targets = lab.blobs(200, spread=0.3)
            net = lab.classifier()
            losses = lab.train(net, inputs, targets, steps=60)
            assert len(losses) == 60
            assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
            assert net[1].num_batches_tracked == 60


class TestCommand:
    """`bnlint demo`, mostly with the demonstration that is the quickest."""

    def run(self, *arguments, **options):
        return CliRunner().invoke(app, ["demo", *arguments], **options)

    def test_shows_all_of_it(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        result = self.run("basics", "--no-color")
        assert result.exit_code == 0
        shown = done("basics")
        said = " ".join(result.stdout.split())
        for text in (shown.setting, f"✓ {shown.claim}", shown.picture.title, shown.rows[1].right):
            assert text in said
        assert max(map(len, result.stdout.splitlines())) <= 80
        assert "\x1b" not in result.stdout
        assert not result.stderr

    def test_colours_wrong_and_right(self):
        assert "\x1b[" in self.run("basics", "--color", color=True).stdout

    @pytest.mark.parametrize("name", ["BN404", "bn404", "momentum-convention", "Momentum-Convention"])
    def test_knows_codes_and_names(self, name, monkeypatch):
        monkeypatch.setattr(laboratory, "perform", lambda _demonstrate, _seed: done("BN404"))
        result = self.run(name)
        assert result.exit_code == 0
        assert result.stdout.startswith("BN404 momentum-convention\n")

    @pytest.mark.parametrize("name", BENEFITS)
    def test_knows_what_belongs_to_a_topic(self, name, monkeypatch):
        pytest.importorskip("sklearn")
        monkeypatch.setattr(laboratory, "perform", lambda _demonstrate, _seed: done("basics"))
        assert self.run(name).stdout.startswith(f"{name}\n")
        assert f"\n\n{name}\n" in "\n\n" + self.run("benefits").stdout

    def test_shows_everything_without_a_name(self, monkeypatch):
        pytest.importorskip("sklearn")
        monkeypatch.setattr(laboratory, "perform", lambda _demonstrate, _seed: done("basics"))
        heads = [block.split("\n")[0] for block in self.run().stdout.split("\n\n")]
        expected = ["basics", *(f"{rule.code} {rule.name}" for rule in SHOWN), *BENEFITS]
        assert [head for head in heads if head in expected] == expected

    def test_passes_the_seed_on(self, monkeypatch):
        seeds = []
        monkeypatch.setattr(
            laboratory, "perform", lambda _demonstrate, seed: seeds.append(seed) or done("basics")
        )
        self.run("basics")
        self.run("basics", "--seed", "7")
        assert seeds == [0, 7]

    def test_a_claim_that_does_not_hold_is_an_error(self, monkeypatch):
        wrong = replace(done("basics"), holds=False)
        monkeypatch.setattr(laboratory, "perform", lambda _demonstrate, _seed: wrong)
        result = self.run("basics")
        assert result.exit_code == 1
        assert "✗ This does not hold: The variance" in result.stdout
        assert result.stderr == "bnlint: basics: the claim does not hold\n"

    def test_names_the_nearest(self):
        result = self.run("missing-evil")
        assert result.exit_code == 2
        assert 'nothing is called "missing-evil", the nearest is "missing-eval"' in result.stderr

    def test_writes_files(self, tmp_path):
        pytest.importorskip("matplotlib")
        plot, page = tmp_path / "plot.PNG", tmp_path / "page.html"
        result = self.run("basics", "--plot", str(plot), "--html", str(page))
        assert result.exit_code == 0
        assert plot.read_bytes().startswith(b"\x89PNG")
        text = page.read_text(encoding="utf-8")
        assert done("basics").claim in text
        assert "seed 0" in text
        assert result.stderr == f"bnlint: wrote {plot}\nbnlint: wrote {page}\n"

    def test_refuses_other_pictures_before_it_runs(self, tmp_path):
        result = self.run("basics", "--plot", str(tmp_path / "plot.gif"))
        assert result.exit_code == 2
        assert ".png or .svg" in result.stderr
        assert not result.stdout

    def test_says_what_cannot_be_written(self, tmp_path):
        pytest.importorskip("matplotlib")
        result = self.run("basics", "--plot", str(tmp_path / "nowhere" / "plot.png"))
        assert result.exit_code == 2
        assert "cannot be written: No such file or directory" in result.stderr

    @pytest.mark.parametrize("package", ["torch", "matplotlib", "sklearn"])
    def test_says_what_is_missing(self, package, monkeypatch, tmp_path):
        monkeypatch.setattr("bnlint.cli.demo._is_there", lambda name: name != package)
        result = self.run("benefits", "--html", str(tmp_path / "page.html"))
        assert result.exit_code == 2
        assert f'need {package}: pip install "bnlint[demo]"' in result.stderr
        assert not result.stdout

    def test_does_without_signs_that_cannot_be_shown(self):
        process = subprocess.run(
            [sys.executable, "-m", "bnlint", "demo", "basics"],
            env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"},
            capture_output=True,
            check=True,
        )
        text = process.stdout.decode("ascii")
        assert "+ The variance" in text
        assert "===" in text
        assert "\\u" not in text


def test_the_benefits_are_measured():
    """Once: they take seconds, and are no rule's."""
    pytest.importorskip("sklearn")
    from bnlint.reference import benefits

    for subject in benefits.SUBJECTS:
        shown = perform(subject.demonstrate)
        assert shown.holds, shown.claim
        assert "onfirmed: " in shown.claim
        assert all("±" in cell for row in shown.rows for cell in (row.wrong, row.right))
    assert [subject.name for subject in benefits.SUBJECTS] == BENEFITS


def test_the_laboratory_knows_how_many_are_right():
    with opened() as lab:
        answers = lab.torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
        assert lab.accuracy(torch.nn.Identity(), answers, lab.torch.tensor([0, 1, 1, 0])) == 0.75
