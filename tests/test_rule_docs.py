"""The documentation of each rule: complete, and true when bnlint itself reads its examples."""

from __future__ import annotations

import re
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest

import bnlint
from bnlint.finding import SEVERITIES
from bnlint.rule import HEADINGS, Rule, all_rules

sys.path.insert(0, str(Path(__file__).parent))
import homemade
import live

RULES = pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.code)
MARKS = "SRWCH"


def example(rule: Rule, heading: str) -> str:
    return textwrap.dedent(rule.section(heading)) + "\n"


def findings(rule: Rule, heading: str, folder):
    path = folder / f"{heading.lower()}.py"
    path.write_text(example(rule, heading), encoding="utf-8")
    if "H" in rule.engines:
        pytest.importorskip("torch")
        return homemade.findings(path)
    if live.of_models(rule.code.lower()):
        pytest.importorskip("torch")
        return live.findings(path)
    return bnlint.lint([path], isolated=True).findings


@RULES
class TestEachRule:
    def test_has_a_summary_of_one_sentence(self, rule):
        assert re.fullmatch(r"[A-Z`].{10,90}[^.]\.", rule.summary)
        assert rule.doc.strip().splitlines()[1] == ""

    def test_has_all_headings_in_their_order(self, rule):
        lines = rule.doc.strip().splitlines()
        underlined = [(above, below) for above, below in pairwise(lines) if re.fullmatch("-{3,}", below)]
        assert tuple(heading for heading, _ in underlined) == HEADINGS
        assert all(len(heading) == len(line) for heading, line in underlined)
        assert all(rule.section(heading).strip() for heading in HEADINGS)

    def test_refers_to_something_to_read(self, rule):
        assert re.search(r"https://\S+", rule.section("References"))

    def test_has_a_known_severity_and_known_engines(self, rule):
        assert rule.severity in SEVERITIES
        assert rule.engines == "".join(mark for mark in MARKS if mark in rule.engines) != ""

    @pytest.mark.parametrize("heading", ["Bad", "Good"])
    def test_has_examples_that_are_modules(self, rule, heading):
        compile(example(rule, heading), heading, "exec")
        assert "import" in example(rule, heading)

    def test_finds_its_bad_example_and_nothing_else(self, rule, tmp_path):
        assert {finding.code for finding in findings(rule, "Bad", tmp_path)} == {rule.code}

    def test_finds_nothing_in_its_good_example(self, rule, tmp_path):
        assert not findings(rule, "Good", tmp_path)
