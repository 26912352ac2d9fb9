"""Findings of live models, as a table: one row for what 53 layers have in common."""

from __future__ import annotations

import math
import random
import re
import sys
import unicodedata
from dataclasses import replace

import pytest
from findings import FINDINGS, TINY, VIEWS
from hypothesis import given
from hypothesis import strategies as st
from runs import EVAL, LAYERS, LIVE, LIVE_VIEW, SHIFTED, TINIES, report, shifted, tiny

from bnlint.cli.terminal import paint
from bnlint.finding import Fix, Where
from bnlint.report import load
from bnlint.report._groups import grouped, measurements, named, span, worst

try:
    import rich
except ImportError:
    rich = None
NEEDS_RICH = pytest.mark.skipif(rich is None, reason="needs rich")


def table(findings, width=100, **changes):
    return load("table").render(findings, replace(LIVE_VIEW, width=width, **changes))


class TestGroups:
    def test_one_group_for_one_bug_in_all_layers(self):
        (group,) = grouped(TINIES)
        assert len(group.findings) == len(group.layers) == 53
        assert named(group.layers) == "bn1 … layer4.2.bn3"
        assert measurements(group) == "values 2 to 8, threshold 16"
        assert group.differ

    def test_the_gravest_come_first(self):
        assert [group.worst.code for group in grouped(LIVE)] == ["BN101", "BN408", "BN301"]

    @given(st.lists(FINDINGS))
    def test_no_finding_is_lost_or_comes_twice(self, findings):
        groups = grouped(findings)
        inside = [id(one) for group in groups for one in group.findings]
        assert sorted(inside) == sorted(map(id, findings))
        for group in groups:
            assert len({(one.code, one.name, one.severity, one.confidence) for one in group.findings}) == 1
            if not group.layers:
                assert not group.differ

    @given(st.randoms(use_true_random=False))
    def test_their_order_does_not_depend_on_that_of_the_findings(self, chance: random.Random):
        mixed = list(LIVE)
        chance.shuffle(mixed)
        assert [group.findings for group in grouped(mixed)] == [group.findings for group in grouped(LIVE)]

    def test_layers_are_in_the_order_of_their_numbers(self):
        (group,) = grouped([tiny(f"block.{number}.bn", 2) for number in (10, 9, 2, 0)])
        assert group.layers == ("block.0.bn", "block.2.bn", "block.9.bn", "block.10.bn")

    def test_what_says_something_else_is_another_group(self):
        other = [replace(one, message="Something else.") for one in TINIES[:2]]
        assert len(grouped([*TINIES, *other])) == 2
        assert len(grouped([TINY, replace(TINY, message="Each step sees 1 sample.")])) == 2
        assert len(grouped([TINY, replace(TINY, message="Each step sees 2 samples."), TINY])) == 2
        assert len(grouped([TINIES[0], replace(TINIES[1], severity="info")])) == 2
        assert len(grouped([TINIES[0], replace(TINIES[1], fix=Fix("safe", "Do.", ()))])) == 2

    def test_the_first_of_equals_is_not_the_worst(self):
        assert grouped(TINIES)[0].which == "worst"
        assert grouped([tiny(layer, 4) for layer in LAYERS])[0].which == "first"
        assert grouped([replace(one, measured=None) for one in TINIES])[0].which == "first"

    def test_the_threshold_comes_last(self):
        numbers = {"samples": 2, "threshold": 16, "values": 2}
        (group,) = grouped([replace(TINIES[0], measured=numbers)])
        assert measurements(group) == "samples 2, values 2, threshold 16"

    def test_the_worst_is_on_the_wrong_side_by_most(self):
        few = [tiny("a", 8), tiny("b", 2), tiny("c", 12)]
        assert [one.where.module for one in worst(few)] == ["b", "a", "c"]
        off = [shifted("a", 0.6), shifted("b", 9.0), shifted("c", math.nan), shifted("d", 3.0)]
        assert [one.where.module for one in worst(off)] == ["c", "b", "d", "a"]
        assert worst([EVAL, TINY]) == [EVAL, TINY]

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ([1, 1.0], "1"),
            ([3, 0.25], "0.25 to 3"),
            ([math.nan], "NaN"),
            ([math.nan, 2, math.inf], "2 to inf or NaN"),
            ([], ""),
        ],
    )
    def test_numbers_go_from_the_least_to_the_most(self, values, said):
        assert span(values) == said


def cells(text):
    """The rows of a table by rich, each with its cells as text without line breaks."""
    head, *lines = text.rstrip("\n").split("\n")
    starts = [head.index(name) for name in ("Rule", "Where", "What")]
    rows = [[[], [], []]]
    for line in lines[1:]:
        if set(line) == {"-"}:
            rows.append([[], [], []])
            continue
        for cell, first, last in zip(rows[-1], starts, [*starts[1:], None], strict=True):
            cell.append(line[first:last].strip())
    return [[" ".join(filter(None, cell)) for cell in row] for row in rows]


