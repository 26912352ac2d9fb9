"""Values under conditions: nothing is invented, nothing that can be is lost."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from bnlint.source.summary import Span
from bnlint.source.values import (
    ALWAYS,
    MOST_ALTERNATIVES,
    Args,
    ArgVal,
    Const,
    Either,
    External,
    Obj,
    Place,
    Sym,
    alternatives,
    contradicts,
    either,
    same,
    under,
    unknown,
)

PLACE = Place("a.py", Span(1, 0, 1, 1))
FLAGS = ("p", "q", "r")
WORDS = ("one", "two")
QUESTIONS = [*FLAGS, *(("==", "word", word) for word in WORDS)]
WORLDS = [
    {**dict(zip(FLAGS, flags, strict=True)), **{("==", "word", w): w == word for w in WORDS}}
    for flags in product((False, True), repeat=len(FLAGS))
    for word in (*WORDS, "other")
]
"""Everything that can be the case: each flag is or is not, and the word is one of three."""

GUARDS = st.frozensets(st.tuples(st.sampled_from(QUESTIONS), st.booleans()), max_size=3)
PARTS = st.lists(st.tuples(GUARDS, st.integers(0, 3).map(Const)), min_size=1, max_size=5)


def holds(guards, world):
    return all(world[key] is way for key, way in guards)


def possible(value, world):
    """What a value can be in a world."""
    return {
        way.value for guards, way in alternatives(value) if isinstance(way, Const) and holds(guards, world)
    }


class TestContradicts:
    @given(GUARDS, GUARDS)
    def test_what_contradicts_never_holds_together(self, one, other):
        if contradicts(one, other):
            assert not any(holds(one, world) and holds(other, world) for world in WORLDS)

    @given(GUARDS, GUARDS)
    def test_it_does_not_matter_who_asks(self, one, other):
        assert contradicts(one, other) == contradicts(other, one)

    @given(st.sampled_from(QUESTIONS), GUARDS, GUARDS)
    def test_the_two_ways_of_a_condition_contradict(self, key, one, other):
        assert contradicts(one | {(key, True)}, other | {(key, False)})

    def test_one_value_equals_one_constant(self):
        one, two = (frozenset({(("==", "word", word), True)}) for word in WORDS)
        assert contradicts(one, two)
        assert not contradicts(one, frozenset({(("==", "another", "two"), True)}))
        assert not contradicts(one, frozenset({(("==", "word", "two"), False)}))

    def test_nothing_contradicts_no_condition(self):
        assert not contradicts(ALWAYS, frozenset({("p", True)}))


class TestEither:
    @given(PARTS)
    def test_keeps_what_each_branch_said(self, parts):
        value = either(parts)
        if isinstance(value, Sym):
            return  # nothing is known: that is no lie
        for world in WORLDS:
            assert {part.value for guards, part in parts if holds(guards, world)} <= possible(value, world)

    @given(PARTS)
    def test_invents_nothing(self, parts):
        said = {part.value for _, part in parts}
        assert all(way.value in said for _, way in alternatives(either(parts)) if isinstance(way, Const))

    @given(PARTS, PARTS, GUARDS)
    def test_nested_ones_are_flattened_and_keep_both_conditions(self, outer, inner, guards):
        value = either([(guards, either(inner)), *outer])
        assert not any(isinstance(way, Either) for _, way in alternatives(value))
        if not isinstance(value, Sym):
            for world in WORLDS:
                if holds(guards, world):
                    assert possible(either(inner), world) <= possible(value, world)

    @given(st.sampled_from(QUESTIONS), GUARDS, GUARDS)
    def test_what_excludes_each_other_does_not_survive_together(self, key, one, other):
        inner = either([(one | {(key, True)}, Const(1)), (frozenset({(key, False)}), Const(2))])
        value = either([(other | {(key, False)}, inner), (frozenset({(key, True)}), Const(3))])
        assert 1 not in {way.value for _, way in alternatives(value)}

    def test_one_value_without_a_condition_is_itself(self):
        value = Const(1)
        assert either([(ALWAYS, value)]) is value
        assert either([(ALWAYS, value), (frozenset({("p", True)}), Const(1))]) is value

    def test_a_value_under_a_condition_keeps_it(self):
        guards = frozenset({("p", True)})
        assert next(alternatives(either([(guards, Const(1))])))[0] == guards

    def test_of_nothing_nothing_is_known(self):
        assert isinstance(either([]), Sym)

    def test_too_many_constants_are_unknown_and_of_too_many_objects_some_are_followed(self):
        ways = [frozenset({(("==", "n", n), True)}) for n in range(MOST_ALTERNATIVES + 1)]
        assert isinstance(either((g, Const(n)) for n, g in enumerate(ways)), Sym)
        objects = [(g, Obj(n, External("torch.nn.ReLU"), Args(), PLACE)) for n, g in enumerate(ways)]
        assert len(list(alternatives(either(objects)))) == MOST_ALTERNATIVES


class TestUnder:
    @given(PARTS, GUARDS)
    def test_never_invents(self, parts, guards):
        value = either(parts)
        before = [way for _, way in alternatives(value)]
        assert all(any(way is known for known in before) for _, way in alternatives(under(value, guards)))

    @given(PARTS, GUARDS)
    def test_loses_nothing_that_can_be(self, parts, guards):
        value = either(parts)
        narrowed = under(value, guards)
        for world in WORLDS:
            if holds(guards, world):
                assert possible(value, world) <= possible(narrowed, world)

    @given(PARTS, GUARDS)
    def test_a_second_look_changes_nothing(self, parts, guards):
        once = under(either(parts), guards)
        again = under(once, guards)
        assert [id(w) for _, w in alternatives(again)] == [id(w) for _, w in alternatives(once)]

    def test_the_only_way_left_is_the_value(self):
        yes, no = frozenset({("p", True)}), frozenset({("p", False)})
        one, two = Const(1), Const(2)
        assert under(either([(yes, one), (no, two)]), yes) is one

    def test_what_is_no_choice_stays(self):
        value = unknown()
        assert under(value, frozenset({("p", True)})) is value


class TestSame:
    def test_constants_are_the_same_by_type_and_value(self):
        assert same(Const(1), Const(1))
        assert not same(Const(1), Const(1.0))
        assert not same(Const(1), Const(value=True))

    def test_unknown_values_are_the_same_by_their_key(self):
        assert same(Sym("k", "a"), Sym("k", "b"))
        assert not same(unknown("a"), unknown("a"))


class TestArgs:
    args = Args(
        (ArgVal(None, Const(1), PLACE), ArgVal("eps", Const(2), PLACE), ArgVal(None, Const(3), PLACE))
    )

    def test_by_position_or_by_name(self):
        assert self.args.value(0, "num_features").value == 1
        assert self.args.value(1, "eps").value == 2
        assert self.args.value(1).value == 3
        assert self.args.value(2, "momentum") is None
        assert self.args.value(None, "eps").value == 2

    def test_places_count_from_one(self):
        where = Place("a.py", Span(3, 4, 3, 9)).where()
        assert (where.row, where.column, where.end_row, where.end_column) == (3, 5, 3, 10)
