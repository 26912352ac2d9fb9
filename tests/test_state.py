"""The state of a program: what a branch wrote is joined with what the others did."""

from __future__ import annotations

from bnlint.source.state import (
    ENTRIES,
    ITEMS,
    MODE,
    MOST_MODES,
    NOT_SET,
    PARENTS,
    Arm,
    ModeRecord,
    SetAt,
    State,
    join,
)
from bnlint.source.summary import Span
from bnlint.source.values import ALWAYS, Const, Entries, Held, Items, Place, Sym, alternatives

PLACE = Place("a.py", Span(1, 0, 1, 1))
YES, NO = frozenset({("p", True)}), frozenset({("p", False)})
KEY = (1, "x")


def setting(mode: str, row: int = 1) -> SetAt:
    return SetAt(mode, Place("a.py", Span(row, 0, row, 1)), f"`{mode}()`", "", ())


def shown(value):
    return {(guards, way.value) for guards, way in alternatives(value)}


def joined(key, *arms, before=None):
    """What two ways that wrote one thing leave behind; None is a way that did not write."""
    base = State()
    if before is not None:
        base.set(key, before)
    join(base, [Arm(g, {} if written is None else {key: written}) for g, written in arms])
    return base.get(key)


class TestLayers:
    def test_a_layer_hides_what_is_below_and_leaves_it(self):
        base = State()
        base.set(KEY, Const(1))
        layer = State(base, YES)
        layer.set(KEY, Const(2))
        assert (base.get(KEY).value, layer.get(KEY).value) == (1, 2)

    def test_conditions_add_up(self):
        assert State(State(State(), YES), frozenset({("q", False)})).guards == {("p", True), ("q", False)}

    def test_what_was_written_since(self):
        base = State()
        base.set((1, "old"), Const(0))
        middle = State(base)
        middle.set((1, "a"), Const(1))
        middle.set((1, "b"), Const(2))
        top = State(middle)
        top.set((1, "b"), Const(3))
        written = top.written_since(base)
        assert {key[1]: value.value for key, value in written.items()} == {"a": 1, "b": 3}


class TestValues:
    def test_each_way_keeps_its_condition(self):
        assert shown(joined(KEY, (YES, Const(1)), (NO, Const(2)))) == {(YES, 1), (NO, 2)}

    def test_a_way_that_did_not_write_leaves_what_was(self):
        assert shown(joined(KEY, (YES, Const(1)), (NO, None), before=Const(0))) == {(YES, 1), (NO, 0)}

    def test_a_name_that_only_one_way_binds_is_bound_there(self):
        assert shown(joined(KEY, (YES, Const(1)), (NO, None))) == {(YES, 1)}

    def test_the_same_on_both_ways_needs_no_condition(self):
        assert joined(KEY, (YES, Const(1)), (NO, Const(1))).value == 1

    def test_a_single_way_is_what_happened(self):
        assert joined(KEY, (YES, Const(1)), before=Const(0)).value == 1


class TestItems:
    old = Held(ALWAYS, Const("old"), PLACE)
    one = Held(ALWAYS, Const("one"), PLACE)
    two = Held(frozenset({("q", True)}), Const("two"), PLACE)
    key = (1, ITEMS)

    def test_appended_items_stand_under_the_condition_of_their_way(self):
        items = joined(
            self.key,
            (YES, Items((self.old, self.one))),
            (NO, Items((self.old, self.two))),
            before=Items((self.old,)),
        )
        assert [(h.guards, h.value.value) for h in items.held] == [
            (ALWAYS, "old"),
            (YES, "one"),
            (NO | {("q", True)}, "two"),
        ]
        assert not items.open

    def test_a_way_that_did_not_append_adds_nothing(self):
        items = joined(self.key, (YES, Items((self.old, self.one))), (NO, None), before=Items((self.old,)))
        assert [(h.guards, h.value.value) for h in items.held] == [(ALWAYS, "old"), (YES, "one")]

    def test_a_list_that_is_not_only_appended_to_is_open(self):
        assert joined(self.key, (YES, Items((self.one,))), (NO, None), before=Items((self.old,))).open

    def test_what_is_open_on_one_way_is_open(self):
        assert joined(self.key, (YES, Items((), open=True)), (NO, None), before=Items()).open
        assert joined(self.key, (YES, Items((self.one,))), (NO, None), before=Items((), open=True)).open


class TestEntries:
    key = (1, ENTRIES)

    def test_each_entry_is_joined_by_itself(self):
        found = joined(
            self.key,
            (YES, Entries({"a": Const(1), "b": Const(2)})),
            (NO, None),
            before=Entries({"a": Const(0)}),
        )
        assert shown(found.held["a"]) == {(YES, 1), (NO, 0)}
        assert shown(found.held["b"]) == {(YES, 2)}
        assert not found.open

    def test_what_is_open_on_one_way_is_open(self):
        assert joined(self.key, (YES, Entries({}, open=True)), (NO, Entries({}))).open


class TestModes:
    key = (1, MODE)
    train, eval = setting("train", 1), setting("eval", 2)

    def modes(self, *arms, before=None):
        return [m.mode for m in joined(self.key, *arms, before=before).modes]

    def test_ways_that_disagree_leave_both(self):
        arms = (YES, ModeRecord(1, (self.train,))), (NO, ModeRecord(2, (self.eval,)))
        assert self.modes(*arms) == ["train", "eval"]

    def test_ways_that_agree_leave_one(self):
        arms = (YES, ModeRecord(1, (self.train,))), (NO, ModeRecord(2, (self.train,)))
        assert self.modes(*arms) == ["train"]

    def test_a_way_that_does_not_switch_leaves_what_was(self):
        arms = (YES, ModeRecord(2, (self.eval,))), (NO, None)
        assert self.modes(*arms, before=ModeRecord(1, (self.train,))) == ["eval", "train"]

    def test_where_nothing_was_the_mode_is_not_known(self):
        assert self.modes((YES, ModeRecord(1, (self.eval,))), (NO, None)) == ["eval", "unknown"]

    def test_the_newest_setting_dates_the_join(self):
        arms = (YES, ModeRecord(3, (self.train,))), (NO, ModeRecord(7, (self.eval,)))
        assert joined(self.key, *arms).time == 7

    def test_what_asks_for_the_training_flag_restores_a_mode(self):
        was = frozenset({(("training", 1, 4), True)})
        not_was = frozenset({(("training", 1, 4), False)})
        record = joined(self.key, (was, ModeRecord(2, (self.train,))), (not_was, ModeRecord(1, (self.eval,))))
        assert record.modes == (NOT_SET,)

    def test_many_settings_are_cut_short_and_no_mode_is_lost(self):
        evals = tuple(setting("eval", row) for row in range(1, MOST_MODES + 3))
        record = joined(self.key, (YES, ModeRecord(1, evals)), (NO, ModeRecord(2, (self.train,))))
        assert len(record.modes) == MOST_MODES
        assert {m.mode for m in record.modes} == {"train", "eval"}


def test_parents_add_up():
    key = (1, PARENTS)
    assert joined(key, (YES, frozenset({2})), (NO, frozenset({3}))) == {2, 3}
    assert joined(key, (YES, frozenset({2})), (NO, None)) == {2}


def test_an_unknown_value_stays_itself():
    value = Sym("k")
    assert joined(KEY, (YES, value), (NO, Sym("k"))) is value