class TestTable:
    @NEEDS_RICH
    @pytest.mark.parametrize("width", [90, 100, 120, 200])
    def test_cells_stand_side_by_side_where_there_is_room(self, width):
        first, second, third = cells(table(LIVE, width))
        assert first == [
            "BN101 error missing-eval",
            "the model itself net.py:1",
            "The model is evaluated in train mode; call `model.eval()`.",
        ]
        assert second[0] == "BN408 error stale-statistics medium confidence"
        assert second[1] == "5 layers bn1 … layer1.1.bn1 net.py:3"
        assert second[2].startswith("The running mean of `layer1.1.bn1` is off by 5.0 standard deviations.")
        assert "(layer1.1.bn1, the worst of 5)" in second[2]
        assert "measured: shift 1 to 5, threshold 0.5" in second[2]
        assert third[:2] == ["BN301 warning tiny-batch", "53 layers bn1 … layer4.2.bn3 net.py:3"]

    @pytest.mark.parametrize("width", [60, 80])
    def test_cells_stand_below_each_other_where_there_is_none(self, width):
        first, second, third = table(LIVE, width).rstrip("\n").split("\n\n")
        assert first.splitlines()[:2] == ["error BN101 missing-eval", "  the model itself, net.py:1"]
        assert second.splitlines()[1] == "  5 layers, bn1 … layer1.1.bn1, net.py:3"
        assert "  medium confidence\n" in second
        assert third.startswith("warning BN301 tiny-batch\n  53 layers, bn1 … layer4.2.bn3, net.py:3\n")

    def test_without_rich_they_do_in_any_width(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "bnlint.report._columns", raising=False)
        monkeypatch.setitem(sys.modules, "rich.box", None)
        assert table(LIVE, 120).startswith("error BN101 missing-eval\n  the model itself, net.py:1\n")

    @pytest.mark.parametrize("width", [40, 60, 80, 90, 100, 130, 200])
    def test_fits(self, width):
        assert max(map(len, table(LIVE, width).splitlines())) <= width

    @pytest.mark.parametrize("width", [60, 100])
    def test_colours_change_nothing_else(self, width):
        painted = table(LIVE, width, paint=paint)
        assert "\x1b[31m\x1b[1merror" in painted or "\x1b[1;31merror" in painted
        plain = re.sub(r"\x1b\[[\d;]*m", "", painted)
        assert [line.rstrip() for line in plain.splitlines()] == table(LIVE, width).splitlines()
        assert "\x1b" not in table(LIVE, width)

    @pytest.mark.parametrize("width", [60, 100])
    def test_codes_lead_to_their_rule_where_links_do(self, width):
        linked = table(
            LIVE, width, link=lambda text, url: f"\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\" if url else text
        )
        assert re.findall(r"\x1b\]8;[^;]*;(file:[^\x1b]+)", linked) == ["file:///home/me/bn301_tiny_batch.py"]

    @pytest.mark.parametrize("width", [60, 100])
    def test_findings_of_source_name_their_places(self, width):
        some = [replace(TINY, where=Where(f"/checkout/{name}.py", 7)) for name in "abcdef"]
        text = " ".join(table(some, width).split())
        assert "a.py:7" in text
        assert "d.py:7" in text
        assert "e.py:7" not in text
        assert "and 2 places more" in text
        assert (
            table([replace(TINY, where=Where("/checkout/n.ipynb", 2, cell=3))], width).count(":cell 3:2") == 1
        )

    @pytest.mark.parametrize("width", [60, 100])
    def test_fixes_are_named(self, width):
        text = table([replace(TINY, fix=Fix("safe", "Use 8 samples.", ()))], width)
        assert "fix (safe): Use 8 samples." in text

    @pytest.mark.parametrize("width", [60, 100])
    def test_nothing_found_is_nothing_shown(self, width):
        assert table([], width) == ""

    @given(st.lists(FINDINGS, max_size=4), VIEWS, st.sampled_from([50, 100]))
    def test_nothing_reaches_the_terminal_raw(self, findings, view, width):
        text = load("table").render(findings, replace(view, width=width))
        assert not {unicodedata.category(letter) for letter in text.replace("\n", "")} & {"Cc", "Cf", "Cs"}


class TestReport:
    def test_layers_are_printed_as_a_table(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "70")
        text = str(report())
        assert "  53 layers, bn1 … layer4.2.bn3, net.py:3\n" in text
        assert text.endswith(
            "skipped: head.bn: never called in 8 batches\nFound 6 errors, 53 warnings in 53 layers."
        )
        assert max(map(len, text.splitlines())) <= 70

    def test_source_is_printed_in_full(self):
        assert "help: bnlint rule BN301" in str(report([TINY]))

    def test_is_short_where_it_is_not_printed(self):
        assert repr(report()) == "<Report: Found 6 errors, 53 warnings in 53 layers; 1 skipped>"
        assert repr(replace(report([]), checked=0)) == "<Report: 1 skipped>"
        assert repr(replace(report([]), skipped=())) == "<Report: All clear: 53 layers checked>"

    def test_is_neither_true_nor_false(self):
        for one in (report(), report([])):
            with pytest.raises(TypeError, match=r"ask for len\(report\), report.skipped or"):
                bool(one)
        assert len(report()) == len(LAYERS) + len(SHIFTED) + 1

    def test_raises_from_a_severity_on(self):
        from bnlint.report import FindingsError

        with pytest.raises(FindingsError, match="BN301"):
            report(TINIES).raise_for_findings()
        with pytest.raises(FindingsError, match="BN301"):
            report(TINIES).raise_for_findings("warning")
        report(TINIES).raise_for_findings("error")
        with pytest.raises(ValueError, match='"bad" is no severity: those are info, warning, error'):
            report(TINIES).raise_for_findings("bad")

    def test_raises_where_nothing_could_be_looked_at(self):
        from bnlint.report import FindingsError

        with pytest.raises(FindingsError, match=r"skipped: head\.bn"):
            replace(report([]), checked=0).raise_for_findings("error")


def test_a_line_names_the_layer():
    assert load("concise").render(TINIES[:1], LIVE_VIEW) == (
        "net.py:3:9: BN301 [warning] tiny-batch: layer bn1: "
        "`bn1` sees 2 values per channel; give it larger batches.\n"
    )
