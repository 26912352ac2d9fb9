"""Ways of drawing: axes with round numbers, plots in a terminal, files, and the page. None of them needs torch."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnlint.demonstration import Demonstration, Picture, Row, Series, Subject, percent
from bnlint.picture import against, distribution
from bnlint.pictures import scales, terminal

FINITE = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
LINES = Picture(
    "lines",
    "A loss",
    "step",
    "loss / bit",
    (
        Series("wrong", [0.0, 1.0, 2.0], name="rising"),
        Series("right", [2.0, 1.0, 0.0], name="falling"),
        Series("truth", [1.0, 1.0], x=[0, 2], name="level"),
    ),
)
SCATTER = Picture(
    "scatter",
    "Found over true",
    "true",
    "found",
    (Series("wrong", [3.0, 1.0], x=[1, 2]), Series("right", [1.0, 2.0], x=[1, 2])),
)
BARS = Picture(
    "bars",
    "Changed answers",
    "batch",
    "share in %",
    (Series("wrong", [50.0, 25.0], name="train"), Series("right", [0.0, 5.0], name="eval")),
    categories=("2", "32"),
)
HISTOGRAM = Picture(
    "histogram",
    "Outputs",
    "output / volt",
    "samples",
    (Series("wrong", [0.1, 0.2, 0.9, 5.0]), Series("right", [0.15, 0.15])),
)
LOGARITHMIC = Picture(
    "bars",
    "Gradients",
    "of",
    "size",
    (Series("wrong", [1e-5]), Series("right", [10.0])),
    ("bias",),
    logarithmic=True,
)
PICTURES = {one.title: one for one in (LINES, SCATTER, BARS, HISTOGRAM, LOGARITHMIC)}
EACH = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


class TestScales:
    @given(st.lists(FINITE, min_size=2))
    def test_holds_all_values(self, values):
        scale = scales.spanning(values)
        assert all(0 <= scale.share(value) <= 1 for value in values)
        assert scales.spanning(values, zero=True).least <= 0 <= scales.spanning(values, zero=True).most

    @given(st.lists(FINITE, min_size=2), st.integers(2, 9))
    def test_has_ticks_between_its_ends(self, values, number):
        scale = scales.spanning(values)
        ticks = scale.ticks(number)
        slack = 1e-6 * (scale.most - scale.least)
        assert all(scale.least - slack <= tick <= scale.most + slack for tick in ticks)
        assert len(ticks) <= number

    def test_has_round_ticks(self):
        assert scales.Scale(0, 10).ticks(5) == [0, 2.5, 5, 7.5, 10]
        assert scales.Scale(-0.3, 0.95).ticks(4) == pytest.approx([0, 0.5])
        assert scales.Scale(1e-5, 10, logarithmic=True).ticks(7) == pytest.approx(
            [10.0**n for n in range(-5, 2)]
        )
        assert scales.Scale(1e-5, 10, logarithmic=True).ticks(4) == pytest.approx([1e-5, 1e-3, 1e-1, 10])

    def test_passes_over_what_is_no_number(self):
        assert scales.spanning([math.nan, 1, math.inf, 3]) == scales.Scale(1, 3)
        assert scales.spanning([0, 20, 300], logarithmic=True) == scales.Scale(10, 1000, logarithmic=True)
        assert scales.spanning([100], logarithmic=True) == scales.Scale(100, 1000, logarithmic=True)

    def test_has_room_around_a_single_value(self):
        assert scales.spanning([2, 2]) == scales.Scale(1.5, 2.5)
        assert scales.spanning([]).least < scales.spanning([]).most

    @given(st.lists(st.lists(FINITE, min_size=1), min_size=1, max_size=3), st.integers(2, 30))
    def test_bins_hold_each_value_once(self, samples, number):
        borders = scales.edges(samples, number)
        assert borders == sorted(borders)
        assert 2 <= len(borders) <= number + 3
        for values in samples:
            assert sum(scales.counts(values, borders)) == len(values)

    def test_counts_from_the_lower_border_on(self):
        assert scales.counts([0, 0.5, 1, 1.9, math.nan], [0, 1, 2]) == [2, 2]


class TestTerminal:
    @EACH
    @pytest.mark.parametrize("columns", [40, 60, 80, 120])
    def test_fits(self, picture, columns):
        assert max(map(len, terminal.render(picture, columns).splitlines())) <= columns

    @EACH
    def test_names_its_axes_and_its_sides(self, picture):
        text = terminal.render(picture, 80)
        assert text.startswith(picture.title)
        assert picture.x in text
        assert picture.y in text
        assert all(one.label in text for one in picture.series)

    @EACH
    def test_colours_change_nothing_else(self, picture):
        painted = terminal.render(picture, 80, lambda text, _style: f"\x1b[1m{text}\x1b[0m")
        assert re.sub(r"\x1b\[\dm", "", painted).split() == terminal.render(picture, 80).split()

    def test_draws_lines(self):
        rows = terminal.render(LINES, 40).splitlines()
        assert rows[1:3] == ["loss / bit:   x rising   o falling", "· level"]
        plane = [row for row in rows if row[4:5] in "┤│" and row[4:5]]
        assert len(plane) == terminal.HEIGHT
        assert plane[0].startswith("  2 ┤o")
        assert plane[0].endswith("x")
        assert plane[-1].startswith("  0 ┤x")
        assert plane[-1].endswith("o")
        assert plane[terminal.HEIGHT // 2].startswith("  1 ┤····")

    def test_does_not_join_what_is_scattered(self):
        text = terminal.render(SCATTER, 60).partition("\n")[2].partition("\n")[2]
        assert text.count("x") + text.count("o") <= 4 + len("found") + len("true")

    def test_draws_bars_as_long_as_their_values(self):
        rows = terminal.render(BARS, 60).splitlines()[2:]
        lengths = [row.count("▒") + row.count("█") for row in rows]
        assert lengths[0] == 2 * lengths[2] > 0
        assert lengths[1] == 0
        assert lengths[0] == pytest.approx(10 * lengths[3], abs=5)
        assert [row.split()[-1] for row in rows] == ["50", "0", "25", "5"]

    def test_draws_bars_to_both_sides_of_zero(self):
        picture = Picture("bars", "t", "x", "y", (Series("wrong", [-2.0]), Series("right", [2.0])), ("a",))
        wrong, right = terminal.render(picture, 60).splitlines()[2:]
        assert wrong.index("▒") < right.index("█")
        assert wrong.rindex("▒") + 1 == right.index("█")

    def test_draws_logarithmic_bars(self):
        wrong, right = terminal.render(LOGARITHMIC, 80).splitlines()[2:]
        assert wrong.split()[-1] == "1e-05"
        assert right.count("█") > 40

    def test_leaves_out_what_is_no_number(self):
        values = [1.0, math.nan, math.inf, 2.0]
        for kind in ("lines", "scatter"):
            assert "nan" not in terminal.render(Picture(kind, "t", "x", "y", (Series("wrong", values),)), 60)
        bars = Picture("bars", "t", "x", "y", (Series("wrong", values),), ("a", "b", "c", "d"))
        rows = terminal.render(bars, 60).splitlines()[2:]
        assert rows[1].split() == ["b", "wrong", "nan"]
        assert terminal.render(Picture("histogram", "t", "x", "y", (Series("wrong", values),)), 60)

    def test_draws_a_histogram(self):
        rows = terminal.render(HISTOGRAM, 60).splitlines()
        assert rows[1] == "output / volt; bars: samples, at most 2 and 2"
        first = next(row for row in rows if row.strip().startswith("0 …"))
        assert "▒" in first
        assert "█" in first
        assert "█" not in rows[-1]

    def test_wraps_cells_of_a_table(self):
        shown = Demonstration(
            "s", (Row("a long label " * 3, "1", "2"), Row("b", "", "3")), "c", holds=True, picture=BARS
        )
        wide = list(terminal.table(shown, 80))
        assert wide[0].split() == ["wrong", "right"]
        assert wide[1].endswith("1      2")
        assert wide[2].split() == ["b", "3"]
        narrow = list(terminal.table(shown, 30))
        assert len(narrow) > len(wide)
        assert max(map(len, narrow)) <= 30


class TestFiles:
    @pytest.fixture(autouse=True)
    def _matplotlib(self):
        pytest.importorskip("matplotlib")

    @EACH
    def test_is_png_or_svg_by_its_name(self, picture):
        from bnlint.pictures import figure

        assert figure.save([picture], "a.PNG").startswith(b"\x89PNG\r\n")
        root = ET.fromstring(figure.save([picture], "b.svg"))
        texts = "".join(root.itertext())
        assert picture.title in texts
        assert picture.x in texts

    @pytest.mark.parametrize("channels", [1, 3, 64, 2048])
    @pytest.mark.parametrize("logarithmic", [False, True])
    def test_shows_one_channel_or_thousands(self, channels, logarithmic):
        from bnlint.pictures import figure

        picture = live(channels, logarithmic=logarithmic)
        text = figure.inline(picture, "name")
        crosses = len(re.findall(r"<use [^>]*var\(--wrong\)", text)) - 1  # one stands in the legend
        assert crosses == channels if channels < 5 else 20 <= crosses <= 2 * figure.CELLS
        assert len(text) < 60_000
        assert "running" in terminal.render(picture, 60)

    def test_shows_bars_of_what_is_no_number_as_a_word(self):
        from bnlint.pictures import figure

        series = (Series("wrong", [1.0, math.nan]), Series("right", [math.inf, 4310.0]))
        text = figure.inline(Picture("bars", "t", "x", "y", series, ("a", "b")), "name")
        texts = re.findall(r">([^<>]+)</text>", text)
        assert {"nan", "inf", "4310", "a", "b"} <= set(texts)

    def test_names_some_of_many_bars(self):
        from bnlint.pictures import figure

        names = tuple(f"{number}" for number in range(100, 140))
        text = figure.inline(Picture("bars", "t", "x", "y", (Series("wrong", [2.0] * 40),), names), "name")
        named = [one for one in re.findall(r">([^<>]+)</text>", text) if one in names]
        assert named == list(names[::3])

    @pytest.mark.parametrize("kind", ["lines", "scatter"])
    def test_shows_an_empty_plot_where_nothing_is_a_number(self, kind):
        from bnlint.pictures import figure

        assert "</svg>" in figure.inline(Picture(kind, "t", "x", "y", (Series("wrong", [math.nan]),)), "n")

    def test_joins_a_line_across_what_is_no_number(self):
        from bnlint.pictures import figure

        holes = Series("wrong", [1.0, math.nan, 3.0, 2.0])
        whole = Series("wrong", [1.0, 3.0, 2.0], [0, 2, 3])
        first, second = (
            figure.inline(Picture("lines", "t", "x", "y", (one,)), "n") for one in (holes, whole)
        )
        assert first == second

    @pytest.mark.filterwarnings("error")
    def test_takes_words_as_they_are(self):
        from bnlint.pictures import figure

        said = r"a $\frac{$ b 模"
        picture = Picture("bars", said, said, said, (Series("wrong", [1.0], name=said),), (said,))
        texts = re.findall(r">([^<>]+)</text>", figure.inline(picture, "n"))
        assert texts.count(said) == 5

    def test_brings_no_style_into_a_page(self):
        from bnlint.pictures import figure

        assert "<style" not in figure.inline(LINES, "n")

    def test_holds_many_pictures(self):
        from bnlint.pictures import figure

        texts = "".join(ET.fromstring(figure.save(list(PICTURES.values()), "b.svg")).itertext())
        assert all(title in texts for title in PICTURES)

    def test_is_the_same_each_time(self):
        from bnlint.pictures import figure

        assert figure.save([BARS], "b.svg") == figure.save([BARS], "b.svg")

    def test_leaves_matplotlib_as_it_was(self):
        import matplotlib as mpl

        from bnlint.pictures import figure

        before = dict(mpl.rcParams)
        figure.save([BARS], "b.svg")
        assert dict(mpl.rcParams) == before

    @EACH
    def test_takes_the_colours_of_a_page(self, picture):
        from bnlint.pictures import figure

        text = figure.inline(picture, "name")
        ET.fromstring(text.replace("xlink:href", "href"))
        assert text.startswith('<svg viewBox="')
        assert "var(--wrong)" in text
        assert "var(--right)" in text
        assert not set(re.findall(r"#[0-9a-f]{6}", text)) - {"#ffffff"}


class Tags(HTMLParser):
    """Which elements are open, and all that is said."""

    VOID = ("meta", "path", "use", "br")

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.said = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.note(attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.note(attrs)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)

    def note(self, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in {"href", "src", "xlink:href"}]


class TestPage:
    @pytest.fixture(autouse=True)
    def _matplotlib(self):
        pytest.importorskip("matplotlib")

    SUBJECTS = (
        Subject(
            "BN101", "missing-eval", "It is <wrong> & `bad`.", lambda _lab: None, "x = 1 < 2\n", "x = 2\n"
        ),
        Subject("", "basics", "By hand.", lambda _lab: None),
    )

    def page(self, *, holds=True):
        from bnlint.pictures import page

        shown = [
            Demonstration(
                f"Setting {number}.", (Row("a <b>", "1 %", "2 %"),), "It is 3.", holds=holds, picture=picture
            )
            for number, picture in enumerate((LINES, HISTOGRAM))
        ]
        return page.render(list(zip(self.SUBJECTS, shown, strict=True)), "Made by somebody.")

    def test_is_well_formed(self):
        tags = Tags()
        tags.feed(self.page())
        assert not tags.open
        assert len(tags.ids) == len(set(tags.ids))
        assert set(tags.links) <= {f"#{name}" for name in tags.ids}

    def test_needs_nothing_else(self):
        text = self.page()
        assert not re.search(r"(?:src|href)=\"(?!#)|@import|url\((?!#)|<script|<link", text)

    def test_says_it_all(self):
        tags = Tags()
        tags.feed(self.page())
        said = "".join(tags.said)
        for text in (
            "BN101 missing-eval",
            "It is <wrong> & bad.",
            "Setting 1.",
            "a <b>",
            "2 %",
            "✓ It is 3.",
            "x = 1 < 2",
        ):
            assert text in said, text
        assert "Made by somebody." in said

    def test_says_what_does_not_hold(self):
        assert "✗ This does not hold:" in self.page(holds=False)
        assert "✗" not in self.page()

    def test_knows_light_and_dark_narrow_and_wide(self):
        text = self.page()
        assert "prefers-color-scheme: dark" in text
        assert 'name="viewport"' in text
        assert "auto-fit" in text


class TestPoints:
    @given(st.lists(st.tuples(st.floats(), st.floats())), st.booleans(), st.booleans())
    def test_are_those_that_an_axis_can_show(self, points, up, across):
        one = Series("wrong", [y for _, y in points], [x for x, _ in points])
        picture = Picture("scatter", "t", "x", "y", (one,), logarithmic=up, logarithmic_x=across)
        kept = picture.points(one)
        assert all(math.isfinite(x) and math.isfinite(y) for x, y in kept)
        assert all((x > 0 or not across) and (y > 0 or not up) for x, y in kept)
        if not up and not across:
            assert len(kept) == sum(math.isfinite(x) and math.isfinite(y) for x, y in points)


class TestAgainst:
    @given(st.lists(st.tuples(FINITE, FINITE), min_size=1), st.booleans())
    def test_the_line_of_equals_passes_all_points(self, points, logarithmic):
        true, found = zip(*points, strict=True)
        picture = against("t", "x", "y", true, found, logarithmic=logarithmic)
        line, shown = picture.series
        assert list(line.x) == list(line.y)
        seen = [value for pair in picture.points(shown) for value in pair]
        if seen:
            assert line.x[0] <= min(seen)
            assert line.x[-1] >= max(seen)
            assert line.x[0] < line.x[-1]
        else:
            assert line.y == ()

    def test_leaves_out_what_is_no_number(self):
        picture = against("t", "x", "y", [1, math.nan, 3], [math.inf, 2, 5])
        assert picture.series[0].points == [(3, 3), (5, 5)]


class TestDistribution:
    @given(st.lists(st.integers(1, 600)))
    def test_counts_each_value_once(self, values):
        picture = distribution("t", "x", "y", values, name="batches")
        (one,) = picture.series
        assert sum(one.y) == len(values)
        assert len(one.y) == len(picture.categories) <= 12
        assert all(one.y)

    def test_few_values_have_bars_of_their_own(self):
        picture = distribution("t", "x", "y", [32, 32, 32, 5], name="batches")
        assert (picture.categories, list(picture.series[0].y)) == (("5", "32"), [1, 3])

    def test_many_share_bars_of_one_width(self):
        picture = distribution("t", "x", "y", range(1, 25), name="batches")
        assert picture.categories[:2] == ("1–2", "3–4")
        assert list(picture.series[0].y) == [2] * 12


def live(channels, *, logarithmic):
    """A picture as a live model gives it: holes, and as many points as there are channels."""
    values = [math.exp(math.sin(number)) for number in range(channels)]
    found = [math.nan if number == 5 else 2 * value for number, value in enumerate(values)]
    true = [math.inf if number == 7 else value for number, value in enumerate(values)]
    return against("Means", "batch", "running", true, found, logarithmic=logarithmic)


def test_percent():
    assert [percent(share) for share in (0, 0.254, 1)] == ["0 %", "25 %", "100 %"]


def test_a_series_counts_its_points_where_it_has_no_x():
    assert Series("wrong", [5, 6]).points == [(0, 5), (1, 6)]
    assert Series("wrong", [5], x=[9]).points == [(9, 5)]
    assert Series("wrong", []).label == "wrong"
