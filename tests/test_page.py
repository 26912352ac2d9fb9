"""The page of a report: its structure, that it needs nothing else, and that nothing of the user's breaks it."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from findings import FINDINGS, TINY, VIEWS
from hypothesis import given
from hypothesis import strategies as st
from runs import EVAL, LAYERS, LIVE, LIVE_VIEW, SHIFTED, TINIES, report

from bnlint.finding import Fix, Where
from bnlint.pictures import markup
from bnlint.report import Report, load

VOID = {"meta", "path", "use", "br"}
LOADS = {"src", "srcset", "poster", "data", "background", "action", "formaction"}


class Page(HTMLParser):
    """The elements of a page: which are open where text stands, and what they name."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.attributes, self.said = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append((tuple(self.open), data))

    def note(self, tag, attrs):
        self.attributes += [name for name, _ in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [(tag, value) for name, value in attrs if name in {"href", "xlink:href"}]

    def text(self, tag):
        """What is said inside elements of this name."""
        return " ".join("".join(data for tags, data in self.said if tag in tags).split())


def assert_needs_nothing_else(text, page):
    assert not LOADS & set(page.attributes)
    assert not [name for name in page.attributes if name.startswith("on")]
    assert not re.search(r"@import|url\((?!#)|<script|<link|<iframe|<base", text)
    for tag, link in page.links:
        if tag == "a":
            assert link.startswith(("#", "https://", "http://"))
        else:
            assert link.startswith("#")


def with_pictures(function):
    """A test that looks at pictures."""
    return pytest.mark.usefixtures("matplotlib")(function)


@pytest.fixture
def matplotlib():
    pytest.importorskip("matplotlib")


@pytest.fixture
def no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


class TestPage:
    def test_is_well_formed_and_needs_nothing_else(self):
        text = report().to_html()
        page = Page(text)
        assert_needs_nothing_else(text, page)
        assert len(page.ids) == len(set(page.ids))
        assert (
            {link[1:] for tag, link in page.links if tag == "a" and link[0] == "#"}
            == {
                "BN101",
                "BN408",
                "BN301",
            }
            <= set(page.ids)
        )

    def test_has_a_section_for_each_rule(self):
        severities = [replace(EVAL, severity="info"), *LIVE]
        page = Page(report(severities).to_html())
        heads = [data for tags, data in page.said if tags[-1:] == ("h2",) and data.strip()]
        assert heads == [
            "Not looked at",
            "BN101 missing-eval ",
            "BN408 stale-statistics ",
            "BN301 tiny-batch ",
        ]

    def test_names_all_layers_and_the_numbers_of_each(self):
        page = Page(report(TINIES).to_html())
        assert "53 layers: bn1 … layer4.2.bn3" in page.text("section")
        cells = page.text("details")
        for layer, one in zip(LAYERS, TINIES, strict=True):
            assert f"{layer} {one.measured['values']} 16 ".replace(" ", "") in cells.replace(" ", "")

    def test_names_all_layers_where_nothing_was_measured(self):
        page = Page(report([replace(one, measured=None) for one in TINIES]).to_html())
        assert all(layer in page.text("details") for layer in LAYERS)

    def test_says_what_it_is_about(self):
        page = Page(report([*LIVE, TINY]).to_html())
        said = page.text("body")
        for part in (
            "Found 6 errors, 54 warnings in 53 layers.",
            "head.bn: never called in 8 batches",
            "the model is built here",
            "def __init__(self, width):",
            "medium confidence",
            "(layer1.1.bn1, the worst of 5)",
            "Training batches are too small for BatchNorm.",
            "A loader with fewer than 16 samples.",
            "Made by bnlint 1.2.3 (Python ",
        ):
            assert part in said, part
        assert "self.bn = nn.BatchNorm2d(width) | ^^^^^^^^^^" in page.text("pre")
        assert "DataLoader(data, batch_size=2)" in page.text("pre")

    @with_pictures
    def test_shows_pictures_of_the_worst(self):
        text = report(SHIFTED).to_html()
        shown = re.findall(r'<svg role="img" aria-label="([^"]*)"', text)
        assert shown == [f"Means of {one.where.module}: running_mean over mean" for one in SHIFTED[:1:-1]]
        assert "… and 2 more; these are the worst." in text
        assert "var(--wrong)" in text
        assert "matplotlib" not in text

    def test_says_what_pictures_need(self, no_matplotlib):
        text = report(SHIFTED).to_html()
        assert 'Pictures need matplotlib: pip install "bnlint[demo]"' in Page(text).text("body")
        assert "<svg" not in text
        assert "layer1.1.bn1 5 0.5" in " ".join(data for _, data in Page(text).said)
        assert "matplotlib" not in report(TINIES).to_html()

    def test_findings_of_source_have_their_lines_and_their_places(self):
        some = [replace(TINY, where=replace(TINY.where, row=row)) for row in (1, 3, 4, 6)]
        page = Page(Report(tuple(some), (), 2, LIVE_VIEW).to_html())
        assert "4 places" in page.text("p")
        assert "src/a b.py:6" in page.text("details")
        assert page.text("ol").count("batch_size is 1") == 3

    def test_numbers_of_what_is_no_layer_are_those_of_a_place(self):
        page = Page(report([replace(TINY, measured={"difference": 0.5})]).to_html())
        assert "placedifferencesrc/ab.py:40.5" in page.text("table").replace(" ", "")

    def test_shows_fixes(self):
        assert "fix (safe): Use <8> samples." in Page(
            report([replace(TINY, fix=Fix("safe", "Use <8> samples.", ()))]).to_html()
        ).text("body")

    def test_is_a_page_also_where_nothing_was_found(self):
        page = Page(Report((), (), 3, LIVE_VIEW).to_html())
        assert "All clear: 3 files checked." in page.text("body")
        assert not page.text("section")

    def test_is_written_to_a_file(self, tmp_path: Path):
        text = report([TINY]).to_html(tmp_path / "page.html")
        assert (tmp_path / "page.html").read_text(encoding="utf-8") == text
        assert os.listdir(tmp_path) == ["page.html"]
        with pytest.raises(FileNotFoundError):
            report([TINY]).to_html(tmp_path / "none" / "page.html")

    def test_knows_light_and_dark_and_paper(self):
        assert "prefers-color-scheme: dark" in markup.STYLE
        assert "@media print" in markup.STYLE
        assert 'name="viewport"' in report().to_html()

    def test_is_an_output_format(self):
        assert load("html").render([TINY], LIVE_VIEW).startswith("<!doctype html>")


EVIL = '</p></style><script>alert("1")</script><img src=x onerror=y> & `<b>` $x$ \x1b[31m \u202e'


class TestHostileNames:
    def test_are_text(self):
        evil = replace(
            SHIFTED[0],
            message=EVIL,
            where=Where(f"/checkout/{EVIL}.py", 1, module=EVIL),
            measured={EVIL: 1.0},
            picture=replace(SHIFTED[0].picture, title=EVIL, x=EVIL, y=EVIL),
            evidence=(replace(EVAL.evidence[0], message=EVIL),),
            fix=Fix("safe", EVIL, ()),
        )
        view = replace(LIVE_VIEW, lines=lambda _: [EVIL], version="<1>")
        text = Report(
            (evil, replace(evil, where=replace(evil.where, module="b"))), (EVIL,), 1, view
        ).to_html()
        page = Page(text)
        assert_needs_nothing_else(text, page)
        assert "<img" not in text
        assert "\x1b" not in text
        assert page.text("body").count('<script>alert("1")</script>') >= 8

    @given(st.lists(FINDINGS, max_size=4), VIEWS, st.lists(st.text(max_size=9), max_size=2))
    def test_and_texts_of_all_kinds_leave_the_page_whole(self, findings, view, skipped):
        text = Report(tuple(findings), tuple(skipped), 1, view).to_html()
        page = Page(text)
        assert_needs_nothing_else(text, page)
        assert {one.code for one in findings} == set(page.ids)


class TestNotebook:
    def test_shows_the_same_as_an_element(self):
        text = report()._repr_html_()
        page = Page(text)
        assert_needs_nothing_else(text, page)
        assert text.startswith('<div class="bnlint"><style>')
        assert text.count("<style") == 1
        assert not [name for name in page.ids if name.startswith("BN")]
        assert "53 layers: bn1 … layer4.2.bn3" in page.text("div")

    def test_its_style_reaches_nothing_else(self):
        rules = re.sub(r"/\*.*?\*/", "", markup.STYLE)
        depth, selectors, start = 0, [], 0
        for index, letter in enumerate(rules):
            if letter == "{":
                head = rules[start:index].strip()
                if depth == 0 and not head.startswith("@media"):
                    selectors.append(head)
                depth += not (depth == 0 and head.startswith("@media"))
                start = index + 1
            elif letter == "}":
                depth = max(depth - 1, 0)
                start = index + 1
        assert len(selectors) >= 6
        assert all(".bnlint" in one.split()[-1] for selector in selectors for one in selector.split(",")), (
            selectors
        )
