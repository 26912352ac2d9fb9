"""The fixtures of the rules: exactly what their comments expect, and silence on every other line.

`fixtures/<module of the rule>/` holds files that are linted one at a time and folders that are
linted as one project. Those of rules about home-made layers hold layers, which are compared with the
reference; the expectation stands at the class. Those of rules that only the run engine knows hold models, which
are checked; the expectation stands where the layer is built. `# expect: BN301` stands on the line on which a
finding begins; several codes are separated by commas. What begins with `bad_` expects the rule, and what begins with `good_`
expects nothing of any rule.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import bnlint
import bnlint.rules

sys.path.insert(0, str(Path(__file__).parent))
import homemade
import live

FIXTURES = Path(__file__).parent.parent / "fixtures"
RULES = sorted(info.name for info in pkgutil.iter_modules(bnlint.rules.__path__))
NO_TORCH = importlib.util.find_spec("torch") is None
EXPECT = re.compile(r"#\s*expect:\s*(BN\d{3}(?:\s*,\s*BN\d{3})*)\s*$")


def sources(case: Path) -> list[Path]:
    return sorted(case.rglob("*.py")) if case.is_dir() else [case]


def cases(kind: str = "", rule: str = "*") -> list[Path]:
    found = (path for folder in FIXTURES.glob(rule) for path in folder.glob(f"{kind}*"))
    return sorted(path for path in found if path.suffix == ".py" or (path.is_dir() and sources(path)))


def expected(case: Path) -> set[tuple[str, int, str]]:
    return {
        (str(path.relative_to(FIXTURES)), row, code.strip())
        for path in sources(case)
        for row, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (comment := EXPECT.search(line))
        for code in comment[1].split(",")
    }


def of_layers(case: Path) -> bool:
    """Does the case hold layers that are to be run?"""
    return homemade.of_layers(case.parent.name)


def of_models(case: Path) -> bool:
    """Does the case hold a model that is to be run?"""
    return live.of_models(case.parent.name)


def places(findings) -> set[tuple[str, int, str]]:
    return {
        (str(Path(f.where.filename).resolve().relative_to(FIXTURES)), f.where.row, f.code) for f in findings
    }


def name(case: Path) -> str:
    return str(case.relative_to(FIXTURES))


@pytest.mark.parametrize(
    "case", [case for case in cases() if not of_layers(case) and not of_models(case)], ids=name
)
def test_findings_are_exactly_the_expected_ones(case):
    report = bnlint.lint([case], isolated=True)
    assert places(report.findings) == expected(case)
    assert not report.skipped


@pytest.mark.skipif(NO_TORCH, reason="layers are run, and torch is not installed")
@pytest.mark.parametrize("case", [case for case in cases() if of_layers(case)], ids=name)
def test_layers_differ_exactly_as_expected(case):
    reports = [bnlint.conforms(layer) for layer in homemade.layers(case)]
    assert reports
    assert places(finding for report in reports for finding in report) == expected(case)
    assert any(not report.checked and report.skipped for report in reports) == (case.stem == "good_unknown")


@pytest.mark.skipif(NO_TORCH, reason="models are run, and torch is not installed")
@pytest.mark.parametrize("case", [case for case in cases() if of_models(case)], ids=name)
def test_models_have_exactly_the_expected_bugs(case):
    assert places(live.findings(case)) == expected(case)


@pytest.mark.parametrize("rule", RULES)
class TestEachRule:
    def test_has_bad_good_and_unknown_fixtures(self, rule):
        assert cases("bad_", rule)
        assert (FIXTURES / rule / "good_unknown.py").is_file()
        assert len(cases("good_", rule)) >= len(cases("bad_", rule))
        assert len(cases("", rule)) == len(cases("bad_", rule)) + len(cases("good_", rule))

    def test_is_what_its_bad_fixtures_expect(self, rule):
        code = rule.partition("_")[0].upper()
        assert all(code in {found for *_, found in expected(case)} for case in cases("bad_", rule))

    def test_is_not_what_its_good_fixtures_expect(self, rule):
        assert not any(expected(case) for case in cases("good_", rule))


def test_every_folder_belongs_to_a_rule():
    assert sorted(path.name for path in FIXTURES.iterdir() if path.is_dir()) == RULES


def test_every_comment_is_understood():
    for case in cases():
        for path in sources(case):
            comments = [
                line
                for line in path.read_text(encoding="utf-8").splitlines()
                if "expect" in line.partition("#")[2]
            ]
            assert all(EXPECT.search(line) for line in comments), path


@pytest.mark.parametrize(
    ("case", "severity", "confidence"),
    [
        ("bn101_missing_eval/bad_validate_no_grad.py", "error", "high"),
        ("bn101_missing_eval/bad_dropout_only.py", "warning", "high"),
        ("bn101_missing_eval/bad_dropout_and_another_norm.py", "warning", "high"),
        ("bn101_missing_eval/bad_unproved_batchnorm.py", "error", "medium"),
        ("bn102_stuck_in_eval/bad_evaluate_helper.py", "error", "high"),
        ("bn102_stuck_in_eval/bad_dropout_only.py", "warning", "high"),
        ("bn203_bias_before_batchnorm/bad_attributes.py", "info", "high"),
        ("bn301_tiny_batch/bad_argparse.py", "warning", "high"),
        ("bn402_statistics_not_loaded/bad_ignored_result.py", "info", "medium"),
        ("bn402_statistics_not_loaded/bad_filter.py", "error", "high"),
    ],
)
def test_how_grave_and_how_sure_a_finding_is(case, severity, confidence):
    report = bnlint.lint([FIXTURES / case], isolated=True)
    assert {(f.severity, f.confidence) for f in report.findings} == {(severity, confidence)}
